"""Networks of LaMa: residual blocks of fast Fourier convolutions, and a PatchGAN that shows its features.

Chi et al., "Fast Fourier Convolution", NeurIPS 2020, as in saicinpainting/training/modules/{ffc,pix2pixhd}.py.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint.layers.sides import check_sides

Pair = tuple[Tensor, Tensor]  # local and global features, (B, C_l, H, W) and (B, C_g, H, W)


class _FourierUnit(nn.Module):
    """A 1x1 convolution, batch norm and ReLU of the spectrum: every output pixel depends on the whole image.

    Real and imaginary parts are channels of their own, interleaved (c0.re, c0.im, c1.re, ...), and pass the ReLU apart.
    In float32 also under autocast: there is no bfloat16 transform, and in float16 it overflows.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            batch, channels, height, width = x.shape
            spectrum = torch.fft.rfft2(x.float(), norm="ortho")
            parts = torch.view_as_real(spectrum).permute(0, 1, 4, 2, 3).flatten(1, 2)
            parts = F.relu_(self.norm(self.conv(parts))).view(batch, channels, 2, height, width // 2 + 1)
            spectrum = torch.view_as_complex(parts.permute(0, 1, 3, 4, 2).contiguous())
            return torch.fft.irfft2(spectrum, s=(height, width), norm="ortho")


class _SpectralTransform(nn.Module):
    """The global branch: half the channels, a :class:`_FourierUnit` beside them, and back. No local Fourier unit."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels // 2)
        self.fourier = _FourierUnit(channels // 2)
        self.expand = nn.Conv2d(channels // 2, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.norm(self.reduce(x)))
        return self.expand(x + self.fourier(x))


def _conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, padding_mode="reflect", bias=False)


class FFC(nn.Module):
    """Fast Fourier convolution between local and global channels, then batch norm and ReLU of each."""

    def __init__(self, local: int, global_: int) -> None:
        super().__init__()
        self.local_to_local, self.local_to_global = _conv3(local, local), _conv3(local, global_)
        self.global_to_local, self.global_to_global = _conv3(global_, local), _SpectralTransform(global_)
        self.norm_local, self.norm_global = nn.BatchNorm2d(local), nn.BatchNorm2d(global_)

    def forward(self, x: Pair) -> Pair:
        local, global_ = x
        out_local = self.local_to_local(local) + self.global_to_local(global_)
        out_global = self.local_to_global(local) + self.global_to_global(global_)
        return F.relu_(self.norm_local(out_local)), F.relu_(self.norm_global(out_global))


class _FFCBlock(nn.Module):
    """Two :class:`FFC` and a sum; unlike in other residual blocks the second one has its ReLU, and none follows."""

    def __init__(self, local: int, global_: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = FFC(local, global_), FFC(local, global_)

    def forward(self, x: Pair) -> Pair:
        local, global_ = self.conv2(self.conv1(x))
        return x[0] + local, x[1] + global_


class Generator(nn.Module):
    """LaMa-Fourier (9 blocks, 27,048,835 parameters) or Big LaMa (18 blocks, 50,975,875).

    Three convolutions of stride 2, the blocks at an eighth of the side with 3/4 of the channels global, three
    transposed convolutions. Reflected borders on the way down and in the blocks, zeros on the way up.

    Args:
        width: Channels of the first convolution; eight times as many in the blocks.
        blocks: Residual blocks.
    """

    def __init__(self, width: int = 64, blocks: int = 9) -> None:
        super().__init__()
        inner = 8 * width
        global_ = inner * 3 // 4
        local = inner - global_
        self.first = nn.Conv2d(4, width, 7, padding=3, padding_mode="reflect", bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.down = nn.ModuleList([_conv3(width, 2 * width, 2), _conv3(2 * width, 4 * width, 2)])
        self.down_norms = nn.ModuleList([nn.BatchNorm2d(2 * width), nn.BatchNorm2d(4 * width)])
        self.to_local, self.to_global = _conv3(4 * width, local, 2), _conv3(4 * width, global_, 2)
        self.norm_local, self.norm_global = nn.BatchNorm2d(local), nn.BatchNorm2d(global_)
        self.blocks = nn.ModuleList(_FFCBlock(local, global_) for _ in range(blocks))
        channels = [inner, inner // 2, inner // 4, inner // 8]
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(inputs, outputs, 3, 2, padding=1, output_padding=1)
            for inputs, outputs in pairwise(channels)
        )
        self.up_norms = nn.ModuleList(nn.BatchNorm2d(outputs) for outputs in channels[1:])
        self.to_image = nn.Conv2d(width, 3, 7, padding=3, padding_mode="reflect")

    def encode(self, erased: Tensor, mask: Tensor) -> Pair:
        """What refinement holds on to: the features in front of the blocks.

        Args:
            erased: (B, 3, H, W) in **[0, 1]**, 0 in the hole; sides are multiples of 8.
            mask: (B, 1, H, W), 1 = hole.
        """
        check_sides(mask, "LaMa", least=16)  # its blocks mirror one pixel of a map of 1/8
        x = F.relu_(self.first_norm(self.first(torch.cat([erased, mask], dim=1))))
        for conv, norm in zip(self.down, self.down_norms, strict=True):
            x = F.relu_(norm(conv(x)))
        return F.relu_(self.norm_local(self.to_local(x))), F.relu_(self.norm_global(self.to_global(x)))

    def decode(self, features: Pair) -> Tensor:
        """From those features to an image in [0, 1], (B, 3, H, W)."""
        for block in self.blocks:
            features = block(features)
        x = torch.cat(features, dim=1)  # local first
        for conv, norm in zip(self.up, self.up_norms, strict=True):
            x = F.relu_(norm(conv(x)))
        with torch.autocast(x.device.type, enabled=False):  # an image of bfloat16 has about 8 bits
            return torch.sigmoid(self.to_image(x.float()))

    def forward(self, erased: Tensor, mask: Tensor) -> Tensor:
        return self.decode(self.encode(erased, mask))


class Discriminator(nn.Module):
    """PatchGAN of pix2pixHD with batch norm and padding 2; 6,962,369 parameters, 19x19 logits of a 256x256 image.

    Args:
        width: Channels of the first layer; 2, 4, 8 and 16 times as many follow, at most 512.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        channels = [3, width, 2 * width, 4 * width, 8 * width, min(16 * width, 512)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 4, stride, padding=2)
            for (inputs, outputs), stride in zip(pairwise(channels), (2, 2, 2, 2, 1), strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for outputs in channels[2:])
        self.logits = nn.Conv2d(channels[-1], 1, 4, padding=2)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Image (B, 3, H, W) in **[0, 1]** to logits (B, 1, h, w) and the five feature maps before them."""
        x, features = image, []
        for index, conv in enumerate(self.convolutions):
            x = conv(x)
            x = F.leaky_relu(self.norms[index - 1](x) if index else x, 0.2)
            features.append(x)
        return self.logits(x).float(), features
