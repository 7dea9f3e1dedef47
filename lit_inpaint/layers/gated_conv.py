"""Gated convolution (Yu et al., "Free-Form Image Inpainting with Gated Convolution", ICCV 2019, section 3.1)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_inpaint.layers.tf_same import Conv2dSame, Padding


class GatedConv2d(Conv2dSame):
    """``activation(features) * sigmoid(gate)``: a learned soft mask for every channel and position.

    One convolution computes both; the first half of its channels are the features (official order).

    Args:
        out_channels: After gating; the convolution itself has twice as many.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        activation: Callable[[Tensor], Tensor] = F.elu,
        padding: Padding = "same",
        upsample: bool = False,
    ) -> None:
        super().__init__(in_channels, 2 * out_channels, kernel_size, stride, dilation, padding, upsample)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        features, gate = super().forward(x).chunk(2, dim=1)
        return self.activation(features) * torch.sigmoid(gate)
