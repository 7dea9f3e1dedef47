"""Generator of AOT-GAN, as in src/model/aotgan.py of researchmm/AOT-GAN-for-Inpainting."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint.layers.sides import check_sides


def standardise(x: Tensor) -> Tensor:
    """Each channel of each sample brought over its pixels to mean -5 and deviation 10, (B, C, H, W), in float32.

    ``my_layer_norm`` of the official code: no affine parameters, no running statistics, the unbiased deviation.
    """
    x = x if x.dtype == torch.float64 else x.float()
    deviation, mean = torch.std_mean(x, dim=(2, 3), keepdim=True)
    return 5 * (2 * (x - mean) / (deviation + 1e-9) - 1)


class AOTBlock(nn.Module):
    """Aggregated contextual transformations (section 3.1 of the paper): dilated convolutions side by side, fused, and
    mixed with the input by a gate that the input itself opens.

    Args:
        channels: Channels of input and output, divided equally among the transformations.
        rates: Dilation of each transformation.
    """

    def __init__(self, channels: int, rates: Sequence[int]) -> None:
        super().__init__()
        share = channels // len(rates)
        self.transformations = nn.ModuleList(
            nn.Conv2d(channels, share, 3, padding=rate, dilation=rate, padding_mode="reflect") for rate in rates
        )
        self.fuse = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.gate = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        transformed = self.fuse(torch.cat([F.relu_(conv(x)) for conv in self.transformations], dim=1))
        gate = standardise(self.gate(x)).sigmoid()
        return x * (1 - gate) + transformed * gate


class Generator(nn.Module):
    """Encoder to a quarter of the size, AOT blocks, decoder by bilinear upsampling; no norm anywhere else.

    15,200,835 parameters.

    Args:
        width: Channels of the first convolution; 2 and 4 times as many follow.
        blocks: AOT blocks.
        rates: Dilations of each block's transformations.
    """

    def __init__(self, width: int = 64, blocks: int = 8, rates: Sequence[int] = (1, 2, 4, 8)) -> None:
        super().__init__()
        if not rates or 4 * width % len(rates):
            raise ValueError(
                f"width is {width} and rates are {list(rates)}; the rates must divide 4 * width channels evenly "
                "(the paper has 64 and [1, 2, 4, 8])."
            )
        self.smallest = 4 * (max(rates) + 1)  # reflection by the largest rate needs one pixel more than that
        self.encoder = nn.ModuleList(
            [
                nn.Conv2d(4, width, 7, padding=3, padding_mode="reflect"),
                nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
                nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1),
            ]
        )
        self.middle = nn.Sequential(*[AOTBlock(4 * width, rates) for _ in range(blocks)])
        self.decoder = nn.ModuleList(
            [nn.Conv2d(4 * width, 2 * width, 3, padding=1), nn.Conv2d(2 * width, width, 3, padding=1)]
        )
        self.to_image = nn.Conv2d(width, 3, 3, padding=1)
        for conv in (module for module in self.modules() if isinstance(module, nn.Conv2d)):
            nn.init.normal_(conv.weight, std=0.02)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(self, erased: Tensor, mask: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] with 1 in the hole and (B, 1, H, W) to the whole image; H and W multiples of 4."""
        check_sides(mask, "AOT-GAN", least=self.smallest, otherwise=", or train with smaller rates")
        x = torch.cat([erased, mask], dim=1)
        for conv in self.encoder:
            x = F.relu_(conv(x))
        x = self.middle(x)
        for conv in self.decoder:
            x = F.relu_(conv(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)))
        # In float32 also under autocast: steps of bfloat16 near 1 are half a grey level.
        with torch.autocast(x.device.type, enabled=False):
            return torch.tanh(self.to_image(x.to(self.to_image.weight.dtype)))
