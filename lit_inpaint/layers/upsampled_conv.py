"""The 3x3 convolution of an image at twice its size, without the image at twice its size."""

from torch import Tensor, nn
from torch.nn import functional as F


def upsampled_conv(x: Tensor, weight: Tensor, bias: Tensor | None, mirrored: bool = False) -> Tensor:
    """``conv2d(interpolate(x, scale_factor=2), weight, bias)`` with a border of 1, as a transposed convolution.

    Under nearest upsampling taps of the kernel meet the same pixel, two by two; added beforehand (in the weight's own
    precision, under autocast too) they are one 4x4 kernel of stride 2, with 4/9 of the products. Equal up to rounding.

    Args:
        x: (B, C, H, W); the result has (B, out, 2 H, 2 W).
        weight: (out, C, 3, 3).
        mirrored: Whether the border mirrors pixels instead of being 0.

    >>> import torch
    >>> x, weight = torch.randn(2, 5, 6, 7).double(), torch.randn(3, 5, 3, 3).double()
    >>> plain = F.conv2d(F.interpolate(x, scale_factor=2), weight, padding=1)
    >>> torch.allclose(upsampled_conv(x, weight, None), plain)
    True
    """
    kernel = weight.flip(2, 3).transpose(0, 1)
    kernel = F.pad(kernel, (0, 0, 0, 1)) + F.pad(kernel, (0, 0, 1, 0))
    kernel = F.pad(kernel, (0, 1)) + F.pad(kernel, (1, 0))
    if mirrored:
        return F.conv_transpose2d(F.pad(x, (1,) * 4, mode="replicate"), kernel, bias, stride=2, padding=3)
    return F.conv_transpose2d(x, kernel, bias, stride=2, padding=1)


class UpsampledConv2d(nn.Conv2d):
    """Twice the height and width (nearest), then a 3x3 convolution with zeros around."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return upsampled_conv(x, self.weight, self.bias)
