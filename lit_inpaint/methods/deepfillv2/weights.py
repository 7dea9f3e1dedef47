"""Published weights of DeepFill v2, in and out: the official TensorFlow names, nipponjo's two layouts, mmagic's.

Layers have their official names here, so names, array layout and colour order are all there is to turn.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lit_inpaint.checkpoints import Converted
from lit_inpaint.foreign.mmagic import deepfill_version, read_deepfill, write_deepfill
from lit_inpaint.module import InpaintingModule

State = dict[str, Any]
_FORMATS = ("tensorflow", "nipponjo_tf", "nipponjo", "mmagic")
_FROM_RGB = ("conv1", "xconv1", "pmconv1")  # their first three input channels are colours
_TO_RGB = ("conv17", "allconv17")
_DISCRIMINATOR = tuple(f"conv{i}" for i in range(1, 7))

# nipponjo's networks.py: the blocks in which the official layers lie.
_STAGE1 = {
    "conv1": "conv1",
    "conv2_downsample": "down_block1.conv1_downsample",
    "conv3": "down_block1.conv2",
    "conv4_downsample": "down_block2.conv1_downsample",
    "conv5": "down_block2.conv2",
    "conv6": "conv_bn1",
    "conv7_atrous": "conv_bn2",
    "conv8_atrous": "conv_bn3",
    "conv9_atrous": "conv_bn4",
    "conv10_atrous": "conv_bn5",
    "conv11": "conv_bn6",
    "conv12": "conv_bn7",
    "conv13_upsample": "up_block1.conv1_upsample",
    "conv14": "up_block1.conv2",
    "conv15_upsample": "up_block2.conv1_upsample",
    "conv16": "up_block2.conv2",
    "conv17": "conv_to_rgb",
}
_STAGE2 = (
    {f"x{name}": f"conv_{_STAGE1[name]}" for name in list(_STAGE1)[:10]}
    | {f"pm{name}": f"ca_{_STAGE1[name]}" for name in list(_STAGE1)[:6]}
    | {"pmconv9": "ca_conv_bn4", "pmconv10": "ca_conv_bn5"}
    | {f"all{name}": _STAGE1[name] for name in list(_STAGE1)[10:]}
)
_LAYERS = (*_STAGE1, *_STAGE2)


def detect(state: Mapping[str, Any]) -> str | None:
    """The format of loaded weights: "tensorflow", "nipponjo_tf", "nipponjo", "mmagic" or None."""
    if deepfill_version(state) == 2:
        return "mmagic"
    if "inpaint_net/conv1/kernel" in state and len(state["inpaint_net/xconv1/kernel"].shape) == 4:
        return "tensorflow" if state["inpaint_net/xconv1/kernel"].shape[2] == 3 else None  # 5: DeepFill v1
    generator = state.get("G", state)
    if "stage1.conv1.conv.weight" in generator:
        return "nipponjo"
    if "allconv13_upsample.conv.conv.weight" in generator and "conv1.conv.weight" in generator:
        return "nipponjo_tf" if generator["xconv1.conv.weight"].shape[1] == 3 else None
    return None


def convert(state: Mapping[str, Any], format: str) -> Converted:
    """Class arguments, state_dict and contract, so that DeepFillV2 computes what the source program computes.

    Args:
        state: The file as loaded; for "tensorflow" arrays by variable name, optimiser slots ignored.
        format: One that :func:`detect` returns.

    Returns:
        ``method``, ``hyper_parameters``, ``state_dict`` and ``contract`` (plain values only). A file without a
        discriminator gives a state_dict without one.
    """
    if format == "tensorflow":
        out = _from_tensorflow(state)
    elif format in ("nipponjo_tf", "nipponjo"):
        out = _from_nipponjo(state, format)
    elif format == "mmagic":
        names = [f"generator.{layer}.{kind}" for layer in _LAYERS for kind in ("weight", "bias")]
        out = _swap_red_and_blue(read_deepfill(state, names, 2))
    else:
        raise ValueError(f"format is {format!r}; DeepFillV2 reads {', '.join(_FORMATS)}.")
    first = out["generator.conv1.weight"]
    arguments: dict[str, object] = {"width": len(first), "sketch": first.shape[1] == 6}
    if "discriminator.conv1.weight" in out:
        arguments["discriminator_width"] = len(out["discriminator.conv1.weight"])
    if format != "tensorflow":
        arguments["variant"] = format
    return {
        "method": "DeepFillV2",
        "hyper_parameters": arguments,
        "state_dict": out,
        "contract": {
            "source": format,
            "input": "[-1, 1], hole 0, then ones and mask; the program reads "
            + ("BGR" if format in ("tensorflow", "mmagic") else "RGB"),
            "mask": "1 = hole",
            "padding": {"nipponjo": "symmetric zeros", "mmagic": "mirrored"}.get(format, "TensorFlow SAME"),
            "sampling": "every second pixel" if format in ("nipponjo", "mmagic") else "align_corners",
            "attention": (
                "hole excluded, divided by the patches over a pixel, fuse"
                if format == "mmagic"
                else f"masked scores times 0, pasted sum / 4, {'no fuse' if format == 'nipponjo_tf' else 'fuse'}"
            ),
            "output": "tanh",
        },
    }


def export(method: InpaintingModule) -> State:
    """In the layout of the program whose ``variant`` the generator computes; see :func:`layout`."""
    variant = method.hparams["variant"]
    return layout(method.state_dict(), "tensorflow" if variant == "official" else variant)


def layout(state_dict: Mapping[str, Tensor], format: str) -> State:
    """The state_dict of a DeepFillV2 in the layout of a published program: the inverse of :func:`convert`.

    Returns:
        "tensorflow": numpy arrays by variable name. "nipponjo_tf", "nipponjo": {"G": ..., "D": ...} of tensors, ready
        for that port's ``load_state_dict``. "mmagic": {"state_dict": ...} without the discriminator.
    """
    if format == "tensorflow":
        return _to_tensorflow(state_dict)
    if format == "mmagic":
        return write_deepfill(_swap_red_and_blue({k: v for k, v in state_dict.items() if not k.startswith("disc")}), 2)
    if format not in ("nipponjo_tf", "nipponjo"):
        raise ValueError(f"format is {format!r}; DeepFillV2 writes {', '.join(_FORMATS)}.")
    generator = {
        f"{_nipponjo_name(layer, format)}.{kind}": state_dict[f"generator.{layer}.{kind}"]
        for layer in _LAYERS
        for kind in ("weight", "bias")
    }
    if format == "nipponjo":
        generator["stage2.contextual_attention.fuse_weight"] = torch.eye(3).view(1, 1, 3, 3)
    discriminator: dict[str, Tensor] = {}
    for layer in _DISCRIMINATOR:
        for kind in ("weight", "bias"):
            discriminator[f"{layer}.conv_sn.{kind}"] = state_dict[f"discriminator.{layer}.{kind}"]
        discriminator[f"{layer}.conv_sn.weight_u"] = state_dict[f"discriminator.{layer}.u"][:, None]
    return {"G": generator, "D": discriminator}


def _nipponjo_name(layer: str, format: str) -> str:
    nested = "conv.conv" if layer.endswith("upsample") else "conv"  # the convolution lies in a block of its own
    if format == "nipponjo_tf":
        return f"{layer}.{nested}"
    return f"stage1.{_STAGE1[layer]}.{nested}" if layer in _STAGE1 else f"stage2.{_STAGE2[layer]}.{nested}"


def _from_nipponjo(state: Mapping[str, Any], format: str) -> dict[str, Tensor]:
    source, discriminator = state.get("G", state), state.get("D", {})
    out = {
        f"generator.{layer}.{kind}": source[f"{_nipponjo_name(layer, format)}.{kind}"]
        for layer in _LAYERS
        for kind in ("weight", "bias")
    }
    for layer in _DISCRIMINATOR if discriminator else ():
        for kind in ("weight", "bias"):
            out[f"discriminator.{layer}.{kind}"] = discriminator[f"{layer}.conv_sn.{kind}"]
        out[f"discriminator.{layer}.u"] = discriminator[f"{layer}.conv_sn.weight_u"].flatten()
    return out


def _tensorflow_name(layer: str) -> str:
    return f"inpaint_net/{layer}/{layer}_conv" if layer.endswith("upsample") else f"inpaint_net/{layer}"


def _from_tensorflow(state: Mapping[str, Any]) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    names = {f"generator.{layer}": _tensorflow_name(layer) for layer in _LAYERS}
    if "discriminator/sn_patch_gan/conv1/kernel" in state:
        names |= {f"discriminator.{layer}": f"discriminator/sn_patch_gan/{layer}" for layer in _DISCRIMINATOR}
    for ours, theirs in names.items():
        kernel, bias = (torch.from_numpy(np.array(state[f"{theirs}/{kind}"])) for kind in ("kernel", "bias"))
        out[f"{ours}.weight"], out[f"{ours}.bias"] = kernel.permute(3, 2, 0, 1).contiguous(), bias
        if ours.startswith("discriminator"):
            out[f"{ours}.u"] = torch.from_numpy(np.array(state[f"{theirs}/kernel_sn/u"])).flatten()
    return _swap_red_and_blue(out)


def _to_tensorflow(state_dict: Mapping[str, Tensor]) -> State:
    source = _swap_red_and_blue({name: value.detach().cpu() for name, value in state_dict.items()})
    out: State = {}
    names = {f"generator.{layer}": _tensorflow_name(layer) for layer in _LAYERS}
    names |= {f"discriminator.{layer}": f"discriminator/sn_patch_gan/{layer}" for layer in _DISCRIMINATOR}
    for ours, theirs in names.items():
        out[f"{theirs}/kernel"] = np.ascontiguousarray(source[f"{ours}.weight"].permute(2, 3, 1, 0).numpy())
        out[f"{theirs}/bias"] = source[f"{ours}.bias"].numpy()
        if ours.startswith("discriminator"):
            out[f"{theirs}/kernel_sn/u"] = source[f"{ours}.u"][None].numpy()
    return out


def _swap_red_and_blue(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The official program and mmagic read images with OpenCV: BGR in and out. The swap is its own inverse."""
    out = dict(state)
    inputs = [f"generator.{layer}.weight" for layer in _FROM_RGB] + ["discriminator.conv1.weight"]
    for name in inputs:
        if name in out:
            order = [2, 1, 0, *range(3, out[name].shape[1])]
            out[name] = out[name][:, order]
    for layer in _TO_RGB:
        for kind in ("weight", "bias"):
            value = out[f"generator.{layer}.{kind}"]
            out[f"generator.{layer}.{kind}"] = value.unflatten(0, (-1, 3)).flip(1).flatten(0, 1)  # mmagic's: gates too
    return out
