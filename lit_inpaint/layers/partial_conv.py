"""Partial convolution (Liu et al. 2018, section 3.1): a convolution over the known inputs only."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Variant = Literal["paper", "first_version"]


class PartialConv2d(nn.Conv2d):
    """x' = W^T (X * M) sum(1) / sum(M) + b where the window holds a known value, else 0; M' = 1 where it holds one.

    The paper's mask has as many channels as the features. All channels that come from one source share one mask, so
    the layer takes one single-channel mask per source and weights its count by the source's channels: the same result
    for the cost of one average pooling. The zero padding at the border of the image counts as hole, as in the authors'
    layer. The state_dict is that of ``nn.Conv2d``.

    Args:
        variant: "paper" multiplies by sum(1) / sum(M), with sum(1) = in_channels * kernel_size^2 (published paper and
            the authors' layer); "first_version" by 1 / sum(M) (first arXiv version). Weights do not carry over.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        variant: Variant = "paper",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
        self.variant = variant

    def forward(self, features: Sequence[Tensor], masks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Convolve what is known.

        Args:
            features: One (B, C_i, H, W) per source, sum of C_i = in_channels; several where a decoder has a skip.
            masks: One (B, 1, H, W) per source, **1 = known**.

        Returns:
            Features (B, out_channels, H', W') and their mask (B, 1, H', W'), 1 = known.
        """
        kernel, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        with torch.no_grad():  # in float32: bf16 cannot represent a count of 9216
            known = sum(
                F.avg_pool2d(mask.float(), kernel, stride, padding) * (x.shape[1] / self.in_channels)
                for x, mask in zip(features, masks, strict=True)
            )
            assert isinstance(known, Tensor)  # the share of the window that is known
            mask = (known > 0).float()
            scale = mask / known.clamp(min=1e-8)
            if self.variant == "first_version":
                scale = scale / (self.in_channels * kernel * kernel)
        x = torch.cat([x * m.to(x.dtype) for x, m in zip(features, masks, strict=True)], 1)
        out = F.conv2d(x, self.weight, None, stride, padding)
        out = out * scale.to(out.dtype)
        if self.bias is not None:
            out = out + self.bias.to(out.dtype).view(1, -1, 1, 1) * mask.to(out.dtype)
        return out, mask
