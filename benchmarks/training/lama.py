"""Big LaMa: ``DefaultInpaintingTrainingModule`` of advimman/lama with its losses, few channels."""

import importlib
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from omegaconf import OmegaConf
from torch import nn
from torch.optim import Adam

from benchmarks.parity import randomise
from benchmarks.published import lama_generator, stand_in
from benchmarks.training.steps import Pair, State, images, unequal
from lit_inpaint.methods import LaMa
from lit_inpaint.methods.lama import weights as lama_weights
from lit_inpaint.methods.lama.loss import DilatedResNet50
from masks.convention import InpaintingBatch


def lama(public: Path, train_mode: bool = False) -> Pair:
    """``_do_step`` of saicinpainting/training/trainers/base.py, first with ``optimizer_idx`` 0, then with 1.

    Lightning 1 clears an optimiser's gradients before its backward pass and clips their norm to 1
    (configs/training/trainer/any_gpu_large_ssim_ddp_final.yaml).
    """
    generator, config = lama_generator(public, ngf=8, n_blocks=2)
    folder = "saicinpainting.training"
    stand_in(
        "saicinpainting.evaluation", f"{folder}.data", f"{folder}.data.datasets", f"{folder}.visualizers", "pandas",
        f"{folder}.modules.fake_fakes",
    )  # fmt: skip
    importlib.import_module("pytorch_lightning").LightningModule = nn.Module  # type: ignore[attr-defined]
    module = importlib.import_module(f"{folder}.trainers.default").DefaultInpaintingTrainingModule
    perceptual = importlib.import_module(f"{folder}.losses.perceptual")
    adversarial = importlib.import_module(f"{folder}.losses.adversarial")
    trainer = module.__new__(module)
    nn.Module.__init__(trainer)
    trainer.config, trainer.generator = OmegaConf.create(config | {"optimizers": None, "defaults": None}), generator
    trainer.discriminator = importlib.import_module(f"{folder}.modules").make_discriminator(
        "pix2pixhd_nlayer", input_nc=3, ndf=8, n_layers=4
    )
    trainer.adversarial_loss = adversarial.make_discrim_loss(**config["losses"]["adversarial"])
    encoder = DilatedResNet50().state_dict()
    with mock.patch("torch.load", lambda *a, **k: encoder):
        trainer.loss_resnet_pl = perceptual.ResNetPL(weight=30, weights_path="")
    randomise(trainer.loss_resnet_pl.impl, 1, 5)
    trainer.loss_resnet_pl.impl.requires_grad_(False)
    trainer.loss_resnet_pl.impl.train(train_mode)
    for name in ("rescale_size_getter", "add_noise_kwargs", "const_area_crop_kwargs", "refine_mask_for_losses"):
        setattr(trainer, name, None)
    trainer.concat_mask, trainer.image_to_discriminator, trainer.fake_fakes_proba = True, "predicted_image", 0
    trainer.distance_weighted_mask_for_discr, trainer.get_ddp_rank = False, lambda: 1
    image, mask = images(64), unequal(64)
    optimizers = [Adam(generator.parameters(), 1e-3), Adam(trainer.discriminator.parameters(), 1e-4)]

    def step() -> dict[str, Any]:
        batch, said = {"image": (image + 1) / 2, "mask": mask}, {}
        for index, network in enumerate((generator, trainer.discriminator)):
            found = trainer._do_step(batch, 0, "train", optimizer_idx=index)
            optimizers[index].zero_grad()
            found["loss"].backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1)
            optimizers[index].step()
            said |= found["log_info"]
        return {
            "adversarial": said["train_gen_adv"] / 10,
            "feature_matching": said["train_gen_fm"] / 100,
            "l1_known": said["train_gen_l1"] / 10,
            "perceptual": said["train_gen_resnet_pl"] / 30,
            "discriminator_loss": said["train_discr_adv"] - said["train_adv_discr_real_gp"],
        }

    ours = LaMa(8, 2, 8)
    features = DilatedResNet50()
    features.load_state_dict(trainer.loss_resnet_pl.impl.state_dict(), strict=False)
    ours.features._network = features.eval().requires_grad_(False)

    def convert(states: dict[str, State]) -> State:
        both = {f"{role}.{name}": value for role, state in states.items() for name, value in state.items()}
        return lama_weights.convert({"state_dict": both}, "official")["state_dict"]

    networks = {"generator": generator, "discriminator": trainer.discriminator}
    return Pair(ours, InpaintingBatch(image, mask, [""] * 2), networks, convert, step)


def lama_train_mode(public: Path) -> Pair:
    """As Lightning runs it: the perceptual network takes batch statistics."""
    return lama(public, train_mode=True)
