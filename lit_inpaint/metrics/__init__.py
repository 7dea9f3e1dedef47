"""Metrics whose names state their definition; see the table in docs/metrics.md."""

import sys
from collections.abc import Collection
from importlib.util import find_spec
from typing import cast

from lit_inpaint import plugins
from lit_inpaint.backbones import BackboneMissingError, backbone
from lit_inpaint.metrics._definition import QUANTITIES, Features, Metric, Quantity, defined, one_per_image
from lit_inpaint.metrics.clip import clip_score
from lit_inpaint.metrics.dino import fd_dinov2
from lit_inpaint.metrics.inception import InceptionMetrics, fid, p_ids, refusal, u_ids
from lit_inpaint.metrics.kernel import kid, kid_paired
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

__all__ = [
    "CHEAP",
    "NAMES",
    "Features",
    "ImageMean",
    "InceptionMetrics",
    "Metric",
    "Quantity",
    "clip_score",
    "defined",
    "definition",
    "diversity_lpips",
    "fd_dinov2",
    "fid",
    "headline",
    "higher_is_better",
    "kid",
    "kid_paired",
    "l1_hole",
    "l1_mean",
    "l1_relative_sum",
    "l1_relative_target",
    "lpips_alex",
    "lpips_alex_up256",
    "lpips_vgg",
    "metric",
    "one_per_image",
    "p_ids",
    "psnr",
    "psnr_hole",
    "psnr_pooled",
    "quantity",
    "refusal",
    "round_to_8_bits",
    "ssim",
    "ssim_uniform7",
    "u_ids",
    "unavailable",
]


def _defined() -> dict[str, Metric]:
    """Whatever this package exports that has a definition, by name."""
    package = sys.modules[__name__]
    exported = {name: getattr(package, name) for name in __all__ if hasattr(package, name)}
    return {name: found for name, found in exported.items() if hasattr(found, "definition")}


def _known() -> dict[str, Metric]:
    """Ours, and those of modules that the user has named or installed; they do not replace one of ours."""
    brought = [found for found in plugins.load("metrics") if hasattr(found, "definition")]
    return {found.__name__: found for found in brought} | _defined()


def metric(name: str) -> Metric:
    """The function (prediction, target, mask=None) of that name: (B, 3, H, W) in [-1, 1] to (B,), nan = undefined.

    One of one's own is named ``package.module.name``, which is imported; it is a function that :func:`defined` defines.

    fid, fd_dinov2, kid, kid_paired, p_ids and u_ids are of a whole set and return a scalar; diversity_lpips takes n
    completions (n, B, 3, H, W); clip_score takes ``prompts``, one for each image.

    The function raises a ValueError for integers, other ranges, NaN and shapes that do not fit. Images in [0, 1] cannot
    be told from bright ones in [-1, 1]: they give a number (6 dB more of PSNR), so scale them first, ``2 * x - 1``.

    >>> import torch
    >>> metric("l1_mean")(torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4))
    tensor([0.5000, 0.5000])
    """
    known = _known()
    found = known.get(name) or (plugins.find(name) if "." in name else None)
    if not hasattr(found, "definition"):
        raise ValueError(f"unknown metric {name!r}. {nearest(name, known)}")
    return cast(Metric, found)


def unavailable(name: str) -> str | None:
    """Why a metric cannot be computed on this machine, in one line; None where it can.

    >>> unavailable("psnr") is None
    True
    """
    wanted = metric(name)
    try:
        if wanted.backbone is not None:
            backbone(wanted.backbone)
    except BackboneMissingError as error:
        return str(error)
    if wanted.package is not None and find_spec(wanted.package) is None:
        return f"{wanted.package.replace('_', '-')} is not installed: pip install 'lit-inpaint[metrics]'"
    return None


def definition(name: str) -> str:
    """What the number of that name is, with its version: a part of every protocol's hash.

    >>> definition("l1_mean")
    'l1_mean/1: mean |a - b| over all pixels and channels, [0, 1]'
    """
    return metric(name).definition


def quantity(key: str) -> Quantity | None:
    """How a column of a table or a logged key is shown and ranked; None of one that nothing here defines.

    >>> quantity("psnr").unit, quantity("val/accuracy").higher_is_better, quantity("train/generator_loss").title
    ('dB', True, 'Loss')
    """
    name = key.rpartition("/")[2]
    known = _known()
    module, _, last = name.rpartition(".")
    found = known.get(name) or getattr(sys.modules.get(module), last, None)  # a key of a file imports nothing
    if isinstance(brought := getattr(found, "quantity", None), Quantity):
        return brought
    return QUANTITIES.get("loss" if name.endswith("_loss") else name)


def higher_is_better(key: str) -> bool | None:
    """Which end of a metric's or a logged key's scale wins; None where that is not defined, so that nothing is best.

    >>> higher_is_better("psnr_hole"), higher_is_better("lpips_alex"), higher_is_better("val/mystery")
    (True, False, None)
    """
    found = quantity(key)
    return found.higher_is_better if found else None


def headline(keys: Collection[str]) -> str | None:
    """The logged key that stands for a run where only one is shown: the headline metric, else the loss.

    >>> headline(["val/ssim", "val/psnr_hole", "train/loss"]), headline(["train/loss", "val/loss"])
    ('val/psnr_hole', 'val/loss')
    """
    metrics = sorted(CHEAP, key=lambda name: not metric(name).headline)
    return next((key for name in (*metrics, "loss") if (key := f"val/{name}") in keys), None)


NAMES = tuple(_defined())
# Logged by every method in every validation and test, in this order.
_PLACES = {name: found.validation for name, found in _defined().items() if found.validation is not None}
CHEAP = tuple(sorted(_PLACES, key=_PLACES.__getitem__))
