"""Published weights of AOT-GAN: the program's G*.pt and D*.pt and mmagic's checkpoint in, the program's layout out."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lit_inpaint.checkpoints import Converted
from lit_inpaint.module import InpaintingModule

State = dict[str, Any]
_VECTORS = {"weight_orig": "weight", "weight_u": "u", "weight_v": "v"}  # of torch's spectral norm: theirs, ours


def detect(state: Mapping[str, Any]) -> str | None:
    """The format of a loaded file: "official" (G*.pt), "official_discriminator" (D*.pt), "mmagic" or None."""
    if "middle.0.block00.1.weight" in state:
        return "official"
    if "conv.0.weight_orig" in state and "conv.8.weight" in state:
        return "official_discriminator"
    if "generator.dilation_neck.model.0.blocks.0.1.conv.weight" in state.get("state_dict", state):
        return "mmagic"
    return None


def convert(state: Mapping[str, Any], format: str) -> Converted:
    """Class arguments, state_dict and contract, so that AOTGAN computes what the source program computes.

    Args:
        state: The file as loaded.
        format: One that :func:`detect` returns.

    Returns:
        ``method``, ``hyper_parameters``, ``state_dict`` and ``contract`` (plain values only). A file of one network
        gives the state_dict of that network. The dilations are no weights: four of them are taken to be 1, 2, 4, 8.
    """
    out: dict[str, Tensor] = {}
    arguments: dict[str, object] = {"variant": format.removesuffix("_discriminator")}
    source = state.get("state_dict", state)
    if format in ("official", "mmagic"):
        first = (
            "middle.{}.block{:02d}.1" if format == "official" else "generator.dilation_neck.model.{}.blocks.{}.1.conv"
        )
        blocks = next(i for i in range(len(source) + 1) if f"{first.format(i, 0)}.weight" not in source)
        rates = next(i for i in range(len(source) + 1) if f"{first.format(0, i)}.weight" not in source)
        if rates != 4:
            raise ValueError(
                f"the file has {rates} dilated convolutions per block; AOTGAN reads those with 4 (1, 2, 4, 8)."
            )
        for ours, theirs in _generator(format, blocks).items():
            out |= {f"{ours}.{kind}": source[f"{theirs}.{kind}"] for kind in ("weight", "bias")}
        arguments |= {"width": len(out["generator.encoder.0.weight"]), "blocks": blocks}
    elif format != "official_discriminator":
        raise ValueError(f"format is {format!r}; AOTGAN reads 'official', 'official_discriminator' and 'mmagic'.")
    discriminator = _discriminator(format)
    if f"{discriminator['discriminator.convolutions.0']}.weight_orig" in source:
        for ours, theirs in discriminator.items():
            kinds = {"weight": "weight", "bias": "bias"} if ours.endswith("logits") else _VECTORS
            out |= {f"{ours}.{mine}": source[f"{theirs}.{their}"] for their, mine in kinds.items()}
        arguments["discriminator_width"] = len(out["discriminator.convolutions.0.weight"])
    return {
        "method": "AOTGAN",
        "hyper_parameters": arguments,
        "state_dict": out,
        "contract": {
            "source": format,
            "input": "[-1, 1], RGB, hole 1, then the mask",
            "mask": "1 = hole",
            "output": "tanh",
        },
    }


def export(method: InpaintingModule) -> State:
    """The generator of an AOTGAN in the layout of the released program's G*.pt, for its test.py and demo.py."""
    state = method.state_dict()
    blocks = int(method.hparams["blocks"])
    return {
        f"{theirs}.{kind}": state[f"{ours}.{kind}"].detach().cpu().clone()
        for ours, theirs in _generator("official", blocks).items()
        for kind in ("weight", "bias")
    }


def _generator(format: str, blocks: int) -> dict[str, str]:
    """Their name of each layer by ours."""
    official = format == "official"
    prefix, conv = ("", "") if official else ("generator.", ".conv")
    names = {f"encoder.{i}": f"encoder.{2 * i + 1}" if official else f"encoder.encoder.{i + 1}" for i in range(3)}
    for block in range(blocks):
        theirs = f"middle.{block}" if official else f"dilation_neck.model.{block}"
        for i in range(4):
            names[f"middle.{block}.transformations.{i}"] = theirs + (
                f".block{i:02d}.1" if official else f".blocks.{i}.1"
            )
        names |= {f"middle.{block}.{layer}": f"{theirs}.{layer}.1" for layer in ("fuse", "gate")}
    names |= {f"decoder.{i}": f"decoder.{2 * i}.conv" if official else f"decoder.decoder.{i}" for i in range(2)}
    names["to_image"] = "decoder.4" if official else "decoder.decoder.2"
    return {f"generator.{ours}": f"{prefix}{theirs}{conv}" for ours, theirs in names.items()}


def _discriminator(format: str) -> dict[str, str]:
    names = [f"disc.model.{i}.conv" if format == "mmagic" else f"conv.{2 * i}" for i in range(4)]
    ours = {f"discriminator.convolutions.{i}": name for i, name in enumerate(names)}
    return ours | {"discriminator.logits": "disc.model.4" if format == "mmagic" else "conv.8"}
