"""Metrics that compare pixel with pixel.

Every function takes ``prediction`` and ``target`` (B, 3, H, W) in [-1, 1] and ``mask`` (B, 1, H, W), 1 = hole, and
returns one value per image, (B,), nan where it is undefined. Formulas are written for images in [0, 1]. Other ranges,
integers, NaN and shapes that do not fit are refused; images in [0, 1] cannot be told from bright ones in [-1, 1].
"""

import math

import torch
from torch import Tensor

from lit_inpaint.metrics._definition import check_pair, defined
from masks.convention import from_levels, to_levels


def round_to_8_bits(image: Tensor) -> Tensor:
    """The nearest of the 256 levels that a PNG stores, still in [-1, 1].

    >>> (round_to_8_bits(torch.tensor([-1.0, 0.0, 0.003, 1.2])) + 1) * 255 / 2
    tensor([  0., 128., 128., 255.])
    """
    return from_levels(to_levels(image.float()))


def _need_mask(mask: Tensor | None, name: str) -> Tensor:
    if mask is None:
        raise ValueError(f"{name} is measured in the hole; give mask (B, 1, H, W), 1 = hole.")
    return mask


def _hole_mean(error: Tensor, mask: Tensor) -> Tensor:
    """Mean over the pixels and channels of the hole; 0 / 0 = nan for an empty one."""
    mask = mask.to(error.dtype)
    return (error * mask).flatten(1).sum(1) / (mask.flatten(1).sum(1) * error.shape[1])


def _decibel(squared_error: Tensor) -> Tensor:
    return torch.where(squared_error > 0, -10 * torch.log10(squared_error), torch.nan)


def _decibel_of_mean(squared_error: float) -> float:
    return -10 * math.log10(squared_error) if squared_error != 0 else math.inf


@defined("1: mean |a - b| over the pixels and channels of the hole, [0, 1]; an empty hole is left out",
         title="L1 in the hole", column="L1 (hole)", higher_is_better=False, validation=4)  # fmt: skip
def l1_hole(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute error in the hole; mmagic's 'l1 error' is 100 times this.

    >>> half = torch.tensor([[[[0.0, 1.0]]]])
    >>> l1_hole(torch.zeros(1, 3, 1, 2), torch.ones(1, 3, 1, 2), half)
    tensor([0.5000])
    """
    mask = _need_mask(mask, "l1_hole")
    check_pair(prediction, target, mask)
    return _hole_mean((prediction - target).abs() / 2, mask)


@defined("1: mean |a - b| over all pixels and channels, [0, 1]", title="L1", higher_is_better=False)
def l1_mean(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute error of the whole image (MAT).

    >>> l1_mean(torch.zeros(1, 3, 1, 2), torch.ones(1, 3, 1, 2))
    tensor([0.5000])
    """
    check_pair(prediction, target, mask)
    return ((prediction - target).abs() / 2).flatten(1).mean(1)


@defined("1: sum |a - b| / sum (a + b) over all pixels and channels, [0, 1]; two black images are left out",
         title="L1 relative to the sum", column="L1 (of sum)", higher_is_better=False)  # fmt: skip
def l1_relative_sum(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """The 'L1' of AOT-GAN and the 'MAE' of EdgeConnect.

    >>> l1_relative_sum(torch.zeros(1, 3, 1, 2), torch.ones(1, 3, 1, 2))  # 0.5 / (0.5 + 1)
    tensor([0.3333])
    """
    check_pair(prediction, target, mask)
    return (prediction - target).abs().flatten(1).sum(1) / (prediction + target + 2).flatten(1).sum(1)


@defined("1: sum |a - b| / sum b (b the truth) over all pixels and channels, [0, 1]; a black truth is left out",
         title="L1 relative to the truth", column="L1 (of truth)", higher_is_better=False)  # fmt: skip
def l1_relative_target(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """The 'mae' of ICT's log.

    >>> l1_relative_target(torch.zeros(1, 3, 1, 2), torch.ones(1, 3, 1, 2))
    tensor([0.5000])
    """
    check_pair(prediction, target, mask)
    total = (target + 1).flatten(1).sum(1)
    return torch.where(total > 0, (prediction - target).abs().flatten(1).sum(1) / total, torch.nan)


@defined("1: 10 log10(1 / MSE) of each image over all pixels and channels, [0, 1]; an image without error is left out",
         title="PSNR", higher_is_better=True, unit="dB", decimals=2, validation=1)  # fmt: skip
def psnr(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB, an image at a time, as papers do.

    >>> psnr(torch.zeros(1, 3, 1, 2), torch.full((1, 3, 1, 2), 0.2))  # MSE 0.01
    tensor([20.])
    """
    return _decibel(psnr_pooled(prediction, target, mask))


@defined("1: 10 log10(1 / MSE) of each image over the pixels and channels of the hole, [0, 1]; an empty hole or one "
         "without error is left out",
         title="PSNR in the hole", column="PSNR (hole)", higher_is_better=True, unit="dB", decimals=2, validation=2,
         headline=True)  # fmt: skip
def psnr_hole(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB, in the hole only.

    >>> half = torch.tensor([[[[0.0, 1.0]]]])
    >>> psnr_hole(torch.zeros(1, 3, 1, 2), torch.full((1, 3, 1, 2), 0.2), half)
    tensor([20.])
    """
    mask = _need_mask(mask, "psnr_hole")
    check_pair(prediction, target, mask)
    return _decibel(_hole_mean(((prediction - target) / 2).square(), mask))


@defined("1: 10 log10(1 / mean of the images' MSE) over all pixels and channels, [0, 1]",
         title="pooled PSNR", column="PSNR (pooled)", higher_is_better=True, unit="dB", decimals=2,
         after_mean=_decibel_of_mean)  # fmt: skip
def psnr_pooled(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """The squared error of each image; :class:`ImageMean` averages it first and takes the logarithm last.

    >>> psnr_pooled(torch.zeros(1, 3, 1, 2), torch.full((1, 3, 1, 2), 0.2))
    tensor([0.0100])
    """
    check_pair(prediction, target, mask)
    return ((prediction - target) / 2).square().flatten(1).mean(1)
