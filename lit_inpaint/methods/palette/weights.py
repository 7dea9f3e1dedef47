"""Checkpoints of Janspiry's program, in and out: ``190_Network.pth``, or its average ``190_Network_ema.pth``.

A file is the state dict of the program's Network: the denoiser under ``denoise_fn.``, whose embedding is called
``cond_embed``, and (not in averages) the tables of the process of training.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from lit_inpaint.checkpoints import Converted
from lit_inpaint.diffusion.schedules import Diffusion
from lit_inpaint.diffusion.shape import Shape, scales_and_shifts, shape_of
from lit_inpaint.methods.palette.method import told_gamma
from lit_inpaint.module import InpaintingModule

FORMAT = "janspiry"
_PREFIX, _THEIRS, _OURS = "denoise_fn.", "cond_embed.", "time_embed."
_WIDTH_OF_A_HEAD = 32  # in both configurations of inpainting; tensors do not show it


def detect(state: Mapping[str, object]) -> str | None:
    """The format of the program's networks of guided-diffusion, or None."""
    names = {f"{_PREFIX}input_blocks.0.0.weight", f"{_PREFIX}{_THEIRS}0.weight"}
    return FORMAT if names <= set(state) else None


def convert(state: Mapping[str, Tensor], format: str) -> Converted:
    """Class arguments, state_dict and contract, so that Palette computes what the program computes.

    The process of inference is in no file; it stays that of both configurations (1000 steps, 1e-4 to 0.09).

    Raises:
        ValueError: Another format, a network that is not for inpainting, or another process of training.
    """
    if format != FORMAT:
        raise ValueError(f"format is {format!r}; Palette reads '{FORMAT}'.")
    tensors = {
        name.removeprefix(_PREFIX).replace(_THEIRS, _OURS, 1): value
        for name, value in state.items()
        if name.startswith(_PREFIX)
    }
    channels = tensors["input_blocks.0.0.weight"].shape[1], tensors["out.2.weight"].shape[0]
    shape = shape_of(tensors)
    if channels != (6, 3) or not (shape.resblock_updown and scales_and_shifts(tensors)):
        raise ValueError(
            f"the network takes {channels[0]} channels and returns {channels[1]}, "
            f"resblock_updown={shape.resblock_updown}, use_scale_shift_norm={scales_and_shifts(tensors)}; expected the "
            "network of the program's configurations for inpainting: 6, 3, True, True."
        )
    return {
        "method": "Palette",
        "hyper_parameters": _flags(shape) | {"diffusion_steps": _steps(state)},
        "state_dict": {f"denoiser.{name}": value for name, value in tensors.items()},
        "contract": {
            "source": format,
            "input": "[-1, 1], RGB, noise in the hole, beside x_t with clean known pixels",
            "output": "epsilon",
        },
    }


def export(method: InpaintingModule) -> dict[str, Tensor]:
    """What the program saves: the denoiser and the tables of the process of training, a flat state dict in fp32.

    Raises:
        ValueError: The network is normalised in other groups than the program's.
    """
    if (groups := method.hparams["norm_groups"]) != 32:
        raise ValueError(
            f"norm_groups is {groups}; the program normalises in 32 groups, whatever its configuration says. Export a "
            "network that was trained with 32."
        )
    denoiser = method.get_submodule("denoiser").state_dict()
    named = {_PREFIX + name.replace(_OURS, _THEIRS, 1): value for name, value in denoiser.items()}
    process: Diffusion = method.training_process  # type: ignore[assignment]
    tables = {
        "gammas": process.abar,
        "sqrt_recip_gammas": process.recip_sqrt_abar,
        "sqrt_recipm1_gammas": process.recip_sqrt_abar_minus_1,
        "posterior_log_variance_clipped": process.posterior_variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": process.posterior_mean_x_0,
        "posterior_mean_coef2": process.posterior_mean_x_t,
    }
    return {name: value.detach().float().cpu() for name, value in (tables | named).items()}


def _flags(shape: Shape) -> dict[str, object]:
    size = 256  # of both configurations; the file does not say it
    return {
        "image_size": size,
        "model_channels": shape.model_channels,
        "num_res_blocks": shape.num_res_blocks,
        "channel_mult": shape.channel_mult,
        "attention_resolutions": tuple(size // factor for factor in shape.attention_factors),
        "num_head_channels": _WIDTH_OF_A_HEAD,
    }


def _steps(state: Mapping[str, Tensor]) -> int:
    """Steps of the process of training, whose tables the file holds unless it is an average."""
    if "gammas" not in state:
        return 2000
    gammas = state["gammas"]
    expected = told_gamma(len(gammas), 1e-6, 0.01).timesteps
    if not torch.allclose(gammas.float(), expected, atol=1e-5):
        raise ValueError(
            f"the file was trained with a process of {len(gammas)} steps that ends at gamma {float(gammas[-1]):.3g}; "
            f"expected betas linear from 1e-6 to 0.01, which end at {float(expected[-1]):.3g}."
        )
    return len(gammas)
