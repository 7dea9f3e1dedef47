"""Released weights of MI-GAN: layers have their official names here; only the fixed filters are left out."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from lit_inpaint.checkpoints import Converted
from lit_inpaint.methods.migan.networks import Resample

FORMAT = "Picsart MI-GAN"
_FILTER = re.compile(r"(down|up)sample\.filter\.weight$")
_ZEROS_BETWEEN = "upsample.filter_const"  # 1 at every second row and column: how the authors put zeros in


def detect(state: Mapping[str, object]) -> str | None:
    """The format of the authors' inference generators (migan_512_places2.pt, migan_256_ffhq.pt, ...), or None."""
    names = {"encoder.b4.conv1.conv1.weight", "synthesis.b4.conv1.conv1.weight", "synthesis.b8.conv1.noise_const"}
    return FORMAT if names <= set(state) and _size(state) else None


def convert(state: Mapping[str, Tensor], format: str) -> Converted:
    """Class arguments, state_dict and contract, so that MIGAN computes what the released generator computes.

    Raises:
        ValueError: Another format, or resampling filters other than [1, 3, 3, 1].
    """
    if format != FORMAT:
        raise ValueError(f"format is {format!r}; MIGAN reads '{FORMAT}'.")
    out = {}
    for name, value in state.items():
        if found := _FILTER.search(name):
            kernel = Resample(1 if found[1] == "down" else 4).kernel
            if value.shape[1:] != kernel.shape[1:] or not torch.allclose(value, kernel.expand_as(value)):
                raise ValueError(f"{name} is not the filter [1, 3, 3, 1] of MI-GAN; expected the released generator.")
        elif not name.endswith(_ZEROS_BETWEEN):
            out[f"generator.{name}"] = value
    size = _size(state)
    return {
        "method": "MIGAN",
        "hyper_parameters": {"size": size},
        "state_dict": out,
        "contract": {
            "source": format,
            "size": f"{size}x{size}",
            "input": "known - 0.5, then RGB in [-1, 1], hole 0",
            "mask": "1 = hole (the program: 1 = known)",
            "output": "whole image, about [-1, 1]",
        },
    }


def _size(state: Mapping[str, object]) -> int:
    """Side of the image: the one encoder block that reads it. 0 where there is none."""
    found = [re.fullmatch(r"encoder\.b(\d+)\.fromrgb\.weight", name) for name in state]
    return next((int(match[1]) for match in found if match), 0)
