"""Published weights of DeepFill v1: the official TensorFlow checkpoints, daa233's PyTorch files and mmagic's."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lit_inpaint.checkpoints import Converted
from lit_inpaint.foreign.mmagic import deepfill_version, read_deepfill, write_deepfill
from lit_inpaint.methods.deepfillv1.networks import Discriminator, Generator
from lit_inpaint.module import InpaintingModule

State = dict[str, Any]
# Our attribute, the port's attribute, and its prefix in files that hold the whole trainer (torch_model.p).
_DISCRIMINATORS = {"localD": "discriminator_local", "globalD": "discriminator_global"}


def detect(state: State) -> str | None:
    """The format of a loaded file: "tensorflow" (variables by name), "daa233" (gen_*.pt), "daa233_discriminator"
    (dis_*.pt), "daa233_converted" (torch_model.p: TensorFlow's weights under the port's names), "mmagic", or None."""
    if deepfill_version(state) == 1:
        return "mmagic"
    if "inpaint_net/xconv1/kernel" in state and state["inpaint_net/xconv1/kernel"].shape[2:3] == (5,):  # v2 has 3
        return "tensorflow"
    if "netG.coarse_generator.conv1.conv.weight" in state:
        return "daa233_converted"
    if "coarse_generator.conv1.conv.weight" in state:
        return "daa233"
    if set(_DISCRIMINATORS) <= set(state):
        return "daa233_discriminator"
    return None


def convert(state: State, format: str) -> Converted:
    """Class arguments, state_dict and contract, so that DeepFillV1 computes what the source program computes.

    Args:
        state: The file as loaded.
        format: One that :func:`detect` returns. Weights that TensorFlow trained want its padding and attention
            ("official"), those that a port trained want the port's.

    Returns:
        ``method``, ``hyper_parameters``, ``state_dict`` and ``contract`` (plain values only).
    """
    converted = format in ("daa233_converted", "tensorflow")
    arguments: dict[str, object] = {"variant": "official" if converted else format.removesuffix("_discriminator")}
    out: dict[str, Tensor] = {}
    if format == "tensorflow":
        out, sizes = _from_tensorflow(state)
        arguments |= {"width": len(out["generator.conv1.weight"])} | sizes
        _swap_red_and_blue(out)
    elif format in ("daa233", "daa233_converted"):
        prefix = "netG." if converted else ""
        out = {ours: state[prefix + theirs] for ours, theirs in _names().items()}
        arguments["width"] = len(out["generator.conv1.weight"])
        if converted:
            _swap_red_and_blue(out)
    elif format == "mmagic":
        out = read_deepfill(state, _names(), 1)
        arguments["width"] = len(out["generator.conv1.weight"])
        _swap_red_and_blue(out)
    elif format == "daa233_discriminator":
        for theirs, ours in _DISCRIMINATORS.items():
            source = state[theirs]
            for name, _ in Discriminator(16, 1).named_parameters():  # layers.0.weight, ..., linear.bias
                kind, *rest = name.split(".")
                their_name = f"dis_conv_module.conv{int(rest[0]) + 1}.conv.{rest[1]}" if kind == "layers" else name
                out[f"{ours}.{name}"] = source[their_name]
        arguments["discriminator_width"] = len(out["discriminator_local.layers.0.weight"])
    else:
        raise ValueError(
            f"format is {format!r}; DeepFillV1 reads 'tensorflow', 'daa233', 'daa233_discriminator', "
            "'daa233_converted' and 'mmagic'."
        )
    bgr = converted or format == "mmagic"
    port = ("mirrored", "every second pixel, hole excluded, divided by the patches over a pixel")
    if format != "mmagic":
        port = ("symmetric", "every second pixel, 1e-4 added")
    return {
        "method": "DeepFillV1",
        "hyper_parameters": arguments,
        "state_dict": out,
        "contract": {
            "source": format,
            "input": f"[-1, 1], {'BGR' if bgr else 'RGB'}, hole 0; then ones, then the mask, 1 = hole",
            "output": "clipped to [-1, 1]",
            "padding": "TensorFlow's SAME" if converted else port[0],
            "attention": "align_corners, norm >= 1e-4" if converted else port[1],
        },
    }


def _from_tensorflow(state: State) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Networks under our names, still in BGR, and the arguments that the discriminators, if there, reveal."""
    out: dict[str, Tensor] = {}
    sizes: dict[str, int] = {}
    for ours in _names():
        layer, part = ours.split(".")[1:]
        nested = f"{layer}/{layer}_conv" if layer.endswith("upsample") else layer
        out[ours] = _tensor(state[f"inpaint_net/{nested}/{'kernel' if part == 'weight' else 'bias'}"])
    for name, size in (("local", "local_size"), ("global", "size")):
        if f"discriminator/dout_{name}_fc/kernel" not in state:
            continue
        ours = f"discriminator_{name}"
        for i in range(4):
            for part, theirs in (("weight", "kernel"), ("bias", "bias")):
                found = state[f"discriminator/discriminator_{name}/conv{i + 1}/{theirs}"]
                out[f"{ours}.layers.{i}.{part}"] = _tensor(found)
        channels = len(out[f"{ours}.layers.3.bias"])
        kernel = _tensor(state[f"discriminator/dout_{name}_fc/kernel"])  # (H W C, 1): flattened with channels last
        side = round((len(kernel) / channels) ** 0.5)
        out[f"{ours}.linear.weight"] = kernel.view(side, side, channels).permute(2, 0, 1).reshape(1, -1)
        out[f"{ours}.linear.bias"] = _tensor(state[f"discriminator/dout_{name}_fc/bias"])
        sizes |= {size: 16 * side, "discriminator_width": len(out[f"{ours}.layers.0.bias"])}
    return out, sizes


def _tensor(array: Any) -> Tensor:
    """A kernel (height, width, in, out) as PyTorch's (out, in, height, width); anything else as it is."""
    tensor = torch.from_numpy(np.array(array))
    return tensor.permute(3, 2, 0, 1).contiguous() if tensor.ndim == 4 else tensor


def export(method: InpaintingModule) -> State:
    """The generator in mmagic's layout where that is the ``variant``, else under daa233's names: of variant daa233 as
    gen_*.pt, of the official one as the port's file of TensorFlow's weights (torch_model.p), which the official network
    computes and which reads images as BGR."""
    state = {ours: method.state_dict()[ours].detach().cpu().clone() for ours in _names()}
    converted = method.hparams["variant"] == "official"
    if method.hparams["variant"] != "daa233":
        _swap_red_and_blue(state)
    if method.hparams["variant"] == "mmagic":
        return write_deepfill(state, 1)
    return {("netG." if converted else "") + theirs: state[ours] for ours, theirs in _names().items()}


def _names() -> dict[str, str]:
    """The port's name of every tensor of the generator by ours."""
    names = {}
    for name, _ in Generator(2).named_parameters():
        layer, part = name.split(".")
        stage = "coarse" if layer.startswith("conv") else "fine"
        names[f"generator.{name}"] = (
            f"{stage}_generator.{layer.removeprefix('x').removesuffix('_upsample')}.conv.{part}"
        )
    return names


def _swap_red_and_blue(state: State) -> None:
    """The official program reads images as BGR. The swap is its own inverse."""
    for name in ("conv1", "xconv1", "pmconv1"):
        state[f"generator.{name}.weight"] = state[f"generator.{name}.weight"][:, [2, 1, 0, 3, 4]]
    for name in ("conv17.weight", "conv17.bias", "allconv17.weight", "allconv17.bias"):
        state[f"generator.{name}"] = state[f"generator.{name}"][[2, 1, 0]]
    for name in ("discriminator_global", "discriminator_local"):
        if f"{name}.layers.0.weight" in state:
            state[f"{name}.layers.0.weight"] = state[f"{name}.layers.0.weight"][:, [2, 1, 0]]
