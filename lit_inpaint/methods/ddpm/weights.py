"""Published denoisers, in and out: guided-diffusion (RePaint, DPS, improved-diffusion) and diffusers' UNet2DModel.

The flags of a network are read off its tensors. What tensors do not show (heads, order of q, k and v, noise schedule)
is looked up by the shape of the released models, and can be stated where a model is none of these.
"""

from typing import Any, get_args

import torch
from torch import Tensor

from lit_inpaint.checkpoints import Converted
from lit_inpaint.diffusion.schedules import NoiseSchedule
from lit_inpaint.diffusion.shape import Shape, scales_and_shifts, shape_of
from lit_inpaint.module import InpaintingModule

State = dict[str, Any]

_ADM, _ADM_64, _ADM_128 = (1, 1, 2, 2, 4, 4), (1, 2, 3, 4), (1, 1, 2, 3, 4)
_ADM_512, _CIFAR = (0.5, 1, 1, 2, 2, 4, 4), (1, 2, 2, 2)
_IMPROVED = {"num_head_channels": None, "noise_schedule": "cosine", "diffusion_steps": 4000}
_HO = {"num_head_channels": None, "num_heads": 1}

RELEASED: dict[Shape, dict[str, Any]] = {  # what the tensors of each released model do not show
    # guided-diffusion 256 (class-conditional or not), RePaint's celeba256 and places256, LSUN
    Shape(256, _ADM, 2, (8, 16, 32), True): {"image_size": 256, "num_head_channels": 64},
    Shape(256, _ADM_512, 2, (16, 32, 64), True): {"image_size": 512, "num_head_channels": 64},
    Shape(256, _ADM_128, 2, (4, 8, 16), True): {"image_size": 128, "num_head_channels": None, "num_heads": 4},
    Shape(192, _ADM_64, 3, (2, 4, 8), True): {
        "image_size": 64,
        "num_head_channels": 64,
        "use_new_attention_order": True,
        "noise_schedule": "cosine",
    },
    # ffhq_10m, of DPS and MCG
    Shape(128, _ADM, 1, (16,), True): {"image_size": 256, "num_head_channels": 64},
    # improved-diffusion: ImageNet 64 (unconditional, class-conditional), CIFAR-10, LSUN bedroom
    Shape(128, _ADM_64, 3, (4, 8), False): _IMPROVED | {"image_size": 64, "rescale_timesteps": True},
    Shape(192, _ADM_64, 3, (4, 8), False): _IMPROVED | {"image_size": 64},
    Shape(128, _CIFAR, 3, (2, 4), False): _IMPROVED | {"image_size": 32, "rescale_timesteps": True},
    Shape(128, _ADM, 2, (16,), False): {"image_size": 256, "num_head_channels": None, "num_heads": 1},
    # Ho et al. 2020 as google/ddpm-{celebahq,bedroom,church,cat}-256 and google/ddpm-cifar10-32
    Shape(128, _ADM, 2, (16,), False, "ho"): _HO | {"image_size": 256, "fixed_variance": "fixed_small"},
    Shape(128, _CIFAR, 2, (2,), False, "ho"): _HO | {"image_size": 32, "fixed_variance": "fixed_large"},
}


_NUMBER: dict[str, Any] = {"type": int, "metavar": "N"}
OPTIONS: dict[str, Any] = {  # arguments of DDPM that no tensor shows
    "num_heads": {**_NUMBER, "help": "DDPM: attention heads"},
    "num_head_channels": {**_NUMBER, "help": "DDPM: channels of each attention head"},
    "image_size": {**_NUMBER, "help": "DDPM: side of its images"},
    "noise_schedule": {"choices": get_args(NoiseSchedule), "help": "DDPM: schedule of its process"},
    "diffusion_steps": {**_NUMBER, "help": "DDPM: steps of its process"},
    "rescale_timesteps": {"action": "store_const", "const": True, "help": "DDPM: its network is told t * 1000 / T"},
    "use_new_attention_order": {"action": "store_const", "const": True, "help": "DDPM: q, k and v before heads"},
}


def detect(state: State) -> str | None:
    """The format of a loaded state dict: "guided-diffusion", "diffusers" or None."""
    if "input_blocks.0.0.weight" in state and "time_embed.0.weight" in state and "out.2.weight" in state:
        return "guided-diffusion"
    if "conv_in.weight" in state and "time_embedding.linear_1.weight" in state:
        return "diffusers"
    return None


def convert(state: State, format: str, **stated: Any) -> Converted:
    """Class arguments, state_dict and contract, so that DDPM computes what the source program computes.

    Args:
        state: The file as loaded: a flat state dict (of an average: ``ema_0.9999_250000.pt``, not ``model250000.pt``).
        format: One that :func:`detect` returns.
        stated: Arguments of DDPM that the tensors do not show (``image_size``, ``num_heads``, ``noise_schedule``, ...),
            needed where the model is none of :data:`RELEASED`.

    Returns:
        ``method``, ``hyper_parameters``, ``state_dict`` and ``contract`` (plain values only).

    Raises:
        ValueError: Not a denoiser of x_t, or a model whose heads are neither known nor stated.
    """
    if format not in ("guided-diffusion", "diffusers"):
        raise ValueError(f"format is {format!r}; DDPM reads 'guided-diffusion' and 'diffusers'.")
    tensors = _from_diffusers(state) if format == "diffusers" else dict(state)
    flags = infer_flags(tensors, "ho" if format == "diffusers" else "guided-diffusion", **stated)
    return {
        "method": "DDPM",
        "hyper_parameters": flags,
        "state_dict": {f"denoiser.{name}": value for name, value in tensors.items()},
        "contract": {"source": format, "input": "[-1, 1], RGB, x_t whole", "output": "epsilon, then v if learned"},
    }


def export(method: InpaintingModule) -> State:
    """The denoiser in the official layout, which guided-diffusion's and RePaint's programs load: a flat state dict in
    fp32.

    Raises:
        ValueError: A conditional denoiser, which those programs do not have.
    """
    if method.hparams["conditional"]:
        raise ValueError(
            "this denoiser is conditional (7 channels in); guided-diffusion's layout is of an unconditional one."
        )
    return {k: v.detach().float().cpu() for k, v in method.get_submodule("denoiser").state_dict().items()}


def infer_flags(tensors: State, variant: str = "guided-diffusion", **stated: Any) -> dict[str, Any]:
    """Arguments of DDPM from the tensors of a denoiser in the official layout."""
    in_channels, out_channels = tensors["input_blocks.0.0.weight"].shape[1], tensors["out.2.weight"].shape[0]
    if in_channels not in (3, 7):
        raise ValueError(
            f"the network takes {in_channels} channels; expected 3 (x_t) or 7 (with erased image and mask). "
            "guided-diffusion's upsamplers (6) do not complete images."
        )
    shape = shape_of(tensors, variant)
    hidden = RELEASED.get(shape, {}) | stated
    if not RELEASED.get(shape) and not {"num_heads", "num_head_channels"} & set(stated):
        raise ValueError(
            f"{shape} is none of the released models, and tensors do not show the number of heads: state num_heads or "
            "num_head_channels, and image_size, noise_schedule, diffusion_steps where they are not 8 * 2^(levels - 1), "
            "linear and 1000 (--num-heads, --num-head-channels, --image-size, ... of import-weights)."
        )
    if "num_heads" in stated and "num_head_channels" not in stated:
        hidden["num_head_channels"] = None
    size = hidden.setdefault("image_size", 8 * 2 ** (len(shape.channel_mult) - 1))
    return {
        "model_channels": shape.model_channels,
        "num_res_blocks": shape.num_res_blocks,
        "channel_mult": shape.channel_mult,
        "attention_resolutions": tuple(size // factor for factor in shape.attention_factors),
        "use_scale_shift_norm": scales_and_shifts(tensors),
        "resblock_updown": shape.resblock_updown,
        "learn_sigma": out_channels == 6,
        "conditional": in_channels == 7,
        "num_classes": tensors["label_emb.weight"].shape[0] if "label_emb.weight" in tensors else None,
        "variant": variant,
        **hidden,
    }


def _from_diffusers(state: State) -> dict[str, Tensor]:
    """A UNet2DModel's state dict under the official names; q, k and v are joined in the new order."""
    resnet = {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    }
    top = {
        "conv_in": "input_blocks.0.0",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    qkv = {"to_q": 0, "to_k": 1, "to_v": 2, "query": 0, "key": 1, "value": 2}  # the latter in files of 2022
    per_level = 2 + max(int(n.split(".")[3]) for n in state if n.startswith("down_blocks.0.resnets."))
    out: dict[str, Tensor] = {}
    joined: dict[str, list[Tensor | None]] = {}
    for name, value in state.items():
        module, leaf = name.rsplit(".", 1)
        if module in top:
            out[f"{top[module]}.{leaf}"] = value
            continue
        parts = module.split(".")
        if parts[0] == "mid_block":
            kind, index, rest = parts[1], int(parts[2]), parts[3:]
            place = f"middle_block.{2 * index if kind == 'resnets' else 1}"
        else:
            level, kind, index, rest = int(parts[1]), parts[2], int(parts[3]), parts[4:]
            down = parts[0] == "down_blocks"
            last = per_level - 1
            if kind in ("downsamplers", "upsamplers"):
                has_attention = f"{parts[0]}.{level}.attentions.0.group_norm.weight" in state
                place = f"input_blocks.{(level + 1) * per_level}.0.op" if down else ""
                place = place or f"output_blocks.{level * per_level + last}.{2 if has_attention else 1}.conv"
                out[f"{place}.{leaf}"] = value
                continue
            number = level * per_level + index
            block = f"input_blocks.{number + 1}" if down else f"output_blocks.{number}"
            place = f"{block}.{0 if kind == 'resnets' else 1}"
        if kind == "resnets":
            out[f"{place}.{resnet[rest[0]]}.{leaf}"] = value
        elif rest[0] == "group_norm":
            out[f"{place}.norm.{leaf}"] = value
        elif rest[0] in qkv:
            joined.setdefault(f"{place}.qkv.{leaf}", [None] * 3)[qkv[rest[0]]] = value
        else:  # to_out.0, proj_attn
            out[f"{place}.proj_out.{leaf}"] = value[..., None] if leaf == "weight" else value
    for name, threefold in joined.items():
        whole = torch.cat([part for part in threefold if part is not None])
        out[name] = whole[..., None] if name.endswith("weight") else whole
    return out
