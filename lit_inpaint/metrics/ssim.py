"""Structural similarity (Wang et al. 2004), separable: the same value as the 2-D window at a fraction of the time."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_inpaint.metrics._definition import defined


def _window_means(x: Tensor, window: Tensor) -> Tensor:
    """Weighted mean in every window that lies inside ``x`` (N, 1, H, W): rows, then columns."""
    x = F.conv2d(x, window.view(1, 1, -1, 1))
    return F.conv2d(x, window.view(1, 1, 1, -1))


def _ssim(prediction: Tensor, target: Tensor, window: Tensor, covariance: float) -> Tensor:
    """Mean over the inner pixels and the channels, (B,). ``covariance`` rescales the window's variances."""
    size, (batch, _, height, width) = len(window), target.shape
    if min(height, width) < size:
        raise ValueError(f"images are {width}x{height}; SSIM needs at least {size}x{size}, the size of its window.")
    a, b = ((x.float() + 1).div(2).reshape(-1, 1, height, width) for x in (prediction, target))
    # The formula asks for the sum of the two variances only, so four filtered maps do for the usual five.
    maps = _window_means(torch.cat([a, b, a * a + b * b, a * b]), window.to(a))
    mean_a, mean_b, square, product = maps.chunk(4)
    mean_ab, mean_square = mean_a * mean_b, mean_a.square() + mean_b.square()
    c1, c2 = 0.01**2, 0.03**2
    structure = (2 * covariance * (product - mean_ab) + c2) / (covariance * (square - mean_square) + c2)
    return (structure * (2 * mean_ab + c1) / (mean_square + c1)).view(batch, -1).mean(1)


@defined("1: Gaussian window 11, sigma 1.5, population covariance, K 0.01 and 0.03, data range 1, per channel, windows "
         "inside the image only", higher_is_better=True)  # fmt: skip
def ssim(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """SSIM with the Gaussian window of Wang et al. 2004. Images (B, 3, H, W) in [-1, 1] -> (B,).

    >>> image = torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16)
    >>> ssim(image, image)
    tensor([1.])
    """
    distance = torch.arange(-5, 6, dtype=torch.float64)
    window = torch.exp(-(distance**2) / (2 * 1.5**2))
    return _ssim(prediction, target, window / window.sum(), 1.0)


@defined("1: uniform window 7, sample covariance, K 0.01 and 0.03, data range 1, per channel, windows inside the image "
         "only (scikit-image's default)", higher_is_better=True)  # fmt: skip
def ssim_uniform7(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """SSIM as scikit-image computes it by default (AOT-GAN's table). Images (B, 3, H, W) in [-1, 1] -> (B,).

    >>> image = torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16)
    >>> ssim_uniform7(image, image)
    tensor([1.])
    """
    return _ssim(prediction, target, torch.full((7,), 1 / 7, dtype=torch.float64), 49 / 48)
