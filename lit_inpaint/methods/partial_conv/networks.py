"""The U-Net of partial convolutions (Liu et al. 2018, table in the appendix)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint.layers.partial_conv import PartialConv2d, Variant
from lit_inpaint.layers.sides import check_sides


class _PConvBlock(nn.Module):
    """Partial convolution, batch norm, activation; the mask goes along. (With a norm the convolution has no bias.)"""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, norm: bool, slope: float | None, variant: Variant
    ) -> None:
        super().__init__()
        self.conv = PartialConv2d(inputs, outputs, kernel, stride, kernel // 2, bias=not norm, variant=variant)
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        self.slope = slope

    def forward(self, features: list[Tensor], masks: list[Tensor]) -> tuple[Tensor, Tensor]:
        x, mask = self.conv(features, masks)
        x = self.norm(x)
        return (x if self.slope is None else F.leaky_relu(x, self.slope)), mask


class PConvUNet(nn.Module):
    """``levels`` halvings with ReLU, as many doublings with LeakyReLU(0.2); the last skip is the input image itself.

    Args:
        levels: 8 in the paper (512 px); public ports use 7 at 256 px. Sides must be multiples of 2^levels.
        width: Channels of the first layer; they double up to 8 * width.
        variant: Variant of :class:`PartialConv2d`.
        image_channels: 3, or 1 for grey.
    """

    def __init__(self, levels: int = 8, width: int = 64, variant: Variant = "paper", image_channels: int = 3) -> None:
        super().__init__()
        channels = [image_channels] + [width * min(2**level, 8) for level in range(levels)]
        kernels = [7, 5, 5] + [3] * (levels - 3)
        self.encoder = nn.ModuleList(
            _PConvBlock(channels[i], channels[i + 1], kernels[i], 2, norm=i > 0, slope=0.0, variant=variant)
            for i in range(levels)
        )
        self.decoder = nn.ModuleList(  # decoder[i] mirrors encoder[i]: it meets what encoder[i] was given
            _PConvBlock(
                channels[i + 1] + channels[i], channels[i], 3, 1, norm=i > 0, slope=0.2 if i else None, variant=variant
            )
            for i in range(levels)
        )
        for module in self.modules():
            if isinstance(module, PartialConv2d):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Tensor, known: Tensor) -> Tensor:
        """Image (B, 3, H, W), whatever lies in the hole, and mask (B, 1, H, W) with **1 = known** to (B, 3, H, W)."""
        check_sides(image, f"a U-Net of {len(self.encoder)} halvings", multiple=2 ** len(self.encoder))
        features, masks = [image], [known]
        for block in self.encoder:
            x, mask = block([features[-1]], [masks[-1]])
            features.append(x)
            masks.append(mask)
        x, mask = features.pop(), masks.pop()
        for block in reversed(self.decoder[1:]):
            x, mask = block([double(x), features.pop()], [double(mask), masks.pop()])
        with torch.autocast(x.device.type, enabled=False):  # a step of bfloat16 near 1 is half a grey level
            return self.decoder[0]([double(x).to(image.dtype), image], [double(mask), known])[0]


def double(x: Tensor) -> Tensor:
    """Twice the height and width, nearest."""
    return F.interpolate(x, scale_factor=2.0)


def freeze_norms(encoder: nn.Module) -> None:
    """Batch norms use their running statistics and keep their affine parameters (the fine-tuning of section 4.3)."""
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            for parameter in module.parameters():
                parameter.requires_grad_(False)
