"""naoto0804's partial convolutions: net.py and loss.py in the order of train.py 92-110."""

import importlib
from pathlib import Path
from typing import Any

import torch
from torch.optim import Adam

from benchmarks.parity import randomise
from benchmarks.published import checkout
from benchmarks.training.steps import Pair, State, images, unequal
from lit_inpaint.methods import PartialConv
from lit_inpaint.methods.partial_conv import weights as partial_conv_weights
from masks.convention import InpaintingBatch

LEVELS = 4


def naoto0804(public: Path, restored: str = "") -> Pair:
    """Without its total variation, which counts all pixels, and our first layer's bias, which it lacks; its L1 in
    [0, 1] rather than in normalised colours. ``restored``: "tv", "bias" or "pixels" as it is."""
    checkout(public, "naoto0804/pytorch-inpainting-with-partial-conv", "places2.py")
    options, net, loss = (importlib.import_module(name) for name in ("opt", "net", "loss"))
    model, criterion = net.PConvUNet(layer_size=LEVELS), loss.InpaintingLoss(net.VGG16FeatureExtractor())
    randomise(model, 1, 3)
    with torch.no_grad():  # its layers divide by sum(M) alone
        for name, parameter in model.named_parameters():
            if name.endswith("input_conv.weight"):
                parameter.mul_(parameter[0].numel())
    model.train()  # returns nothing there
    weights = options.LAMBDA_DICT | ({} if restored == "tv" else {"tv": 0})
    optimizer = Adam([p for p in model.parameters() if p.requires_grad], 2e-4)
    image, mask = images(64), unequal(64)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (options.MEAN, options.STD))
    truth, known = ((image + 1) / 2 - mean) / std, (1 - mask).expand(-1, 3, -1, -1).contiguous()

    if restored != "pixels":
        plain = criterion.l1
        del criterion.l1  # a module gives way to a function
        criterion.l1 = lambda a, b: plain(a * std, b * std) if a.shape[1] == 3 else plain(a, b)

    def step() -> dict[str, Any]:
        output, _ = model(truth * known, known)
        found = criterion(truth * known, known, output, truth)
        optimizer.zero_grad()
        sum(weight * found[name] for name, weight in weights.items()).backward()  # type: ignore[union-attr]
        optimizer.step()
        return {"perceptual": found["prc"], "style": found["style"], "hole": found["hole"], "valid": found["valid"]}

    ours = PartialConv(
        LEVELS, variant="first_version", pixels="imagenet", tv_weight=weights["tv"],
    )  # fmt: skip
    assert ours.generator.encoder[0].conv.bias is not None
    ours.generator.encoder[0].conv.bias.requires_grad_(restored == "bias")

    def convert(states: dict[str, State]) -> State:
        found = partial_conv_weights.convert({"model": states["generator"]}, "naoto0804")["state_dict"]
        return {k: x * x[0].numel() if k.endswith("conv.weight") else x for k, x in found.items()}

    return Pair(ours, InpaintingBatch(image, mask, [""] * 2), {"generator": model}, convert, step)


def naoto0804_bias(public: Path) -> Pair:
    """With our first layer's bias."""
    return naoto0804(public, "bias")


def naoto0804_tv(public: Path) -> Pair:
    """With its total variation."""
    return naoto0804(public, "tv")


def naoto0804_pixels(public: Path) -> Pair:
    """With its L1 in normalised colours."""
    return naoto0804(public, "pixels")
