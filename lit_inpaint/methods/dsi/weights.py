"""Released weights of DSI, TensorFlow 1 arrays by variable name, as a checkpoint of ours.

The official code numbers the layers of each kind in the order in which it makes them, and the modules here are made in
that order. Its full models (save_full_model.py) hold averaged values under plain names; where a file has both, the
averages are taken.
"""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lit_inpaint.checkpoints import Converted
from lit_inpaint.discriminators import SpectralNormConv2d
from lit_inpaint.layers.gated_conv import GatedConv2d
from lit_inpaint.methods.dsi.method import DSI
from lit_inpaint.methods.dsi.structure import CausalAttention, PixelCNN, WNConv2d
from lit_inpaint.methods.dsi.vqvae import Codebook

# Scope of the official program and the part of DSI that it is.
SCOPES = {
    "vq_encoder": (
        "vqvae.encode_bottom",
        "vqvae.encode_top",
        "vqvae.top",
        "vqvae.decode_top",
        "vqvae.merge",
        "vqvae.bottom",
    ),
    "vq_decoder": ("vqvae.raise_top", "vqvae.decode_bottom"),
    "structure_condition": ("structure.condition",),
    "structure_pixelcnn": ("structure.pixelcnn",),
    "texture_generator": ("texture",),
}
_NORMALISED = {"V": "v", "g": "g", "b": "bias"}
_AVERAGE = "/ExponentialMovingAverage"
_SETTLED = 1_000_000  # updates after which the averages of a codebook need no correction


def detect(state: Mapping[str, object]) -> str | None:
    """ "tensorflow" for a full model, else None."""
    first = "vq_encoder/conv2d_0/W", "structure_pixelcnn/wnconv2d_0/V", "texture_generator/gated_conv2d_0/W"
    return "tensorflow" if all(name in state for name in first) else None


def convert(state: Mapping[str, Any], format: str) -> Converted:
    """Class arguments, state_dict and contract, so that DSI computes what the official program computes.

    Args:
        state: Arrays by variable name; the discriminator and optimiser slots are left out.
        format: "tensorflow".

    Returns:
        ``method``, ``hyper_parameters``, ``state_dict`` and ``contract``.
    """
    if format != "tensorflow":
        raise ValueError(f"format is {format!r}; DSI reads 'tensorflow'.")
    channels, codes = state["vq_encoder/vector_quantize_0/embedding"].shape
    arguments = {
        "vq_width": state["vq_encoder/conv2d_1/W"].shape[-1],
        "vq_hidden": state["vq_encoder/conv2d_3/W"].shape[-1],
        "channels": channels,
        "codes": codes,
        "condition_width": state["structure_condition/wnconv2d_0/V"].shape[-1],
        "structure_width": state["structure_pixelcnn/wnconv2d_0/V"].shape[-1],
        "texture_width": state["texture_generator/gated_conv2d_0/W"].shape[-1],
    }
    with torch.device("meta"):
        method = DSI(**arguments)
    out: dict[str, Tensor] = {}
    for scope, parts in SCOPES.items():
        out |= part_state(nn.ModuleDict({p.replace(".", "/"): method.get_submodule(p) for p in parts}), scope, state)
    return {
        "method": "DSI",
        "hyper_parameters": arguments,
        "state_dict": {name.replace("/", "."): value for name, value in out.items()},
        "contract": {
            "source": format,
            "input": "[-1, 1], RGB, hole 0, then ones and mask",
            "mask": "1 = hole",
            "padding": "TensorFlow SAME",
            "structure": "all positions drawn in raster order, temperature 1",
            "output": "tanh",
        },
    }


def part_state(network: nn.Module, scope: str, state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state_dict of one network from the variables of one scope."""
    counters: dict[str, Iterator[int]] = {}
    out: dict[str, Tensor] = {}

    def take(kind: str, number: int, variable: str) -> Tensor:
        name = f"{scope}/{kind}_{number}/{variable}"
        value = state[f"{name}{_AVERAGE}"] if f"{name}{_AVERAGE}" in state else state[name]
        return torch.from_numpy(np.array(value))

    for name, layer in in_order(network):
        kind = kind_of(name, layer)
        assert kind is not None
        numbers = counters.setdefault(kind, count())
        if isinstance(layer, CausalAttention):  # every head has three layers of its own, then comes one for all
            own = [next(numbers) for _ in range(3 * layer.heads + 1)]
            for variable, ours in _NORMALISED.items():
                for i, part in enumerate(("query", "key", "value")):
                    heads = [take(kind, k, variable) for k in own[i:-1:3]]
                    out[f"{name}.{part}.{ours}"] = _kernel(torch.cat(heads, dim=-1))
                out[f"{name}.out.{ours}"] = _kernel(take(kind, own[-1], variable))
            continue
        number = next(numbers)
        if isinstance(layer, Codebook):
            out[f"{name}.embedding"] = take(kind, number, "embedding").mT.contiguous()
            out[f"{name}.sizes"] = take(kind, number, "ema_cluster_size")
            out[f"{name}.sums"] = take(kind, number, "ema_dw").mT.contiguous()
            out[f"{name}.updates"] = torch.tensor(_SETTLED)
        else:
            for variable, ours in (
                _NORMALISED if isinstance(layer, WNConv2d) else {"W": "weight", "b": "bias"}
            ).items():
                out[f"{name}.{ours}"] = _kernel(take(kind, number, variable))
        if isinstance(layer, SpectralNormConv2d):
            out[f"{name}.u"] = take(kind, number, "u").flatten()
    return out


def in_order(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Layers in the order in which the official program makes them, attention as one."""
    for name, layer in network.named_children():
        full = f"{prefix}{name}"
        if isinstance(layer, PixelCNN):
            yield from _pixelcnn(layer, f"{full}.")
        elif kind_of(full, layer) is not None:
            yield full, layer
        else:
            yield from in_order(layer, f"{full}.")


def _pixelcnn(network: PixelCNN, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for name in ("first_rows", "first_above", "first_left"):
        yield f"{prefix}{name}", getattr(network, name)
    for k, (rows, both) in enumerate(zip(network.rows, network.both, strict=True)):
        yield from in_order(rows, f"{prefix}rows.{k}.")
        yield from in_order(both, f"{prefix}both.{k}.")
    yield from in_order(network.out, f"{prefix}out.")
    yield f"{prefix}logits", network.logits


def kind_of(name: str, layer: nn.Module) -> str | None:
    """What the official program calls a layer of this kind; None for what holds no weights of its own."""
    if isinstance(layer, WNConv2d | CausalAttention):
        return "wnconv2d" if isinstance(layer, WNConv2d) and layer.kernel != (1, 1) else "wndense"
    if isinstance(layer, GatedConv2d):
        return "gated_deconv2d" if name.rpartition(".")[2].startswith("raise_") else "gated_conv2d"
    if isinstance(layer, Codebook):
        return "vector_quantize"
    if isinstance(layer, SpectralNormConv2d):
        return "snconv2d"
    if isinstance(layer, nn.ConvTranspose2d):
        return "deconv2d"
    return "conv2d" if isinstance(layer, nn.Conv2d) else None


def _kernel(x: Tensor) -> Tensor:
    """HWIO to OIHW (for a transposed convolution HW, out, in to in, out, HW), a matrix to a 1x1 kernel."""
    if x.ndim == 2:
        x = x[None, None]
    return x.permute(3, 2, 0, 1).contiguous() if x.ndim == 4 else x
