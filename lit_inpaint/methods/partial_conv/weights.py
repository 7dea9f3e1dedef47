"""Published weights of partial convolutions: mmagic's and naoto0804's checkpoints, in and out.

NVIDIA never released its inpainting network; its layer has the state_dict of ``nn.Conv2d``, as ours has.
"""

from typing import Any

import torch
from torch import Tensor

from lit_inpaint.checkpoints import Converted
from lit_inpaint.module import InpaintingModule

State = dict[str, Any]
_BGR = [2, 1, 0]


def detect(state: State) -> str | None:
    """The format of a loaded checkpoint: "mmagic", "naoto0804" or None."""
    if "enc_1.conv.input_conv.weight" in state.get("model", state):
        return "naoto0804"
    if "generator.encoder.enc1.conv.weight_mask_updater" in state.get("state_dict", state):
        return "mmagic"
    return None


def convert(state: State, format: str) -> Converted:
    """Class arguments, state_dict and contract, so that PartialConv computes what the source program computes.

    Colour order and the window of the ratio are settled in the weights; the range of the pixels is an argument.

    Args:
        state: The file as loaded.
        format: One that :func:`detect` returns.

    Returns:
        ``method``, ``hyper_parameters``, ``state_dict`` and ``contract`` (plain values only).
    """
    out: dict[str, Tensor] = {}
    if format == "naoto0804":
        source = state.get("model", state)
        levels = sum(name.endswith("input_conv.weight") and name.startswith("enc") for name in source)
        for part, name in (("encoder", "enc_{}"), ("decoder", "dec_{}")):
            for i in range(levels):
                theirs, ours = name.format(i + 1), f"generator.{part}.{i}"
                weight = source[f"{theirs}.conv.input_conv.weight"]
                # The port divides by sum(M) alone; ours multiplies by the window as well.
                out[f"{ours}.conv.weight"] = weight / weight[0].numel()
                if i == 0:  # its first encoder layer has no bias
                    out[f"{ours}.conv.bias"] = source.get(f"{theirs}.conv.input_conv.bias", torch.zeros(len(weight)))
                out |= _norm(source, f"{theirs}.bn", f"{ours}.norm")
        pixels, contract = "imagenet", {"input": "ImageNet mean and deviation, RGB, hole 0", "mask": "1 = known"}
    elif format == "mmagic":
        source = state.get("state_dict", state)
        levels = sum(name.startswith("generator.encoder.enc") and name.endswith("conv.weight") for name in source)
        for part, name in (("encoder", "generator.encoder.enc{}"), ("decoder", "generator.decoder.dec{}")):
            for i in range(levels):
                theirs, ours = name.format(i + 1), f"generator.{part}.{i}"
                out[f"{ours}.conv.weight"] = source[f"{theirs}.conv.weight"]
                if i == 0:
                    out[f"{ours}.conv.bias"] = source[f"{theirs}.conv.bias"]
                out |= _norm(source, f"{theirs}.bn", f"{ours}.norm")
        first, last = out["generator.encoder.0.conv.weight"], out["generator.decoder.0.conv.weight"]
        out["generator.encoder.0.conv.weight"] = first[:, _BGR]
        out["generator.decoder.0.conv.weight"] = torch.cat([last[:, :-3], last[:, -3:][:, _BGR]], 1)[_BGR]
        out["generator.decoder.0.conv.bias"] = out["generator.decoder.0.conv.bias"][_BGR]
        pixels, contract = "signed", {"input": "[-1, 1], BGR, hole 0", "mask": "1 = known"}
    else:
        raise ValueError(f"format is {format!r}; PartialConv reads 'mmagic' and 'naoto0804'.")
    width = len(out["generator.encoder.0.conv.weight"])
    return {
        "method": "PartialConv",
        "hyper_parameters": {"levels": levels, "width": width, "pixels": pixels},
        "state_dict": out,
        "contract": {"source": format, "padding": "zero, counts as hole", "output": "linear, as input"} | contract,
    }


def export(method: InpaintingModule) -> State:
    """The network in the layout of the program that feeds what ``pixels`` says: mmagic's ("signed") as
    ``{"state_dict": ...}``, naoto0804's ("imagenet") as ``{"model": ...}``. Their constant masks of ones come along.

    Raises:
        ValueError: Another range of pixels or ratio, or a bias in the first layer, where naoto0804's has none.
    """
    pixels, levels = method.hparams["pixels"], int(method.hparams["levels"])
    if pixels not in ("signed", "imagenet") or method.hparams["variant"] != "paper":
        raise ValueError(
            f"PartialConv with pixels {pixels} and variant {method.hparams['variant']} matches no published program; "
            "pixels signed (mmagic's) or imagenet (naoto0804's) with variant paper can be written."
        )
    state = {k: v.detach().cpu().clone() for k, v in method.state_dict().items() if k.startswith("generator.")}
    mmagic = pixels == "signed"
    if mmagic:
        first, last = state["generator.encoder.0.conv.weight"], state["generator.decoder.0.conv.weight"]
        state["generator.encoder.0.conv.weight"] = first[:, _BGR]
        state["generator.decoder.0.conv.weight"] = torch.cat([last[:, :-3], last[:, -3:][:, _BGR]], 1)[_BGR]
        state["generator.decoder.0.conv.bias"] = state["generator.decoder.0.conv.bias"][_BGR]
    elif state["generator.encoder.0.conv.bias"].any():
        raise ValueError("the first layer has a bias, which naoto0804's program does not support.")
    out: dict[str, Tensor] = {}
    for part, name in (("encoder", "enc"), ("decoder", "dec")):
        for i in range(levels):
            ours = f"generator.{part}.{i}"
            theirs = f"generator.{part}.{name}{i + 1}" if mmagic else f"{name}_{i + 1}"
            conv, mask = ("conv", "weight_mask_updater") if mmagic else ("conv.input_conv", "mask_conv.weight")
            weight = state[f"{ours}.conv.weight"]
            out[f"{theirs}.{conv}.weight"] = weight if mmagic else weight * weight[0].numel()
            out[f"{theirs}.conv.{mask}"] = torch.ones_like(weight)
            if i == 0 and (mmagic or part == "decoder"):
                out[f"{theirs}.{conv}.bias"] = state[f"{ours}.conv.bias"]
            norm = f"{ours}.norm."
            out |= {f"{theirs}.bn.{k.removeprefix(norm)}": v for k, v in state.items() if k.startswith(norm)}
    return {"state_dict" if mmagic else "model": out}


def _norm(source: State, theirs: str, ours: str) -> dict[str, Tensor]:
    return {ours + name.removeprefix(theirs): value for name, value in source.items() if name.startswith(theirs + ".")}
