"""Generator of DeepFill v2, layer by layer as in inpaint_model.py of JiahuiYu/generative_inpainting."""

from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint.layers.contextual_attention import contextual_attention
from lit_inpaint.layers.gated_conv import GatedConv2d
from lit_inpaint.layers.tf_same import Conv2dSame, resize_nearest
from masks.convention import composite

Variant = Literal["official", "nipponjo_tf", "nipponjo"]


def double(x: Tensor) -> Tensor:
    """Twice the height and width, nearest."""
    return F.interpolate(x, scale_factor=2.0)


class Generator(nn.Module):
    """Coarse network, then a refinement network with a convolution branch and an attention branch.

    Layers carry the names of the official checkpoint. 4,052,478 parameters (4,053,678 with a sketch).

    Args:
        width: Channels of the first convolution before gating halves them (``cnum`` of the official code, 48);
            a multiple of 4.
        sketch: Whether the coarse network takes a sixth channel.
        variant: Whose program it computes; all have the same weights. "nipponjo_tf" (networks_tf.py of that port): no
            fuse, the mask sampled from full size at once. "nipponjo" (networks.py): symmetric padding, features and
            mask sampled from the first pixel on.
    """

    def __init__(self, width: int = 48, sketch: bool = False, variant: Variant = "official") -> None:
        super().__init__()
        if width % 4 or width < 4:
            raise ValueError(f"width is {width}; it must be a positive multiple of 4 (the paper's is 48).")
        if variant not in get_args(Variant):
            raise ValueError(f"variant is {variant!r}; expected one of {', '.join(get_args(Variant))}.")
        self.sketch, self.variant = sketch, variant
        down: Any = partial(GatedConv2d, kernel_size=3, stride=2, symmetric=variant == "nipponjo")
        eighth, quarter, half, full = width // 4, width // 2, width, 2 * width  # after gating: 12, 24, 48, 96

        self.conv1 = GatedConv2d(6 if sketch else 5, quarter, 5)
        self.conv2_downsample = down(quarter, half)
        self.conv3 = GatedConv2d(half, half, 3)
        self.conv4_downsample = down(half, full)
        self.conv5 = GatedConv2d(full, full, 3)
        self.conv6 = GatedConv2d(full, full, 3)
        self.conv7_atrous = GatedConv2d(full, full, 3, dilation=2)
        self.conv8_atrous = GatedConv2d(full, full, 3, dilation=4)
        self.conv9_atrous = GatedConv2d(full, full, 3, dilation=8)
        self.conv10_atrous = GatedConv2d(full, full, 3, dilation=16)
        self.conv11 = GatedConv2d(full, full, 3)
        self.conv12 = GatedConv2d(full, full, 3)
        self.conv13_upsample = GatedConv2d(full, half, 3)
        self.conv14 = GatedConv2d(half, half, 3)
        self.conv15_upsample = GatedConv2d(half, quarter, 3)
        self.conv16 = GatedConv2d(quarter, eighth, 3)
        self.conv17 = Conv2dSame(eighth, 3, 3)

        self.xconv1 = GatedConv2d(3, quarter, 5)
        self.xconv2_downsample = down(quarter, quarter)
        self.xconv3 = GatedConv2d(quarter, half, 3)
        self.xconv4_downsample = down(half, half)
        self.xconv5 = GatedConv2d(half, full, 3)
        self.xconv6 = GatedConv2d(full, full, 3)
        self.xconv7_atrous = GatedConv2d(full, full, 3, dilation=2)
        self.xconv8_atrous = GatedConv2d(full, full, 3, dilation=4)
        self.xconv9_atrous = GatedConv2d(full, full, 3, dilation=8)
        self.xconv10_atrous = GatedConv2d(full, full, 3, dilation=16)

        self.pmconv1 = GatedConv2d(3, quarter, 5)
        self.pmconv2_downsample = down(quarter, quarter)
        self.pmconv3 = GatedConv2d(quarter, half, 3)
        self.pmconv4_downsample = down(half, full)
        self.pmconv5 = GatedConv2d(full, full, 3)
        self.pmconv6 = GatedConv2d(full, full, 3, activation=F.relu)
        self.pmconv9 = GatedConv2d(full, full, 3)
        self.pmconv10 = GatedConv2d(full, full, 3)

        self.allconv11 = GatedConv2d(2 * full, full, 3)
        self.allconv12 = GatedConv2d(full, full, 3)
        self.allconv13_upsample = GatedConv2d(full, half, 3)
        self.allconv14 = GatedConv2d(half, half, 3)
        self.allconv15_upsample = GatedConv2d(half, quarter, 3)
        self.allconv16 = GatedConv2d(quarter, eighth, 3)
        self.allconv17 = Conv2dSame(eighth, 3, 3)

    def forward(self, erased: Tensor, mask: Tensor, sketch: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Coarse and refined image, each (B, 3, H, W) in [-1, 1], the known part drawn anew.

        Args:
            erased: (B, 3, H, W) in [-1, 1] with 0 in the hole, H and W multiples of 8.
            mask: (B, 1, H, W), 1 in the hole.
            sketch: (B, 1, H, W), 1 on a line; counts only in the hole. None is an empty sketch.
        """
        if sketch is not None and not self.sketch:
            raise ValueError("a sketch was given to a network without a sketch channel. Train one with sketch=True.")
        lines = [torch.zeros_like(mask) if sketch is None else sketch * mask] if self.sketch else []
        coarse = self.coarse(torch.cat([erased, *lines, torch.ones_like(mask), mask], dim=1))
        return coarse, self.refine(composite(coarse, erased, mask), mask)

    def coarse(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        x = self.conv3(self.conv2_downsample(x))
        x = self.conv6(self.conv5(self.conv4_downsample(x)))
        x = self.conv10_atrous(self.conv9_atrous(self.conv8_atrous(self.conv7_atrous(x))))
        x = self.conv12(self.conv11(x))
        x = self.conv14(self.conv13_upsample(double(x)))
        x = self.conv16(self.conv15_upsample(double(x)))
        return to_image(self.conv17, x)

    def refine(self, pasted: Tensor, mask: Tensor) -> Tensor:
        x = self.xconv1(pasted)
        x = self.xconv3(self.xconv2_downsample(x))
        x = self.xconv6(self.xconv5(self.xconv4_downsample(x)))
        hallucinated = self.xconv10_atrous(self.xconv9_atrous(self.xconv8_atrous(self.xconv7_atrous(x))))

        x = self.pmconv1(pasted)
        x = self.pmconv3(self.pmconv2_downsample(x))
        x = self.pmconv6(self.pmconv5(self.pmconv4_downsample(x)))
        x = self.attend(x, mask)
        copied = self.pmconv10(self.pmconv9(x))

        x = self.allconv12(self.allconv11(torch.cat([hallucinated, copied], dim=1)))
        x = self.allconv14(self.allconv13_upsample(double(x)))
        x = self.allconv16(self.allconv15_upsample(double(x)))
        return to_image(self.allconv17, x)

    def attend(self, x: Tensor, mask: Tensor) -> Tensor:
        """Contextual attention of (B, C, H / 4, W / 4) features to themselves; ``mask`` at full size."""
        height, width = x.shape[-2:]
        if self.variant == "nipponjo":
            return contextual_attention(x, x, mask[..., ::4, ::4], sampling="every_second")
        if self.variant == "nipponjo_tf":
            return contextual_attention(x, x, resize_nearest(mask, height // 2, width // 2), fuse=False)
        return contextual_attention(x, x, resize_nearest(mask, height, width))


def to_image(conv: Conv2dSame, x: Tensor) -> Tensor:
    """Last convolution and tanh, in float32 also under autocast: steps of bfloat16 near 1 are half a grey level."""
    with torch.autocast(x.device.type, enabled=False):
        return torch.tanh(conv(x.to(conv.weight.dtype)))
