"""Networks of DeepFill v1, layer by layer as in inpaint_model.py of JiahuiYu/generative_inpainting, branch v1.0.0."""

from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint.layers.contextual_attention import contextual_attention
from lit_inpaint.layers.sides import check_sides
from lit_inpaint.layers.tf_same import Conv2dSame, Padding, resize_nearest
from masks.convention import composite
from masks.size import Size, sides

Variant = Literal["official", "daa233", "mmagic"]
_PADDING: dict[Variant, Padding] = {"official": "same", "daa233": "symmetric", "mmagic": "reflect"}


def conv(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    upsample: bool = False,
    variant: Variant = "official",
) -> Conv2dSame:
    """One layer; the ports pad both ends alike, and start from torch's own initialisation."""
    layer = Conv2dSame(inputs, outputs, kernel, stride, dilation, _PADDING[variant], upsample)
    if variant != "official":
        nn.Conv2d.reset_parameters(layer)
    return layer


class Generator(nn.Module):
    """Coarse network, then a refinement network with a convolution branch and an attention branch.

    Layers carry the names of the official checkpoint; all end in ELU but pmconv6 (ReLU) and the two last (clipped).

    Args:
        width: Channels of the first convolution, 32 in the paper; a multiple of 2.
        variant: "official", or "daa233" for weights that were trained by that port: symmetric padding, and an attention
            that takes every second pixel and adds 1e-4 to every square under the norm of a patch; or "mmagic" for its
            weights: mirrored padding (images of 72 px or more), an attention without patches of the hole that divides
            by the patches over a pixel, ELU after pmconv6 too.
    """

    def __init__(self, width: int = 32, variant: Variant = "official") -> None:
        super().__init__()
        if variant not in get_args(Variant):
            raise ValueError(f"variant is {variant!r}; expected one of {', '.join(get_args(Variant))}.")
        self.variant = variant
        half, full, double_, four = width // 2, width, 2 * width, 4 * width

        layer = partial(conv, variant=variant)
        up = partial(layer, upsample=True)

        self.conv1 = layer(5, full, 5)
        self.conv2_downsample = layer(full, double_, stride=2)
        self.conv3 = layer(double_, double_)
        self.conv4_downsample = layer(double_, four, stride=2)
        self.conv5, self.conv6 = layer(four, four), layer(four, four)
        self.conv7_atrous = layer(four, four, dilation=2)
        self.conv8_atrous = layer(four, four, dilation=4)
        self.conv9_atrous = layer(four, four, dilation=8)
        self.conv10_atrous = layer(four, four, dilation=16)
        self.conv11, self.conv12 = layer(four, four), layer(four, four)
        self.conv13_upsample = up(four, double_)
        self.conv14 = layer(double_, double_)
        self.conv15_upsample = up(double_, full)
        self.conv16 = layer(full, half)
        self.conv17 = layer(half, 3)

        self.xconv1 = layer(5, full, 5)
        self.xconv2_downsample = layer(full, full, stride=2)
        self.xconv3 = layer(full, double_)
        self.xconv4_downsample = layer(double_, double_, stride=2)
        self.xconv5, self.xconv6 = layer(double_, four), layer(four, four)
        self.xconv7_atrous = layer(four, four, dilation=2)
        self.xconv8_atrous = layer(four, four, dilation=4)
        self.xconv9_atrous = layer(four, four, dilation=8)
        self.xconv10_atrous = layer(four, four, dilation=16)

        self.pmconv1 = layer(5, full, 5)
        self.pmconv2_downsample = layer(full, full, stride=2)
        self.pmconv3 = layer(full, double_)
        self.pmconv4_downsample = layer(double_, four, stride=2)
        self.pmconv5, self.pmconv6 = layer(four, four), layer(four, four)
        self.pmconv9, self.pmconv10 = layer(four, four), layer(four, four)

        self.allconv11, self.allconv12 = layer(2 * four, four), layer(four, four)
        self.allconv13_upsample = up(four, double_)
        self.allconv14 = layer(double_, double_)
        self.allconv15_upsample = up(double_, full)
        self.allconv16 = layer(full, half)
        self.allconv17 = layer(half, 3)

    def forward(self, erased: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Coarse and refined image, each (B, 3, H, W) in [-1, 1], the known part regenerated.

        Args:
            erased: (B, 3, H, W) in [-1, 1] with 0 in the hole, H and W multiples of 8.
            mask: (B, 1, H, W), 1 in the hole.
        """
        if self.variant == "mmagic" and min(mask.shape[-2:]) < 72:
            height, width = mask.shape[-2:]
            raise ValueError(f"images are {height}x{width}; mmagic's padding mirrors 64 px, so use 72 px or more.")
        ones = torch.ones_like(mask)  # tells the border of the image from its padding
        coarse = self.coarse(torch.cat([erased, ones, mask], 1))
        # The gradient of the refined image reaches the coarse network: stop_gradient is commented out in the original.
        return coarse, self.refine(torch.cat([composite(coarse, erased, mask), ones, mask], 1), mask)

    def coarse(self, x: Tensor) -> Tensor:
        x = F.elu(self.conv1(x))
        x = F.elu(self.conv3(F.elu(self.conv2_downsample(x))))
        x = F.elu(self.conv6(F.elu(self.conv5(F.elu(self.conv4_downsample(x))))))
        for layer in (self.conv7_atrous, self.conv8_atrous, self.conv9_atrous, self.conv10_atrous):
            x = F.elu(layer(x))
        x = F.elu(self.conv12(F.elu(self.conv11(x))))
        x = F.elu(self.conv14(F.elu(self.conv13_upsample(x))))
        x = F.elu(self.conv16(F.elu(self.conv15_upsample(x))))
        return clipped(self.conv17, x)

    def refine(self, pasted: Tensor, mask: Tensor) -> Tensor:
        x = F.elu(self.xconv1(pasted))
        x = F.elu(self.xconv3(F.elu(self.xconv2_downsample(x))))
        x = F.elu(self.xconv6(F.elu(self.xconv5(F.elu(self.xconv4_downsample(x))))))
        for layer in (self.xconv7_atrous, self.xconv8_atrous, self.xconv9_atrous, self.xconv10_atrous):
            x = F.elu(layer(x))
        hallucinated = x

        x = F.elu(self.pmconv1(pasted))
        x = F.elu(self.pmconv3(F.elu(self.pmconv2_downsample(x))))
        x = self.pmconv6(F.elu(self.pmconv5(F.elu(self.pmconv4_downsample(x)))))
        x = F.elu(x) if self.variant == "mmagic" else F.relu(x)
        x = self.attend(x, mask)
        copied = F.elu(self.pmconv10(F.elu(self.pmconv9(x))))

        x = F.elu(self.allconv12(F.elu(self.allconv11(torch.cat([hallucinated, copied], 1)))))
        x = F.elu(self.allconv14(F.elu(self.allconv13_upsample(x))))
        x = F.elu(self.allconv16(F.elu(self.allconv15_upsample(x))))
        return clipped(self.allconv17, x)

    def attend(self, x: Tensor, mask: Tensor) -> Tensor:
        """Contextual attention of (B, C, H / 4, W / 4) features to themselves; ``mask`` at full size."""
        if self.variant == "official":
            return contextual_attention(x, x, resize_nearest(mask, *x.shape[-2:]))
        mask = mask[..., ::4, ::4]
        if self.variant == "daa233":
            return contextual_attention(x, x, mask, sampling="every_second", norm="added")
        return contextual_attention(x, x, mask, sampling="every_second", hole="excluded", paste="mean")


def clipped(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Last convolution and clipping, in float32 also under autocast: a step of bfloat16 near 1 is half a grey level."""
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.to(layer.weight.dtype)).clamp(-1, 1)


class Discriminator(nn.Module):
    """Four strided 5x5 convolutions and a linear layer to one value per image, (B,): Wasserstein, so no sigmoid.

    Args:
        size: Side of the images, or (height, width); multiples of 16.
        width: Channels of the first layer, 64 in the paper.
        last: Channels of the last one in multiples of ``width``: 8 for the local discriminator, 4 for the global one.
    """

    def __init__(self, size: Size, width: int = 64, last: int = 4, variant: Variant = "official") -> None:
        super().__init__()
        widths = [3, width, 2 * width, 4 * width, last * width]
        self.layers = nn.ModuleList(conv(widths[i], widths[i + 1], 5, 2, variant=variant) for i in range(4))
        rows, columns = (side // 16 for side in sides(size))
        self.linear = nn.Linear(widths[-1] * rows * columns, 1)
        self.size = size

    def forward(self, image: Tensor) -> Tensor:
        check_sides(image, "the discriminator", exactly=self.size)
        for layer in self.layers:
            image = F.leaky_relu(layer(image), 0.2)
        return self.linear(image.flatten(1)).flatten()
