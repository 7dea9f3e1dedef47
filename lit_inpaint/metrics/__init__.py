"""Metrics under names that say their definition: docs/metrics.md has the table."""

from collections.abc import Callable
from importlib.util import find_spec

from torch import Tensor

from lit_inpaint.backbones import BackboneMissingError, backbone
from lit_inpaint.metrics.inception import InceptionMetrics, fid, p_ids, u_ids
from lit_inpaint.metrics.mean import ImageMean
from lit_inpaint.metrics.perceptual import diversity_lpips, lpips_alex, lpips_alex_up256, lpips_vgg
from lit_inpaint.metrics.pixel import (
    l1_hole,
    l1_mean,
    l1_relative_sum,
    l1_relative_target,
    psnr,
    psnr_hole,
    psnr_pooled,
    round_to_8_bits,
)
from lit_inpaint.metrics.ssim import ssim, ssim_uniform7
from masks.nearest import nearest

CHEAP = ("psnr", "psnr_hole", "ssim", "l1_hole")  # logged by every method in every validation and test

__all__ = [
    "CHEAP",
    "NAMES",
    "ImageMean",
    "InceptionMetrics",
    "definition",
    "diversity_lpips",
    "fid",
    "higher_is_better",
    "l1_hole",
    "l1_mean",
    "l1_relative_sum",
    "l1_relative_target",
    "lpips_alex",
    "lpips_alex_up256",
    "lpips_vgg",
    "metric",
    "p_ids",
    "psnr",
    "psnr_hole",
    "psnr_pooled",
    "round_to_8_bits",
    "ssim",
    "ssim_uniform7",
    "u_ids",
    "unavailable",
]

NAMES = tuple(name for name in __all__ if hasattr(globals().get(name), "definition"))


def metric(name: str) -> Callable[..., Tensor]:
    """The function (prediction, target, mask=None) of that name: (B, 3, H, W) in [-1, 1] to (B,), nan = undefined.

    fid, p_ids and u_ids are of a whole set and return a scalar; diversity_lpips takes n completions (n, B, 3, H, W).

    The function raises a ValueError for integers, other ranges, NaN and shapes that do not fit. Images in [0, 1] cannot
    be told from bright ones in [-1, 1]: they give a number (6 dB more of PSNR), so scale them first, ``2 * x - 1``.

    >>> import torch
    >>> metric("l1_mean")(torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4))
    tensor([0.5000, 0.5000])
    """
    if name not in NAMES:
        raise ValueError(f"unknown metric {name!r}. {nearest(name, NAMES)}")
    return globals()[name]


def unavailable(name: str) -> str | None:
    """Why a metric cannot be computed on this machine, in one line; None where it can."""
    try:
        if (wanted := metric(name).backbone) is not None:  # type: ignore[attr-defined]
            backbone(wanted)
        if wanted == "inception_fid" and find_spec("torch_fidelity") is None:
            return "torch-fidelity is not installed: pip install 'lit-inpaint[metrics]'"
    except BackboneMissingError as error:
        return str(error)
    return None


def definition(name: str) -> str:
    """What the number of that name is, with its version: a part of every protocol's hash."""
    return metric(name).definition  # type: ignore[attr-defined]


_HIGHER = ("psnr", "ssim", "p_ids", "u_ids", "diversity", "votes")  # everything else is an error or a distance


def higher_is_better(metric: str) -> bool:
    """
    >>> higher_is_better("psnr_hole"), higher_is_better("lpips_alex")
    (True, False)
    """
    return metric.startswith(_HIGHER)
