"""The Context Encoder, nipponjo's DeepFill v2 and AOT-GAN."""

import importlib
import itertools
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import yaml
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.optim import Adam

from benchmarks.published import checkout, stand_in
from benchmarks.training.steps import Pair, State, eighth, images, settle, square, unequal
from lit_inpaint.methods import AOTGAN, ContextEncoder, DeepFillV2
from lit_inpaint.methods.aotgan import weights as aotgan_weights
from lit_inpaint.methods.context_encoder import weights as context_encoder_weights
from lit_inpaint.methods.deepfillv2 import weights as deepfillv2_weights
from masks.convention import InpaintingBatch


def pathak22(public: Path, judge_again: bool = False) -> Pair:
    """pathak22/context-encoder, train.lua 273-410, by reading (Lua Torch does not run any more), on the networks of
    BoyuanJiang/context_encoder_pytorch, which have no biases to zero.

    The generator's loss is of the discriminator's output from before its update, its gradient passes the activations
    of then and the weights of now. ``judge_again``: as the port does instead (its train.py 164-212), with its rates.
    """
    checkout(public, "BoyuanJiang/context_encoder_pytorch", "old_way_p.py")
    options = SimpleNamespace(ngpu=0, nc=3, nef=8, ngf=8, ndf=8, nBottleneck=50)
    model = importlib.import_module("model")
    generator, discriminator = model._netG(options), model._netlocalD(options)
    weight, rate = (0.998, 2e-4) if judge_again else (0.999, 2e-3)
    image, mask = images(128, 4), square(128, 36, 92, 4)
    optimizers = [
        Adam(network.parameters(), lr, (0.5, 0.999)) for network, lr in ((generator, rate), (discriminator, 2e-4))
    ]
    blanked, real = image.clone(), image[:, :, 32:96, 32:96]
    for channel, colour in enumerate((117.0, 104.0, 123.0)):
        blanked[:, channel, 36:92, 36:92] = 2 * colour / 255 - 1
    weights = torch.full_like(real, 10.0)
    weights[:, :, 4:60, 4:60] = 1
    weights *= weight**2 if judge_again else weight  # the port multiplies twice

    def step() -> dict[str, Any]:
        bce, one, none = nn.BCELoss(), torch.ones(len(image), 1), torch.zeros(len(image), 1)
        discriminator.zero_grad()
        of_real = bce(discriminator(real), one)
        of_real.backward()
        fake = generator(blanked)
        judged = fake.detach().requires_grad_()
        with saved_tensors_hooks(lambda x: x, lambda x: x):  # weights are looked up when gradients pass them
            output = discriminator(judged)
        of_fake = bce(output, none)
        of_fake.backward(retain_graph=True)
        optimizers[1].step()
        generator.zero_grad()
        if judge_again:
            output, judged = discriminator(fake), fake
        adversarial = bce(output, one)
        (gradient,) = torch.autograd.grad(adversarial, judged, retain_graph=True)
        l2 = ((fake - real).pow(2) * weights).mean()
        ((1 - weight) * (gradient * fake).sum() + l2).backward()
        optimizers[0].step()
        return {"discriminator_loss": of_real + of_fake, "adversarial": adversarial}

    ours = ContextEncoder(
        width=8,
        bottleneck=50,
        l2_weight=weight**2 if judge_again else weight,
        adversarial_weight=1 - weight,
        learning_rate=rate,
        discriminator_learning_rate=2e-4,
        variant="boyuanjiang" if judge_again else "official",
    )

    def convert(states: dict[str, State]) -> State:
        parts = (("generator", "boyuanjiang"), ("discriminator", "boyuanjiang_discriminator"))
        found = [context_encoder_weights.convert(states[role], name)["state_dict"] for role, name in parts]
        return found[0] | found[1]

    networks = {"generator": generator, "discriminator": discriminator}
    return Pair(ours, InpaintingBatch(image, mask, [""] * 4), networks, convert, step)


def boyuanjiang(public: Path) -> Pair:
    """The port in its own order."""
    return pathak22(public, judge_again=True)


def nipponjo(public: Path, networks: str = "networks", in_place: bool = False) -> Pair:
    """nipponjo/deepfillv2-pytorch: ``training_loop`` of train.py; the mask is one for the batch.

    Its discriminator divides the stored kernels by sigma at every pass; unless ``in_place``, they are divided inside
    the graph, as in the TensorFlow program.
    """
    root = checkout(public, "nipponjo/deepfillv2-pytorch", "configs/train-places.yaml")
    stand_in("tensorboard")
    train, model, losses = (importlib.import_module(name) for name in ("train", f"model.{networks}", "model.losses"))
    config = SimpleNamespace(**yaml.safe_load((root / "configs/train.yaml").read_text()))
    image, mask = images(64), unequal(64)[:1].repeat(2, 1, 1, 1)
    config.batch_size, config.tb_logging, config.save_imgs_to_disc_iter = 2, False, 0
    config.img_shapes = [64, 64, 3]
    config.print_iter = config.save_checkpoint_iter = config.save_cp_backup_iter = 10**9
    generator = model.Generator(cnum_in=5, cnum=8, return_flow=False)
    discriminator = model.Discriminator(cnum_in=4, cnum=8)
    if not in_place:
        model.Conv2DSpectralNorm.forward = _normalised
    optimizers = [
        Adam(generator.parameters(), config.g_lr, (config.g_beta1, config.g_beta2)),
        Adam(discriminator.parameters(), config.d_lr, (config.d_beta1, config.d_beta2)),
    ]
    count, said = itertools.count(1), {}

    def step() -> dict[str, Any]:
        number = next(count)
        config.max_iters = number + 1

        def watched(name: str, function: Any) -> Any:
            return lambda *judged: said.setdefault(name, []).append(function(*judged)) or said[name][-1]

        hinge = watched("adversarial", losses.hinge_loss_g), watched("discriminator_loss", losses.hinge_loss_d)
        with (
            mock.patch.object(train.misc, "random_bbox", lambda *a: None),
            mock.patch.object(train.misc, "bbox2mask", lambda *a: mask[:1]),
            mock.patch.object(train.misc, "brush_stroke_mask", lambda *a: torch.zeros_like(mask[:1])),
        ):
            train.training_loop(generator, discriminator, *optimizers, *hinge, [image], number - 1, None, config)
        return {name: values[-1] for name, values in said.items()}

    variant: Any = {"networks": "nipponjo", "networks_tf": "nipponjo_tf"}[networks]

    def convert(states: dict[str, State]) -> State:
        return deepfillv2_weights.convert({"G": states["generator"], "D": states["discriminator"]}, variant)[
            "state_dict"
        ]

    return Pair(
        DeepFillV2(8, 8, variant=variant), InpaintingBatch(image, mask, [""] * 2),
        {"generator": generator, "discriminator": discriminator}, convert, step,
    )  # fmt: skip


def aotgan(public: Path, fresh: bool = False) -> Pair:
    """researchmm/AOT-GAN-for-Inpainting: ``Trainer.train`` of src/trainer/trainer.py.

    Its discriminator advances the power iteration three times per step, ours twice: nothing once that has settled.
    ``fresh``: from torch's random vectors.
    """
    checkout(public, "researchmm/AOT-GAN-for-Inpainting", "trainer/trainer.py")
    stand_in("tensorboard", "torch.utils.tensorboard", "data")
    image, mask = images(48), unequal(48)
    with mock.patch.object(sys, "argv", ["train.py", "--block_num", "1"]), eighth():
        options = importlib.import_module("utils.option").args
        options.global_rank, options.distributed, options.iterations = 1, False, 0  # another rank prints and saves
        trainer = importlib.import_module("trainer.trainer").Trainer(options)
    if not fresh:
        settle(trainer.netD)
    trainer.dataloader = itertools.repeat((image, mask, None))
    said: dict[str, Any] = {}
    judge = trainer.adv_loss

    def judged(*arguments: Any) -> Any:
        said["discriminator"], said["adversarial"] = found = judge(*arguments)
        return found

    trainer.adv_loss = judged
    for name, function in (("l1", "L1"), ("style", "Style"), ("perceptual", "Perceptual")):
        original = trainer.rec_loss_func[function]
        trainer.rec_loss_func[function] = lambda *a, n=name, f=original: said.__setitem__(n, f(*a)) or said[n]

    def step() -> dict[str, Any]:
        options.iterations += 1
        trainer.train()
        return {name: said[name] for name in ("l1", "style", "perceptual", "adversarial")}

    def convert(states: dict[str, State]) -> State:
        generator = aotgan_weights.convert(states["generator"], "official")["state_dict"]
        return generator | aotgan_weights.convert(states["discriminator"], "official_discriminator")["state_dict"]

    return Pair(
        AOTGAN(8, 1, discriminator_width=8, variant="official"), InpaintingBatch(image, mask, [""] * 2),
        {"generator": trainer.netG, "discriminator": trainer.netD}, convert, step, settle=lambda: settle(trainer.netD),
    )  # fmt: skip


def nipponjo_tf(public: Path) -> Pair:
    """The same with the networks for TensorFlow's weights."""
    return nipponjo(public, "networks_tf")


def nipponjo_in_place(public: Path) -> Pair:
    """With its own spectral norm."""
    return nipponjo(public, in_place=True)


def _normalised(conv: Any, x: Tensor) -> Tensor:
    matrix = conv.weight.flatten(1)
    v = conv.l2_norm(matrix.t() @ conv.weight_u)
    u = conv.l2_norm(matrix @ v)
    conv.weight_u = u.detach()
    return conv._conv_forward(x, conv.weight / (u.t() @ matrix @ v), conv.bias)


def aotgan_fresh(public: Path) -> Pair:
    """With random vectors in its spectral norms."""
    return aotgan(public, fresh=True)
