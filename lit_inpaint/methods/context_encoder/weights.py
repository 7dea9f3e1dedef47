"""Published weights of the Context Encoder's centre network: the authors' Torch7 files, BoyuanJiang's PyTorch ones."""

from typing import Any

import torch
from torch import Tensor, nn

from lit_inpaint.checkpoints import Converted
from lit_inpaint.foreign import torch7
from lit_inpaint.methods.context_encoder.networks import Discriminator, Generator
from lit_inpaint.module import InpaintingModule

State = dict[str, Any]
_CONTRACT = {
    "input": "[-1, 1], RGB, central 56 px square of 128 filled with (117, 104, 123)",
    "output": "tanh, the central 64 px square",
}


def detect(state: State) -> str | None:
    """The format of a loaded checkpoint: "torch7", "boyuanjiang" (generators), "boyuanjiang_discriminator"
    or None."""
    if state.get("torch7") == "nn.Sequential":
        return "torch7"
    source = state.get("state_dict", state)
    if "main.0.weight" not in source or any(not name.startswith("main.") for name in source):
        return None
    # The generator's bottleneck normalises a 1x1 map; the discriminator ends in a convolution to one channel.
    return "boyuanjiang_discriminator" if len(source[_convolutions(source)[-1]]) == 1 else "boyuanjiang"


def convert(state: State, format: str) -> Converted:
    """Class arguments, state_dict and contract, so that ContextEncoder computes what the source program computes.

    Args:
        state: The file as loaded.
        format: One that :func:`detect` returns.

    Returns:
        ``method``, ``hyper_parameters``, ``state_dict`` and ``contract`` (plain values only). The port's convolutions
        have no bias; ours get zeros, which is also what the authors' own program trains with.
    """
    if format == "torch7":
        return _from_torch7(state)
    source = state.get("state_dict", state)
    convolutions = _convolutions(source)
    width = len(source[convolutions[0]])
    arguments: dict[str, object] = {"region": "centre", "size": 128, "overlap": 4, "width": width}
    arguments["variant"] = "boyuanjiang"
    network: nn.Module
    if format == "boyuanjiang":
        arguments["bottleneck"] = bottleneck = len(source[convolutions[5]])
        network, attribute = Generator(128, 64, width, bottleneck), "generator"
    elif format == "boyuanjiang_discriminator":
        network, attribute = Discriminator(64, width), "discriminator"
    else:
        raise ValueError(
            f"format is {format!r}; ContextEncoder reads 'torch7', 'boyuanjiang' and 'boyuanjiang_discriminator'."
        )
    return {
        "method": "ContextEncoder",
        "hyper_parameters": arguments,
        "state_dict": {f"{attribute}.{name}": value for name, value in _in_order(source, network).items()},
        "contract": {"source": format} | _CONTRACT,
    }


def _from_torch7(state: State) -> Converted:
    """inpaintCenter/*.t7: the encoder, a Sequential of its own, and the decoder in one nn.Sequential."""
    layers = [layer for layer in torch7.modules(state) if "Convolution" in layer["torch7"]]
    width, bottleneck = (len(layers[i]["bias"]) for i in (0, 5))
    found = torch7.fill(Generator(128, 64, width, bottleneck), state)
    return {
        "method": "ContextEncoder",
        "hyper_parameters": {
            "region": "centre",
            "size": 128,
            "overlap": 4,
            "width": width,
            "bottleneck": bottleneck,
        },
        "state_dict": {f"generator.{name}": value for name, value in found.items()},
        "contract": {"source": "torch7"} | _CONTRACT,
    }


def export(method: InpaintingModule) -> State:
    """The generator in the layout of BoyuanJiang's netG_streetview.pth, {"state_dict": ...}.

    That program's convolutions have no bias. Ours are zeroed before each step, as in the authors' program; what the
    last step left in them is left out.

    Raises:
        ValueError: Another network than that of the 128 px centre, or biases that are more than one step's remains.
    """
    region, size = method.hparams["region"], method.hparams["size"]
    if (region, size) != ("centre", 128):
        raise ValueError(f"BoyuanJiang's program only has region centre at 128 px; this one has {region} at {size}.")
    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d
    modules = [module for module in method.get_submodule("generator").modules() if isinstance(module, kinds)]
    out: dict[str, Tensor] = {}
    number = 0
    for module, following in zip(modules, [*modules[1:], None], strict=True):
        norm = isinstance(module, nn.BatchNorm2d)
        for name, value in module.state_dict().items():
            if norm or name == "weight":
                out[f"main.{number}.{name}"] = value.detach().cpu().clone()
            elif value.abs().max() > 1e-3:
                raise ValueError("a convolution has a bias, which BoyuanJiang's program does not support.")
        number += 1 if isinstance(following, nn.BatchNorm2d) else 2  # an activation has a number as well
    return {"state_dict": out}


def _convolutions(source: State) -> list[str]:
    return sorted((n for n in source if source[n].ndim == 4), key=lambda name: int(name.split(".")[1]))


def _in_order(source: State, network: nn.Module) -> dict[str, Tensor]:
    """Their layers have numbers, ours have names, and both stand in the order of the table."""
    numbers = iter(sorted({int(name.split(".")[1]) for name in source}))
    out: dict[str, Tensor] = {}
    for ours, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            number = next(numbers)
            for name, value in module.state_dict().items():
                theirs = f"main.{number}.{name}"
                if theirs not in source and name == "bias" and not isinstance(module, nn.BatchNorm2d):
                    out[f"{ours}.{name}"] = torch.zeros_like(value)
                elif theirs in source or name != "num_batches_tracked":  # files before PyTorch 0.4.1 have no count
                    out[f"{ours}.{name}"] = source[theirs]
                else:
                    out[f"{ours}.{name}"] = value
    if (left := next(numbers, None)) is not None:
        raise ValueError(f"main.{left} has no counterpart: the file is not the 128 px centre network.")
    return out
