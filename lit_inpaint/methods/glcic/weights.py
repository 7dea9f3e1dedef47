"""Published weights of GLCIC: the authors' Torch7 files, otenim's PyTorch files and mmagic's checkpoints."""

from typing import Any

import torch
from torch import Tensor

from lit_inpaint.checkpoints import Converted
from lit_inpaint.foreign import torch7
from lit_inpaint.methods.glcic.networks import CompletionNetwork
from lit_inpaint.module import InpaintingModule

State = dict[str, Any]
_Found = tuple[dict[str, object], dict[str, Tensor], dict[str, str]]  # class arguments, state_dict, contract
_BGR = [2, 1, 0]
# Their layers in the order of the paper's table; ours are generator.layers.0-16.
_OTENIM = [f"{'deconv' if number in (13, 15) else 'conv'}{number}" for number in range(1, 18)]
_MMAGIC = [
    *(f"generator.encoder.enc{number}" for number in range(1, 7)),
    *(f"generator.dilation_neck.dilation_convs.{number}" for number in range(4)),
    *(f"generator.decoder.dec{number}" for number in range(1, 8)),
]

OPTIONS: dict[str, Any] = {
    "mean": {
        "type": float, "nargs": 3, "metavar": ("R", "G", "B"), "help": "GLCIC of otenim: mpv of the run's config.json",
    }
}  # fmt: skip


def detect(state: State) -> str | None:
    """The format of a loaded checkpoint: "torch7", "otenim", "otenim_discriminator", "mmagic" or
    None."""
    if isinstance(state.get("model"), dict) and "torch7" in state["model"]:
        return "torch7"
    if "deconv13.weight" in state:
        return "otenim"
    if "model_ld.conv1.weight" in state:
        return "otenim_discriminator"
    names = state.get("state_dict", state)
    if {"generator.encoder.enc1.conv.weight", "generator.dilation_neck.dilation_convs.0.conv.weight"} <= set(names):
        return "mmagic"
    return None


def convert(state: State, format: str, mean: tuple[float, float, float] | None = None) -> Converted:
    """Class arguments, state_dict and contract, so that GLCIC computes what the source program computes.

    mmagic feeds BGR; its first and last layers are turned around, so that ours take and give RGB.

    Args:
        state: The file as loaded.
        format: One that :func:`detect` returns.
        mean: otenim's ``mpv`` (its config.json), the colour that its network was trained to see in the hole.

    Returns:
        ``method``, ``hyper_parameters``, ``state_dict`` and ``contract`` (plain values only).

    Raises:
        ValueError: An unknown format, or a mean that is not of [0, 1] or not otenim's.
    """
    if mean is not None and (format != "otenim" or any(not 0 <= value <= 1 for value in mean)):
        raise ValueError(f"mean is {mean} and the file {format}; a mean is otenim's mpv, three numbers in [0, 1].")
    if format == "torch7":
        found = _from_torch7(state)
    elif format == "otenim":
        found = _from_otenim(state, mean)
    elif format == "otenim_discriminator":
        found = _discriminator_from_otenim(state)
    elif format == "mmagic":
        found = _from_mmagic(state.get("state_dict", state))
    else:
        raise ValueError(f"format is {format!r}; GLCIC reads 'torch7', 'otenim', 'otenim_discriminator', 'mmagic'.")
    arguments, tensors, contract = found
    return {
        "method": "GLCIC",
        "hyper_parameters": arguments,
        "state_dict": tensors,
        "contract": {"source": format, "mask": "1 = hole, last channel", "padding": "zero"} | contract,
    }


def _from_torch7(state: State) -> _Found:
    """{model = nn.Sequential, mean = three numbers}."""
    width = len(torch7.modules(state["model"])[0]["bias"])
    stored = state["mean"]  # a tensor, or a table from 1
    mean = tuple(map(float, stored if isinstance(stored, Tensor) else stored.values()))
    found = torch7.fill(CompletionNetwork(width), state["model"])
    out = {f"generator.{name}": value for name, value in found.items()}
    contract = {"input": "[0, 1] less the mean, RGB, hole 0", "output": "sigmoid, [0, 1]"}
    return {"variant": "paper", "width": width, "mean": mean}, out, contract


def _from_otenim(state: State, mean: tuple[float, float, float] | None) -> _Found:
    out: dict[str, Tensor] = {}
    for number, name in enumerate(_OTENIM, start=1):
        norm = f"bn{number}" if number < 17 else None
        out |= _layer(state, name, norm, "generator.layers", number - 1)
    arguments: dict[str, object] = {"variant": "otenim", "width": len(out["generator.layers.0.conv.weight"])}
    if mean is not None:
        arguments["mean"] = tuple(float(value) for value in mean)
    return arguments, out, {"input": "[0, 1], RGB, hole = mean of the training data", "output": "sigmoid, [0, 1]"}


def _discriminator_from_otenim(state: State) -> _Found:
    out: dict[str, Tensor] = {}
    for ours, theirs in (("whole", "model_gd"), ("local", "model_ld")):
        count = sum(name.startswith(f"{theirs}.conv") and name.endswith("weight") for name in state)
        for number in range(1, count + 1):
            conv, norm = f"{theirs}.conv{number}", f"{theirs}.bn{number}"
            out |= _layer(state, conv, norm, f"discriminator.{ours}.layers", number - 1)
        for part in ("weight", "bias"):
            out[f"discriminator.{ours}.linear.{part}"] = state[f"{theirs}.linear{count + 1}.{part}"]
    # The port puts the local branch first, ours the whole image.
    local, whole = state["linear1.weight"].chunk(2, 1)
    out["discriminator.linear.weight"] = torch.cat([whole, local], 1)
    out["discriminator.linear.bias"] = state["linear1.bias"]
    return {"variant": "otenim"}, out, {"input": "[0, 1], RGB, the raw output of the generator"}


def _from_mmagic(source: State) -> _Found:
    out: dict[str, Tensor] = {}
    for index, name in enumerate(_MMAGIC):
        out |= _layer(source, f"{name}.conv", f"{name}.bn" if index < 16 else None, "generator.layers", index)
    first = out["generator.layers.0.conv.weight"]
    out["generator.layers.0.conv.weight"] = first[:, [*_BGR, 3]]
    for part in ("weight", "bias"):
        out[f"generator.layers.16.{part}"] = out[f"generator.layers.16.{part}"][_BGR]
    contract = {"input": "[-1, 1], BGR, hole 0", "output": "clipped to [-1, 1]"}
    return {"variant": "mmagic", "width": len(first)}, out, contract


def export(method: InpaintingModule) -> State:
    """The generator in the layout of the program of its ``variant``: otenim's, or mmagic's ``{"state_dict": ...}``.

    mmagic's convolutions have no bias before a batch norm; it goes into the running mean.

    Raises:
        ValueError: The variant "paper", which no published PyTorch program computes.
    """
    variant = method.hparams["variant"]
    if variant == "paper":
        raise ValueError("GLCIC of variant paper matches no published program; otenim and mmagic can be written.")
    mmagic = variant == "mmagic"
    out: dict[str, Tensor] = {}
    for index, name in enumerate(_MMAGIC if mmagic else _OTENIM):
        ours = f"generator.layers.{index}"
        layer = {k: v.detach().cpu().clone() for k, v in method.get_submodule(ours).state_dict().items()}
        if index == 16:
            out |= {f"{name}.conv.{k}" if mmagic else f"{name}.{k}": v[_BGR] if mmagic else v for k, v in layer.items()}
            break
        weight = layer["conv.weight"]
        out[f"{name}.conv.weight" if mmagic else f"{name}.weight"] = (
            weight[:, [*_BGR, 3]] if mmagic and index == 0 else weight
        )
        if mmagic:
            layer["norm.running_mean"] -= layer["conv.bias"]
        else:
            out[f"{name}.bias"] = layer["conv.bias"]
        norm = f"{name}.bn" if mmagic else f"bn{index + 1}"
        out |= {f"{norm}.{k.removeprefix('norm.')}": v for k, v in layer.items() if k.startswith("norm.")}
    return {"state_dict": out} if mmagic else out


def _layer(source: State, conv: str, norm: str | None, ours: str, index: int) -> dict[str, Tensor]:
    prefix = f"{ours}.{index}.conv" if norm else f"{ours}.{index}"
    weight = source[f"{conv}.weight"]
    out = {f"{prefix}.weight": weight}
    if f"{conv}.bias" in source:
        out[f"{prefix}.bias"] = source[f"{conv}.bias"]
    elif norm:  # mmagic leaves out the bias before a batch norm
        out[f"{prefix}.bias"] = torch.zeros(len(source[f"{norm}.weight"]))
    if norm:
        names = [name for name in source if name.startswith(f"{norm}.")]
        out |= {f"{ours}.{index}.norm.{name.removeprefix(norm + '.')}": source[name] for name in names}
    return out
