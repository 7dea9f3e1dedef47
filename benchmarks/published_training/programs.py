"""Published programs that `benchmarks.published_training` trains, from checkouts of their repositories.

Each function takes the folder with the checkouts and the data, and returns the program's :class:`Training`: its
networks, losses and optimisers in the order of its own loop, at the sizes that 64 px take. Nothing of them is kept.
"""

import importlib
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import torch
import torchvision
import yaml
from torch import Tensor, nn
from torch.optim import Adam

from benchmarks.published import checkout, daa233_update
from datamodules import InpaintingDataModule
from experiments.files.find import find_yaml
from experiments.files.read import read_yaml
from lit_inpaint.backbones import features_state
from lit_inpaint.methods.ict.palette import down_sample, enlarge, hole_of_tokens, make_palette, quantise
from lit_inpaint.methods.ict.sampling import draw
from masks.convention import InpaintingBatch, erase, hole_box

SIZE = 64
LENGTH, TOP_K = 2200, 5  # of ICT in experiments/configs/studies/table1.yaml
Update = Callable[[InpaintingBatch], Any]


class Training(NamedTuple):
    """Stages, each with its batch size, share the time.

    ``complete`` takes image (1, 3, 64, 64) in [-1, 1] and mask (1, 1, 64, 64), 1 = hole, and returns the raw output.
    """

    stages: Sequence[tuple[int, Update]]
    networks: Sequence[nn.Module]
    complete: Callable[[Tensor, Tensor], Any]


def naoto0804(public: Path, data: InpaintingDataModule) -> Training:
    """pytorch-inpainting-with-partial-conv, train.py: its width, batch and rate, cut to five of its levels."""
    checkout(public, "naoto0804/pytorch-inpainting-with-partial-conv", "places2.py")
    options = importlib.import_module("opt")
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (options.MEAN, options.STD))
    with mock.patch("torchvision.models.vgg16", _vgg16):
        net, loss = importlib.import_module("net"), importlib.import_module("loss")
        criterion = loss.InpaintingLoss(net.VGG16FeatureExtractor())
    model = net.PConvUNet(layer_size=5)
    optimizer = Adam([p for p in model.parameters() if p.requires_grad], 2e-4)

    def update(batch: InpaintingBatch) -> None:
        truth, known = ((batch.image + 1) / 2 - mean) / std, (1 - batch.mask).expand(-1, 3, -1, -1).contiguous()
        output, _ = model(truth * known, known)
        found = criterion(truth * known, known, output, truth)
        optimizer.zero_grad()
        sum(weight * found[name] for name, weight in options.LAMBDA_DICT.items()).backward()
        optimizer.step()

    def complete(image: Tensor, mask: Tensor) -> Any:
        known = (1 - mask).expand(-1, 3, -1, -1)
        output, _ = model(((image + 1) / 2 - mean) / std * known, known)
        return 2 * (output * std + mean) - 1

    return Training([(16, update)], [model], complete)


def _vgg16(pretrained: bool = True) -> nn.Module:
    vgg = torchvision.models.vgg
    network: nn.Module = vgg.VGG(vgg.make_layers(vgg.cfgs["D"]))
    network.get_submodule("features").load_state_dict(features_state("vgg16"))
    return network


def daa233(public: Path, data: InpaintingDataModule) -> Training:
    """generative-inpainting-pytorch, trainer.py, at the widths, rate and updates of deepfillv1/faces64.

    One hole per batch, as its ``mask_batch_same``: its attention reads the first one's. Its critics see 32 px around
    it.
    """
    root = checkout(public, "daa233/generative-inpainting-pytorch", "utils/tools.py")
    ours, side = settings("deepfillv1/faces64"), 32
    config = yaml.safe_load((root / "configs/config.yaml").read_text())
    config |= {"cuda": False, "gpu_ids": [], "image_shape": [SIZE, SIZE, 3], "mask_shape": [side, side]}
    config |= {"lr": ours["learning_rate"], "n_critic": 1 + ours["discriminator_updates"]}
    config["netG"]["ngf"], config["netD"]["ndf"] = ours["width"], ours["discriminator_width"]
    trainer = importlib.import_module("trainer").Trainer(config)
    critics = [(trainer.localD, side), (trainer.globalD, SIZE)]
    for critic, seen in critics:  # theirs fit 128 and 256 px
        critic.linear = nn.Linear(4 * ours["discriminator_width"] * (seen // 16) ** 2, 1)
    parameters = [p for critic, _ in critics for p in critic.parameters()]
    trainer.optimizer_d = Adam(parameters, config["lr"], (config["beta1"], config["beta2"]))
    number = 0

    def update(batch: InpaintingBatch) -> None:
        nonlocal number
        number += 1
        mask = batch.mask[:1].expand_as(batch.mask)
        top, left, bottom, right = hole_box(mask[0, 0])
        y, x = (min(max((ends - side) // 2, 0), SIZE - side) for ends in (top + bottom, left + right))
        boxes = torch.tensor([(y, x, side, side)] * len(mask))
        generating = number % config["n_critic"] == 0
        daa233_update(trainer, config, erase(batch.image, mask), boxes, mask, batch.image, generating)

    stages = [(ours["batch_size"], update)]
    return Training(stages, [trainer], lambda image, mask: trainer.netG(erase(image, mask), mask)[1])


def raywzy(public: Path, data: InpaintingDataModule) -> Training:
    """ICT, Transformer/DDP_trainer.py and Guided_Upsample/src/models.py, at the sizes and rates of ict/faces64_*.

    Losses weigh as in faces64_upsampler, so that VGG19 is not used. The palette and the tokens known beside a hole are
    ours: its own sampling sees the truth there.
    """
    root = checkout(public, "raywzy/ICT", "Transformer/DDP_trainer.py")
    sys.path[:0] = [str(root / "Transformer"), str(root / "Guided_Upsample")]
    first, second = settings("ict/faces64_transformer"), settings("ict/faces64_upsampler")
    grid, palette = first["grid"], make_palette("kmeans", first["colours"], first["grid"], data)
    gpt = importlib.import_module("models.model")
    config = gpt.GPTConfig(
        len(palette), grid**2, embd_pdrop=0.0, resid_pdrop=0.0, attn_pdrop=0.0, n_layer=first["layers"],
        n_head=first["heads"], n_embd=first["width"], BERT=True, use_gelu2=True, dynamic_weight=False,
    )  # fmt: skip
    transformer = gpt.GPT(config)
    rates = SimpleNamespace(learning_rate=first["learning_rate"], betas=(0.9, 0.95), weight_decay=0)
    optimizer, seen = transformer.configure_optimizers(rates), 0
    upsampler = _upsampler(second)

    def draw_colours(batch: InpaintingBatch) -> None:
        nonlocal seen
        truth = quantise(down_sample(batch.image, grid), palette)
        _, loss = transformer(truth, truth, hole_of_tokens(batch.mask, grid))
        transformer.zero_grad()
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(transformer.parameters(), 1.0)
        optimizer.step()
        seen += 1
        progress = min((seen - first["warmup_steps"]) / (LENGTH - first["warmup_steps"]), 1.0)
        factor = max(0.1, 0.5 * (1 + math.cos(math.pi * progress))) if progress >= 0 else seen / first["warmup_steps"]
        for group in optimizer.param_groups:
            group["lr"] = first["learning_rate"] * factor

    def upsample(batch: InpaintingBatch) -> None:
        tokens = quantise(down_sample(batch.image, grid), palette)
        upsampler.process((batch.image + 1) / 2, enlarge(tokens, palette, grid, SIZE), batch.mask)

    def complete(image: Tensor, mask: Tensor) -> Any:
        tokens, hole = quantise(down_sample(image, grid, mask), palette), hole_of_tokens(mask, grid)
        for at in hole[0].nonzero()[:, 0].tolist():
            logits, _ = transformer(tokens, masks=hole)
            tokens[0, at] = draw(logits[0, at], torch.rand((), dtype=torch.float64), TOP_K)
            hole[0, at] = 0
        return 2 * upsampler((image + 1) / 2, enlarge(tokens, palette, grid, SIZE), mask) - 1

    stages = [(first["batch_size"], draw_colours), (second["batch_size"], upsample)]
    return Training(stages, [transformer, upsampler], complete)


def _upsampler(ours: dict[str, Any]) -> Any:
    rate, (beta1, beta2) = ours["learning_rate"], ours["betas"]
    config = SimpleNamespace(
        PATH="", Generator=4, Discriminator=0, GAN_LOSS="nsgan", score=False, GPU=[0], LR=rate,
        BETA1=beta1, BETA2=beta2, D2G_LR=ours["discriminator_learning_rate"] / rate,
        INPAINT_ADV_LOSS_WEIGHT=ours["adversarial_weight"],
        L1_LOSS_WEIGHT=1, CONTENT_LOSS_WEIGHT=0, STYLE_LOSS_WEIGHT=0,
    )  # fmt: skip
    models = importlib.import_module("src.models")
    generator = _thinner(partial(models.InpaintGenerator_5, ours["blocks"]), ours["width"] / 64)
    discriminator = _thinner(models.Discriminator, ours["discriminator_width"] / 64)
    changed: Any = {"PerceptualLoss": _Nothing, "StyleLoss": _Nothing}
    with mock.patch.multiple(models, InpaintGenerator_5=generator, Discriminator=discriminator, **changed):
        return models.InpaintingModel(config)


def _thinner(network: Callable[..., nn.Module], by: float) -> Callable[..., nn.Module]:
    """The same with so many times the channels between images and outputs; its widths are not arguments."""

    def of(layer: type[nn.Module]) -> Callable[..., nn.Module]:
        def made(in_channels: int, out_channels: int, **options: Any) -> nn.Module:
            return layer(*(round(c * by) if c >= 64 else c for c in (in_channels, out_channels)), **options)

        return made

    def build(**options: Any) -> nn.Module:
        layers = {name: of(getattr(nn, name)) for name in ("Conv2d", "ConvTranspose2d")}
        with mock.patch("src.networks.nn", SimpleNamespace(**(vars(nn) | layers))):
            return network(**options)

    return build


class _Nothing(nn.Module):
    def forward(self, output: Tensor, truth: Tensor) -> Tensor:
        return output.new_zeros(())


def settings(config: str) -> dict[str, Any]:
    read = read_yaml(find_yaml(config))
    return {"batch_size": read["data"]["init_args"]["batch_size"], **read["model"]["init_args"]}
