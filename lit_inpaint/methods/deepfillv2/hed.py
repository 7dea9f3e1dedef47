"""Holistically-nested edge detection (Xie & Tu, ICCV 2015), the detector of DeepFill v2's lines.

The names are those of sniklaus/pytorch-hed, whose network-bsds500.pytorch holds the authors' Caffe weights.
"""

import functools
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint.checkpoints import read_tensors
from masks.convention import in_three, per_channel, to_levels

_STAGES = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)  # VGG16, without its last pooling
_NAMES = ("One", "Two", "Thr", "Fou", "Fiv")
_MEAN = (104.00698793, 116.66876762, 122.67891434)  # BGR


class HED(nn.Module):
    """Images (B, 3, H, W) in [-1, 1], RGB, to the probability of an edge (B, 1, H, W), in float32."""

    def __init__(self) -> None:
        super().__init__()
        inputs = 3
        for name, widths in zip(_NAMES, _STAGES, strict=True):
            layers: list[nn.Module] = [nn.MaxPool2d(2, 2)] if inputs > 3 else []
            for width in widths:
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
            self.add_module(f"moduleVgg{name}", nn.Sequential(*layers))
            self.add_module(f"moduleScore{name}", nn.Conv2d(inputs, 1, 1))
        self.moduleCombine = nn.Sequential(nn.Conv2d(5, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        with torch.autocast(image.device.type, enabled=False):
            x = to_levels(in_three(image).float().flip(1), rounded=False) - per_channel(_MEAN, image.float())
            scores = []
            for name in _NAMES:
                x = self.get_submodule(f"moduleVgg{name}")(x)
                score = self.get_submodule(f"moduleScore{name}")(x)
                scores.append(F.interpolate(score, image.shape[-2:], mode="bilinear"))
            return self.moduleCombine(torch.cat(scores, 1)).sigmoid()


@torch.no_grad()
def hed_edges(image: Tensor, weights: str, threshold: float = 0.6) -> Tensor:
    """Lines of images (B, 3, H, W) in [-1, 1]: (B, 1, H, W), 1 where HED is above ``threshold`` (0.6 in the official
    code's reply on lines)."""
    return (_network(weights, str(image.device))(image) > threshold).to(image.dtype)


@functools.lru_cache(maxsize=2)
def _network(weights: str, device: str) -> HED:
    """HED with the weights of a file, kept out of the checkpoints of whoever uses it.

    Raises:
        ValueError: There is no such file, or it holds something else.
    """
    if not Path(weights).is_file():
        raise ValueError(
            f"hed is {weights}, but there is no such file: network-bsds500.pytorch of sniklaus/pytorch-hed."
        )
    network = HED()
    try:
        state = read_tensors(Path(weights))
        # Later releases of that repository say netVgg for moduleVgg.
        network.load_state_dict({name.replace("net", "module", 1): value for name, value in state.items()})
    except Exception as error:
        raise ValueError(f"{weights} does not hold the weights of HED: {str(error).splitlines()[0]}") from error
    return network.eval().requires_grad_(False).to(device)
