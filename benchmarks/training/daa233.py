"""daa233/generative-inpainting-pytorch: ``Trainer`` of trainer.py, stepped as in train.py 108-131."""

import importlib
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from benchmarks.published import checkout
from benchmarks.training.steps import Pair, State, images, square
from lit_inpaint.methods import DeepFillV1
from lit_inpaint.methods.deepfillv1 import weights as deepfillv1_weights
from masks.convention import InpaintingBatch


def daa233(public: Path, own: bool = False) -> Pair:
    """One step of its discriminators, then one of its generator on the same batch.

    Unless ``own``, its penalty is restricted to the hole and its loss of known pixels divided by their share, as in the
    TensorFlow program, which our training step follows; and the hole fills its box, whose rim it leaves out.
    """
    root = checkout(public, "daa233/generative-inpainting-pytorch", "utils/tools.py")
    config = yaml.safe_load((root / "configs/config.yaml").read_text())
    config |= {"cuda": False, "gpu_ids": [], "batch_size": 2, "image_shape": [64, 64, 3], "mask_shape": [32, 32]}
    config["netG"]["ngf"], config["netD"]["ndf"] = 8, 4
    trainer = importlib.import_module("trainer").Trainer(config)
    trainer.localD.linear, trainer.globalD.linear = nn.Linear(16 * 2 * 2, 1), nn.Linear(16 * 4 * 4, 1)
    discriminators = [*trainer.localD.parameters(), *trainer.globalD.parameters()]
    betas = config["beta1"], config["beta2"]
    trainer.optimizer_d = torch.optim.Adam(discriminators, config["lr"], betas)  # as it does with its own last layers
    image, mask = images(64), square(64, 20, 44) if own else square(64, 16, 48)
    boxes = torch.tensor([[16, 16, 32, 32]] * 2)
    if not own:
        trainer.calc_gradient_penalty = _in_the_hole(mask)

    def step() -> dict[str, Any]:
        judged, _, _ = trainer(image * (1 - mask), boxes, mask, image)
        trainer.optimizer_d.zero_grad()
        discriminator_loss = judged["wgan_d"] + judged["wgan_gp"] * config["wgan_gp_lambda"]
        discriminator_loss.backward()
        trainer.optimizer_d.step()
        losses, _, _ = trainer(image * (1 - mask), boxes, mask, image, True)
        known = losses["ae"] / (1 if own else (1 - mask).mean())
        trainer.optimizer_g.zero_grad()
        (1.2 * losses["l1"] + 1.2 * known + 0.001 * losses["wgan_g"]).backward()  # config.yaml
        trainer.optimizer_g.step()
        return {
            "discriminator_loss": discriminator_loss,
            "penalty": judged["wgan_gp"],
            "hole": losses["l1"],
            "known": known,
            "adversarial": losses["wgan_g"],
        }

    ours = DeepFillV1(8, 4, 64, 32, variant="daa233", discriminator_updates=1)

    def convert(states: dict[str, State]) -> State:
        found = deepfillv1_weights.convert(states["generator"], "daa233")["state_dict"]
        both = {"localD": states["localD"], "globalD": states["globalD"]}
        return found | deepfillv1_weights.convert(both, "daa233_discriminator")["state_dict"]

    networks = {"generator": trainer.netG, "localD": trainer.localD, "globalD": trainer.globalD}
    return Pair(ours, InpaintingBatch(image, mask, [""] * 2), networks, convert, step, cycle=2)


def daa233_own(public: Path) -> Pair:
    """With its own penalty and loss of known pixels."""
    return daa233(public, own=True)


def _in_the_hole(mask: Tensor) -> Any:
    """Its ``calc_gradient_penalty`` with the gradient masked: of the image, and of the crop, whose mask is smaller."""

    def penalty(network: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        hole = mask if real.shape == mask.expand(-1, 3, -1, -1).shape else mask[..., 16:48, 16:48]
        share = torch.rand(len(real), 1, 1, 1)
        between = (real + share * (fake - real)).requires_grad_()
        (gradient,) = torch.autograd.grad(network(between).sum(), between, create_graph=True)
        return (((gradient.square() * hole).flatten(1).sum(1).sqrt() - 1) ** 2).mean()

    return penalty
