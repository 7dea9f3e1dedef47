"""Generator of MI-GAN after its branches are merged: lib/model_zoo/migan_inference.py of Picsart-AI-Research/MI-GAN."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def channels(resolution: int) -> int:
    """Channels at one resolution: 64 at 512, doubled at every halving, at most 512."""
    return min(32768 // resolution, 512)


def activation(x: Tensor) -> Tensor:
    """Leaky ReLU (slope 0.2) of StyleGAN2: scaled by the root of 2, then clipped to [-256, 256]."""
    return (F.leaky_relu(x, 0.2) * math.sqrt(2)).clamp(-256, 256)


class Resample(nn.Module):
    """Low-pass filter [1, 3, 3, 1] along either axis, zeros beyond the border; no parameters, nothing is saved.

    Args:
        gain: Sum of the 4x4 filter: 1 to halve the size, 4 to double it (three of four pixels are zeros then).
    """

    kernel: Tensor

    def __init__(self, gain: float) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", gain * torch.outer(taps, taps)[None, None], persistent=False)


class Downsample(Resample):
    """(B, C, H, W) to (B, C, H / 2, W / 2)."""

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel.expand(x.shape[1], 1, 4, 4), stride=2, padding=1, groups=x.shape[1])


class Upsample(Resample):
    """(B, C, H, W) to (B, C, 2 H, 2 W). Zeros between the pixels, then the filter: one transposed convolution."""

    def __init__(self) -> None:
        super().__init__(4)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.kernel.expand(x.shape[1], 1, 4, 4), stride=2, padding=1, groups=x.shape[1])


class _SeparableConv(nn.Module):
    """Depthwise 3x3 and pointwise convolution, each followed by the activation (paper, section 3.1).

    Args:
        resample: Between the two convolutions where it halves, after both where it doubles.
        noise: Side of the output, if a fixed noise image of that side is added before the last activation. It belongs
            to the weights: the network draws nothing.
    """

    noise_const: Tensor

    def __init__(self, inputs: int, outputs: int, resample: Resample | None = None, noise: int | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs)
        self.conv2 = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.resample = resample
        self.noise = noise is not None
        if noise is not None:
            self.register_buffer("noise_const", torch.randn(noise, noise))
            self.noise_strength = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        x = activation(self.conv1(x))
        if isinstance(self.resample, Downsample):
            x = self.resample(x)
        x = self.conv2(x)
        if isinstance(self.resample, Upsample):
            x = self.resample(x)
        if self.noise:
            x = x + self.noise_const * self.noise_strength
        return activation(x)


class _EncoderBlock(nn.Module):
    """One resolution on the way down: its features for the decoder, and those of half the size."""

    def __init__(self, resolution: int, first: bool) -> None:
        super().__init__()
        inside = channels(resolution)
        self.fromrgb = nn.Conv2d(4, inside, 1) if first else None
        self.conv1 = _SeparableConv(inside, inside)
        self.conv2 = (
            _SeparableConv(inside, channels(resolution // 2), Downsample())
            if resolution > 4
            else _SeparableConv(inside, inside)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.fromrgb is not None:
            x = activation(self.fromrgb(x))
        features = self.conv1(x)
        return self.conv2(features), features


class _SynthesisBlock(nn.Module):
    """One resolution on the way up: the encoder's features are added between its convolutions, and its share of the
    image to that of all smaller resolutions."""

    def __init__(self, resolution: int) -> None:
        super().__init__()
        inside, first = channels(resolution), resolution == 4
        noise = None if first else resolution
        self.conv1 = _SeparableConv(channels(resolution // 2), inside, None if first else Upsample(), noise)
        self.conv2 = _SeparableConv(inside, inside, noise=noise)
        self.torgb = nn.Conv2d(inside, 3, 1)
        self.upsample = None if first else Upsample()

    def forward(self, x: Tensor, features: Tensor, image: Tensor | None) -> tuple[Tensor, Tensor]:
        x = self.conv2(self.conv1(x) + features)
        share = self.torgb(x)
        return x, share if image is None or self.upsample is None else share + self.upsample(image)


class Generator(nn.Module):
    """U-Net of separable convolutions, ``size`` down to 4 and back. Layers carry the names of the released files.

    Args:
        size: Side of the image, a power of 2; 5,893,158 parameters at 512.
    """

    def __init__(self, size: int = 512) -> None:
        super().__init__()
        if size < 8 or size & (size - 1):
            raise ValueError(f"size is {size}; MI-GAN takes a power of 2 from 8 on (published: 256 and 512).")
        sides = [2**i for i in range(2, size.bit_length())]
        self.encoder = nn.ModuleDict({f"b{side}": _EncoderBlock(side, side == size) for side in reversed(sides)})
        self.synthesis = nn.ModuleDict({f"b{side}": _SynthesisBlock(side) for side in sides})

    def forward(self, erased: Tensor, mask: Tensor) -> Tensor:
        """(B, 3, size, size) with 0 in the hole and (B, 1, size, size), 1 = hole; an image, about [-1, 1], out."""
        x = torch.cat([0.5 - mask, erased], dim=1)  # the authors' mask - 0.5, whose 1 is known
        features = {}
        for name, block in self.encoder.items():
            x, features[name] = block(x)
        image = None
        for name, block in self.synthesis.items():
            x, image = block(x, features[name], image)
        assert image is not None
        return image
