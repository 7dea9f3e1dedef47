"""Published weights of LaMa: ``best.ckpt`` of lama-fourier and big-lama in, the same layout out."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lit_inpaint.checkpoints import Converted
from lit_inpaint.module import InpaintingModule

_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_FFC = {  # our layer in an FFC: theirs
    "local_to_local": "ffc.convl2l",
    "local_to_global": "ffc.convl2g",
    "global_to_local": "ffc.convg2l",
    "global_to_global.reduce": "ffc.convg2g.conv1.0",
    "global_to_global.norm": "ffc.convg2g.conv1.1",
    "global_to_global.fourier.conv": "ffc.convg2g.fu.conv_layer",
    "global_to_global.fourier.norm": "ffc.convg2g.fu.bn",
    "global_to_global.expand": "ffc.convg2g.conv2",
    "norm_local": "bn_l",
    "norm_global": "bn_g",
}


def detect(state: Mapping[str, Any]) -> str | None:
    """The format of a loaded file: "official" (a Lightning checkpoint, or its generator alone) or None."""
    source = _tensors(state)
    if "model.5.conv1.ffc.convg2g.fu.conv_layer.weight" in source:
        return "official"
    if "model.5.conv1.ffc.convl2l.weight" in source or "model.5.conv_block.1.weight" in source:
        raise ValueError(
            "the file is a LaMa whose blocks are not the Fourier blocks of lama-fourier and big-lama (an ablation of "
            "the paper); LaMa reads those two."
        )
    return None


def convert(state: Mapping[str, Any], format: str) -> Converted:
    """Class arguments, state_dict and contract, so that LaMa computes what the source program computes.

    Args:
        state: The file as loaded: ``{"state_dict": {"generator.model.N...": ...}}`` or the tensors themselves.
        format: "official".

    Returns:
        ``method``, ``hyper_parameters``, ``state_dict`` and ``contract``. The discriminator is taken along where it is
        there.
    """
    source = _tensors(state)
    blocks = len({name.split(".")[1] for name in source if re.match(r"model\.\d+\.conv1\.ffc\.convl2l\.weight", name)})
    out = {
        f"generator.{ours}.{kind}": source[f"{theirs}.{kind}"]
        for ours, theirs in names(blocks).items()
        for kind in _NORM
        if f"{theirs}.{kind}" in source
    }
    arguments: dict[str, object] = {"width": len(out["generator.first.weight"]), "blocks": blocks}
    discriminator = {name.removeprefix("discriminator."): x for name, x in state.get("state_dict", state).items()
              if name.startswith("discriminator.model")}  # fmt: skip
    if discriminator:
        for ours, theirs in discriminator_names().items():
            out |= {
                f"discriminator.{ours}.{k}": discriminator[f"{theirs}.{k}"]
                for k in _NORM
                if f"{theirs}.{k}" in discriminator
            }
        arguments["discriminator_width"] = len(out["discriminator.convolutions.0.weight"])
    return {
        "method": "LaMa",
        "hyper_parameters": arguments,
        "state_dict": {name: x.detach().clone() for name, x in out.items()},
        "contract": {
            "source": "advimman/lama",
            "input": "[0, 1], RGB, hole 0, then the mask",
            "mask": "1 = hole",
            "padding": "symmetric, to a multiple of 8",
            "output": "sigmoid",
        },
    }


def export(method: InpaintingModule) -> dict[str, Any]:
    """Generator and discriminator of a LaMa in the layout of the released ``best.ckpt`` (``{"state_dict": ...}``)."""
    state = method.state_dict()
    out: dict[str, Tensor] = {}
    parts = (("generator", names(int(method.hparams["blocks"]))), ("discriminator", discriminator_names()))
    for network, layers in parts:
        for ours, theirs in layers.items():
            for kind in _NORM:
                if (name := f"{network}.{ours}.{kind}") in state:
                    out[f"{network}.{theirs}.{kind}"] = state[name].detach().cpu().clone()
    return {"state_dict": out}


def names(blocks: int) -> dict[str, str]:
    """Their name of each layer of the generator by ours; their layers 0 (padding) and 5 + blocks have no tensors."""
    layers = {"first": "model.1.ffc.convl2l", "first_norm": "model.1.bn_l"}
    for i in range(2):
        layers |= {f"down.{i}": f"model.{i + 2}.ffc.convl2l", f"down_norms.{i}": f"model.{i + 2}.bn_l"}
    layers |= {"to_local": "model.4.ffc.convl2l", "to_global": "model.4.ffc.convl2g"}
    layers |= {"norm_local": "model.4.bn_l", "norm_global": "model.4.bn_g"}
    for block in range(blocks):
        for conv in ("conv1", "conv2"):
            layers |= {f"blocks.{block}.{conv}.{a}": f"model.{5 + block}.{conv}.{b}" for a, b in _FFC.items()}
    for i in range(3):
        layers |= {f"up.{i}": f"model.{6 + blocks + 3 * i}", f"up_norms.{i}": f"model.{7 + blocks + 3 * i}"}
    return layers | {"to_image": f"model.{16 + blocks}"}


def discriminator_names() -> dict[str, str]:
    layers = {f"convolutions.{i}": f"model{i}.0" for i in range(5)} | {
        f"norms.{i}": f"model{i + 1}.1" for i in range(4)
    }
    return layers | {"logits": "model5.0"}


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    source = state.get("state_dict", state)
    return {name.removeprefix("generator."): x for name, x in source.items() if isinstance(x, torch.Tensor)}
