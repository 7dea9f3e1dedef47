"""Generator of DeepFill v2, layer by layer as in inpaint_model.py of JiahuiYu/generative_inpainting."""

from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint.layers.contextual_attention import contextual_attention
from lit_inpaint.layers.gated_conv import GatedConv2d
from lit_inpaint.layers.tf_same import Conv2dSame, Padding, resize_nearest
from masks.convention import composite

Variant = Literal["official", "nipponjo_tf", "nipponjo", "mmagic"]


class _Convolutions(NamedTuple):
    """The kinds of layers of one variant."""

    gated: Any
    down: Any
    up: Any
    last: Any

    @classmethod
    def of(cls, variant: Variant) -> "_Convolutions":
        padding: Padding = {"nipponjo": "symmetric", "mmagic": "reflect"}.get(variant, "same")  # type: ignore[assignment]
        gated = partial(GatedConv2d, padding=padding)
        last: Any = partial(gated, activation=nn.Identity()) if variant == "mmagic" else Conv2dSame
        return cls(gated, partial(gated, kernel_size=3, stride=2), partial(gated, kernel_size=3, upsample=True), last)


class Generator(nn.Module):
    """Coarse network, then a refinement network with a convolution branch and an attention branch.

    Layers carry the names of the official checkpoint. 4,052,478 parameters (4,053,678 with a sketch).

    Args:
        width: Channels of the first convolution before gating halves them (``cnum`` of the official code, 48);
            a multiple of 4.
        sketch: Whether the coarse network takes a sixth channel.
        channels: 3, or 1 for grey images.
        variant: Whose program it computes; all have the same weights. "nipponjo_tf" (networks_tf.py of that port): no
            fuse, the mask sampled from full size at once. "nipponjo" (networks.py): symmetric padding, features and
            mask sampled from the first pixel on. "mmagic", whose weights have other shapes: mirrored padding (images
            of 72 px or more), five channels into the second stage too and a wider decoder out of it, gates in the last
            convolutions as well, ELU after pmconv6, an attention without patches of the hole.
    """

    def __init__(self, width: int = 48, sketch: bool = False, variant: Variant = "official", channels: int = 3) -> None:
        super().__init__()
        if width % 4 or width < 4:
            raise ValueError(f"width is {width}; it must be a positive multiple of 4 (the paper's is 48).")
        if variant not in get_args(Variant):
            raise ValueError(f"variant is {variant!r}; expected one of {', '.join(get_args(Variant))}.")
        mmagic = variant == "mmagic"
        if mmagic and (width % 12 or sketch or channels != 3):
            given = f"width is {width}, sketch {sketch}, channels {channels}"
            raise ValueError(f"{given}; variant mmagic has a multiple of 12, no sketch and three channels.")
        self.sketch, self.variant, self.channels = sketch, variant, channels
        convolutions = _Convolutions.of(variant)
        self._add_coarse(width, channels + (3 if sketch else 2), convolutions)
        self._add_refinement(width, mmagic, convolutions)

    def _add_coarse(self, width: int, inputs: int, convolutions: _Convolutions) -> None:
        gated, down, up, last = convolutions
        eighth, quarter, half, full = width // 4, width // 2, width, 2 * width  # after gating: 12, 24, 48, 96
        self.conv1 = gated(inputs, quarter, 5)
        self.conv2_downsample = down(quarter, half)
        self.conv3 = gated(half, half, 3)
        self.conv4_downsample = down(half, full)
        self.conv5 = gated(full, full, 3)
        self.conv6 = gated(full, full, 3)
        self.conv7_atrous = gated(full, full, 3, dilation=2)
        self.conv8_atrous = gated(full, full, 3, dilation=4)
        self.conv9_atrous = gated(full, full, 3, dilation=8)
        self.conv10_atrous = gated(full, full, 3, dilation=16)
        self.conv11 = gated(full, full, 3)
        self.conv12 = gated(full, full, 3)
        self.conv13_upsample = up(full, half)
        self.conv14 = gated(half, half, 3)
        self.conv15_upsample = up(half, quarter)
        self.conv16 = gated(quarter, eighth, 3)
        self.conv17 = last(eighth, self.channels, 3)

    def _add_refinement(self, width: int, mmagic: bool, convolutions: _Convolutions) -> None:
        gated, down, up, last = convolutions
        quarter, half, full = width // 2, width, 2 * width
        self.xconv1 = gated(5 if mmagic else self.channels, quarter, 5)
        self.xconv2_downsample = down(quarter, quarter)
        self.xconv3 = gated(quarter, half, 3)
        self.xconv4_downsample = down(half, half)
        self.xconv5 = gated(half, full, 3)
        self.xconv6 = gated(full, full, 3)
        self.xconv7_atrous = gated(full, full, 3, dilation=2)
        self.xconv8_atrous = gated(full, full, 3, dilation=4)
        self.xconv9_atrous = gated(full, full, 3, dilation=8)
        self.xconv10_atrous = gated(full, full, 3, dilation=16)

        self.pmconv1 = gated(5 if mmagic else self.channels, quarter, 5)
        self.pmconv2_downsample = down(quarter, quarter)
        self.pmconv3 = gated(quarter, half, 3)
        self.pmconv4_downsample = down(half, full)
        self.pmconv5 = gated(full, full, 3)
        self.pmconv6 = gated(full, full, 3, activation=F.elu if mmagic else F.relu)
        self.pmconv9 = gated(full, full, 3)
        self.pmconv10 = gated(full, full, 3)

        wide = 4 * width // 3 if mmagic else width
        self.allconv11 = gated(2 * full, 2 * wide, 3)
        self.allconv12 = gated(2 * wide, 2 * wide, 3)
        self.allconv13_upsample = up(2 * wide, wide)
        self.allconv14 = gated(wide, wide, 3)
        self.allconv15_upsample = up(wide, wide // 2)
        self.allconv16 = gated(wide // 2, wide // 4, 3)
        self.allconv17 = last(wide // 4, self.channels, 3)

    def forward(self, erased: Tensor, mask: Tensor, sketch: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Coarse and refined image, each (B, 3, H, W) in [-1, 1], the known part regenerated.

        Args:
            erased: (B, 3, H, W) in [-1, 1] with 0 in the hole, H and W multiples of 8.
            mask: (B, 1, H, W), 1 in the hole.
            sketch: (B, 1, H, W), 1 on a line; counts only in the hole. None is an empty sketch.
        """
        if sketch is not None and not self.sketch:
            raise ValueError("a sketch was given to a network without a sketch channel. Train one with sketch=True.")
        if self.variant == "mmagic" and min(mask.shape[-2:]) < 72:
            height, width = mask.shape[-2:]
            raise ValueError(f"images are {height}x{width}; mmagic's padding mirrors 64 px, so use 72 px or more.")
        lines = [torch.zeros_like(mask) if sketch is None else sketch * mask] if self.sketch else []
        coarse = self.coarse(torch.cat([erased, *lines, torch.ones_like(mask), mask], dim=1))
        pasted = composite(coarse, erased, mask)
        if self.variant == "mmagic":
            pasted = torch.cat([pasted, torch.ones_like(mask), mask], dim=1)
        return coarse, self.refine(pasted, mask)

    def coarse(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        x = self.conv3(self.conv2_downsample(x))
        x = self.conv6(self.conv5(self.conv4_downsample(x)))
        x = self.conv10_atrous(self.conv9_atrous(self.conv8_atrous(self.conv7_atrous(x))))
        x = self.conv12(self.conv11(x))
        x = self.conv14(self.conv13_upsample(x))
        x = self.conv16(self.conv15_upsample(x))
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
        x = self.allconv14(self.allconv13_upsample(x))
        x = self.allconv16(self.allconv15_upsample(x))
        return to_image(self.allconv17, x)

    def attend(self, x: Tensor, mask: Tensor) -> Tensor:
        """Contextual attention of (B, C, H / 4, W / 4) features to themselves; ``mask`` at full size."""
        height, width = x.shape[-2:]
        if self.variant == "nipponjo":
            return contextual_attention(x, x, mask[..., ::4, ::4], sampling="every_second")
        if self.variant == "mmagic":
            mask = mask[..., ::4, ::4]
            return contextual_attention(x, x, mask, sampling="every_second", hole="excluded", paste="mean")
        if self.variant == "nipponjo_tf":
            return contextual_attention(x, x, resize_nearest(mask, height // 2, width // 2), fuse=False)
        return contextual_attention(x, x, resize_nearest(mask, height, width))


def to_image(conv: Conv2dSame, x: Tensor) -> Tensor:
    """Last convolution and tanh, in float32 also under autocast: steps of bfloat16 near 1 are half a grey level."""
    with torch.autocast(x.device.type, enabled=False):
        return torch.tanh(conv(x.to(conv.weight.dtype)))
