"""Published weights, where they are on this machine: features and metrics on the device against the CPU."""

from typing import Any

import torch

from benchmarks.gpu.support import Skipped, bounded, exact
from lit_inpaint.backbones import BACKBONES, BackboneMissingError, backbone
from lit_inpaint.losses.perceptual import VGG16Features, VGG19Features
from lit_inpaint.methods import MIGAN
from lit_inpaint.methods.migan import weights
from lit_inpaint.metrics import metric
from lit_inpaint.metrics.inception import inception_features

TOLERANCE = 1e-3


def items(part: str, device: str) -> list[str]:
    return [name for name, known in BACKBONES.items() if not known.repository]


def outputs(name: str, device: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    image, other = (torch.rand(2, 3, 64, 64, generator=generator).to(device) for _ in range(2))
    if name in ("vgg16", "vgg19"):
        layers = VGG16Features() if name == "vgg16" else VGG19Features((1, 6, 11, 20, 29))
        return torch.cat([x.flatten() for x in layers(image)])
    if name == "alexnet":
        return metric("lpips_alex")(image * 2 - 1, other * 2 - 1)
    if name == "inception_fid":
        return inception_features(image * 2 - 1)
    content = weights.convert(torch.load(backbone(name), map_location="cpu", weights_only=True), weights.FORMAT)
    method = MIGAN(**content["hyper_parameters"]).eval()
    method.load_state_dict(content["state_dict"], strict=False)
    side = content["hyper_parameters"]["size"]
    image = torch.nn.functional.interpolate(image * 2 - 1, (side, side))
    mask = torch.zeros(len(image), 1, side, side, device=device)
    mask[..., side // 4 : side // 2, side // 4 : side // 2] = 1
    return method.to(device)(image, mask)


def run(item: str, part: str, device: str) -> dict[str, Any]:
    if item == "migan_places2_512" and device == "cpu":
        raise Skipped("512 px takes a minute on a CPU; tests/lit_inpaint/test_migan.py has it")
    try:
        with torch.no_grad():
            expected = outputs(item, "cpu")
            with exact(device):
                found = outputs(item, device).cpu()
    except BackboneMissingError as error:
        raise Skipped(str(error)) from None
    error = float((found - expected).abs().max() / expected.abs().max())
    return {"difference": bounded("difference relative to the largest value", error, TOLERANCE)}
