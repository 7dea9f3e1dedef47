"""Released weights of ICT: Transformer/{FFHQ,ImageNet,Places2_Nature}.pth and Upsample/*/InpaintingModel_gen.pth.

Layers have their official names here. The palette is in neither file: it is ``kmeans_centers.npy`` of the repository.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lit_inpaint.checkpoints import Converted
from lit_inpaint.methods.ict.palette import read_palette

OPTIONS = {"palette": {"type": Path, "help": "ICT: kmeans_centers.npy of the transformer"}}


def detect(state: Mapping[str, Any]) -> str | None:
    """The format of loaded weights: "official_transformer", "official_upsampler" or None."""
    if "tok_emb.weight" in _strip(state.get("model", state)):
        return "official_transformer"
    if "middle.0.conv_block.1.weight" in _strip(state.get("generator", state)):
        return "official_upsampler"
    return None


def convert(state: Mapping[str, Any], format: str, palette: Path | None = None) -> Converted:
    """Class arguments, state_dict and contract of the stage that the file holds.

    The causal masks (``blocks.N.attn.mask``) of the file are left out: the released models do not use them. The number
    of heads is not visible in tensors; all released models have 8. The upsampler's discriminator starts from scratch.

    Args:
        format: One that :func:`detect` returns.
        palette: ``kmeans_centers.npy``; the transformer means nothing without it.
    """
    if format == "official_transformer":
        if palette is None:
            raise ValueError(
                "the file has no palette: give --palette kmeans_centers.npy, which is in Transformer/ of the official "
                "repository (raywzy/ICT)."
            )
        tensors = {name: value for name, value in _strip(state.get("model", state)).items() if ".attn.mask" not in name}
        colours, width = tensors["tok_emb.weight"].shape
        arguments = {
            "grid": math.isqrt(tensors["pos_emb"].shape[1]),
            "layers": 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("blocks.")),
            "width": width,
            "heads": 8,
            "colours": colours,
        }
        out = {f"transformer.{name}": value for name, value in tensors.items()}
        out["palette"] = read_palette(palette, colours)
        method = "ICTTransformer"
    elif format == "official_upsampler":
        tensors = _strip(state.get("generator", state))
        blocks = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("middle."))
        arguments = {"width": len(tensors["encoder.1.weight"]), "blocks": blocks}
        out = {f"upsampler.{name}": value for name, value in tensors.items()}
        method = "ICTUpsampler"
    else:
        raise ValueError(f"format is {format!r}; ICT reads 'official_transformer' and 'official_upsampler'.")
    return {
        "method": method,
        "hyper_parameters": arguments,
        "state_dict": out,
        "contract": {
            "source": format,
            "input": "palette indices, embedding 0 in the hole"
            if method == "ICTTransformer"
            else "[0, 1], hole white, then the enlarged tokens; no mask channel",
            "output": "logits" if method == "ICTTransformer" else "(tanh + 1) / 2",
        },
    }


def _strip(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Without the prefix of models that several GPUs trained."""
    return {str(name).removeprefix("module."): value for name, value in state.items()}
