"""Checkpoints of mmagic's DeepFill v1 and v2, whose generators share one class (DeepFillEncoderDecoder)."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor


def deepfill_version(state: Mapping[str, Any]) -> int | None:
    """1 (plain convolutions), 2 (gated ones) or None: not mmagic's."""
    names = state.get("state_dict", state)
    if "generator.stage2.encoder_attention.enc1.conv.weight" in names:
        return 1
    return 2 if "generator.stage2.encoder_attention.enc1.conv.conv.weight" in names else None


def _deepfill_name(ours: str, version: int) -> str:
    """mmagic's name of a parameter of our generators, whose layers have the names of the official program.

    >>> _deepfill_name("generator.pmconv9.weight", 1), _deepfill_name("generator.allconv13_upsample.bias", 2)
    ('generator.stage2.contextual_attention_neck.conv1.conv.weight', 'generator.stage2.decoder.dec3.conv.conv.bias')
    """
    found = re.fullmatch(r"generator\.(x|pm|all)?conv(\d+)(?:_\w+)?\.(\w+)", ours)
    assert found, ours
    branch, number, kind = found[1] or "", int(found[2]), found[3]
    if number <= 6:
        part = {"": "encoder", "x": "encoder_conv", "pm": "encoder_attention"}[branch] + f".enc{number}"
    elif branch == "pm":
        part = f"contextual_attention_neck.conv{number - 8}"
    else:
        part = f"dilation_neck.dilation_convs.{number - 7}" if number <= 10 else f"decoder.dec{number - 10}"
    return f"generator.stage{2 if branch else 1}.{part}.{'conv.' * version}{kind}"


def read_deepfill(state: Mapping[str, Any], names: Iterable[str], version: int) -> dict[str, Tensor]:
    """Our state_dict, still in BGR as mmagic reads images; discriminators are left out."""
    source = state.get("state_dict", state)
    return {ours: source[_deepfill_name(ours, version)] for ours in names}


def write_deepfill(state: Mapping[str, Tensor], version: int) -> dict[str, dict[str, Tensor]]:
    """The inverse of :func:`read_deepfill`, ready for ``DeepFillEncoderDecoder.load_state_dict`` less "generator."."""
    out = {_deepfill_name(ours, version): value for ours, value in state.items() if ours.startswith("generator.")}
    fuse = "generator.stage2.contextual_attention_neck.contextual_attention.fuse_kernel"
    return {"state_dict": out | {fuse: torch.eye(3).view(1, 1, 3, 3)}}
