"""Structural similarity (Wang et al. 2004), separable: the same value as the 2-D window at a fraction of the time."""

import math

import torch
from torch import Tensor

from lit_inpaint.metrics._definition import check_pair, defined


def _window_means(x: Tensor, window: list[float]) -> Tensor:
    """Weighted mean in every window that lies inside ``x`` (C, H, W): rows, then columns.

    Sums of shifted views: no convolution of one channel is as fast on a CPU.
    """
    for axis in (1, 2):
        inner = x.shape[axis] - len(window) + 1
        shifted = (x.narrow(axis, start, inner) for start in range(len(window)))
        total = next(shifted) * window[0]
        for weight, view in zip(window[1:], shifted, strict=True):
            total.add_(view, alpha=weight)
        x = total
    return x


def _ssim(prediction: Tensor, target: Tensor, mask: Tensor | None, window: list[float], covariance: float) -> Tensor:
    """Mean over the inner pixels and the channels, (B,). ``covariance`` rescales the window's variances."""
    check_pair(prediction, target, mask)
    size, (height, width) = len(window), target.shape[-2:]
    if min(height, width) < size:
        raise ValueError(f"images are {width}x{height}; SSIM needs at least {size}x{size}, the size of its window.")
    c1, c2, values = 0.01**2, 0.03**2, []
    for a, b in zip((prediction.float() + 1) / 2, (target.float() + 1) / 2, strict=True):  # one at a time: in cache
        # The formula asks for the sum of the two variances only, so four filtered maps do for the usual five.
        maps = _window_means(torch.cat([a, b, a * a + b * b, a * b]), window)
        mean_a, mean_b, square, product = maps.chunk(4)
        mean_ab, mean_square = mean_a * mean_b, mean_a.square() + mean_b.square()
        structure = (2 * covariance * (product - mean_ab) + c2) / (covariance * (square - mean_square) + c2)
        values.append((structure * (2 * mean_ab + c1) / (mean_square + c1)).mean())
    return torch.stack(values)


@defined("1: Gaussian window 11, sigma 1.5, population covariance, K 0.01 and 0.03, data range 1, per channel, windows "
         "inside the image only", title="SSIM", higher_is_better=True, validation=3)  # fmt: skip
def ssim(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """SSIM with the Gaussian window of Wang et al. 2004. Images (B, 3, H, W) in [-1, 1] -> (B,).

    >>> image = torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16)
    >>> ssim(image, image)
    tensor([1.])
    """
    window = [math.exp(-(distance**2) / (2 * 1.5**2)) for distance in range(-5, 6)]
    return _ssim(prediction, target, mask, [weight / sum(window) for weight in window], 1.0)


@defined("1: uniform window 7, sample covariance, K 0.01 and 0.03, data range 1, per channel, windows inside the image "
         "only (scikit-image's default)", title="SSIM, uniform window", column="SSIM (7x7)",
         higher_is_better=True)  # fmt: skip
def ssim_uniform7(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """SSIM as scikit-image computes it by default (AOT-GAN's table). Images (B, 3, H, W) in [-1, 1] -> (B,).

    >>> image = torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16)
    >>> ssim_uniform7(image, image)
    tensor([1.])
    """
    return _ssim(prediction, target, mask, [1 / 7] * 7, 49 / 48)
