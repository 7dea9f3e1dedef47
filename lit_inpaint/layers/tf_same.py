"""Convolution and nearest resizing as TensorFlow 1 does them, which the DeepFill weights were trained with."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint.layers.upsampled_conv import upsampled_conv

Padding = Literal["same", "symmetric", "reflect"]


def same_padding(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """Zeros before and after one axis under TensorFlow's ``padding="SAME"``: the odd one out goes to the end.

    A 3-tap kernel of stride 2 on an even axis is padded (0, 1), so its taps are centred on 1, 3, 5, ...; symmetric
    padding by 1 would centre them on 0, 2, 4, ...

    >>> same_padding(64, 3, stride=2), same_padding(64, 5, stride=2), same_padding(64, 3, dilation=4)
    ((0, 1), (1, 2), (4, 4))
    """
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


class Conv2dSame(nn.Conv2d):
    """``nn.Conv2d`` with TensorFlow's SAME zero padding and its default initialisation (Glorot uniform, bias 0).

    (B, C, H, W) becomes (B, out_channels, ceil(H / stride), ceil(W / stride)).

    Args:
        padding: "same" is TensorFlow's. Ports to PyTorch pad both ends alike, with zeros ("symmetric") or with mirrored
            pixels ("reflect"): where the stride is 2 their taps lie one pixel before TensorFlow's.
        upsample: Convolve the image at twice its size (nearest); for a kernel of 3.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        padding: Padding = "same",
        upsample: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride=stride, dilation=dilation)
        self.policy, self.upsample = padding, upsample

    def reset_parameters(self) -> None:
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_same(x, self.weight)

    def _conv_same(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.upsample:
            return upsampled_conv(x, weight, self.bias, mirrored=self.policy == "reflect")
        (kernel, _), (stride, _), (dilation, _) = self.kernel_size, self.stride, self.dilation
        half = (kernel - 1) * dilation // 2
        if self.policy == "reflect":
            return F.conv2d(F.pad(x, (half,) * 4, mode="reflect"), weight, self.bias, stride, 0, dilation)
        top = bottom = left = right = half
        if self.policy == "same":
            top, bottom = same_padding(x.shape[-2], kernel, stride, dilation)
            left, right = same_padding(x.shape[-1], kernel, stride, dilation)
        # A convolution that pads by itself saves a copy. Not where the map is narrower than the stride: there oneDNN's
        # bfloat16 gradient of the weights reads memory that nobody wrote (torch 2.14.1 with AVX-512; NaN by chance).
        if (top, left) == (bottom, right) and x.shape[-1] >= stride:
            return F.conv2d(x, weight, self.bias, stride, (top, left), dilation)
        return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, self.bias, stride, 0, dilation)


def _align_corners_index(size: int, new_size: int, device: torch.device | str = "cpu") -> Tensor:
    """Source index of every sample when nearest resizing maps first to first and last to last (``align_corners``).

    >>> _align_corners_index(64, 32)[[0, 1, 2, 14, 15, 16, 17, -1]]
    tensor([ 0,  2,  4, 28, 30, 33, 35, 63])
    """
    last, samples = max(new_size - 1, 1), torch.arange(new_size, device=device)
    return (2 * samples * (size - 1) + last) // (2 * last)  # rounds half up, in integers


def resize_nearest(x: Tensor, height: int, width: int) -> Tensor:
    """Shrink (B, C, H, W) to (B, C, height, width) by taking the pixels of :func:`_align_corners_index`."""
    rows = _align_corners_index(x.shape[-2], height, x.device)
    columns = _align_corners_index(x.shape[-1], width, x.device)
    return x.index_select(-2, rows).index_select(-1, columns)
