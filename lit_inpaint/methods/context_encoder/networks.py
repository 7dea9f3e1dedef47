"""The encoder-decoder and the discriminator of the Context Encoder (Pathak et al. 2016; train.lua of the authors)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Channels, in multiples of the width, of the stride-2 layers from a side of so many pixels down to 4.
_FACTORS = {32: (1, 2, 4), 64: (1, 2, 4, 8), 128: (1, 1, 2, 4, 8)}


def _down(inputs: int, outputs: int, norm: bool = True) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 4, 2, 1)]
    return [*layers, *([nn.BatchNorm2d(outputs)] if norm else []), nn.LeakyReLU(0.2)]


def _up(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]


def _initialise(network: nn.Module) -> None:
    """Convolutions N(0, 0.02) without bias, batch norms N(1, 0.02) (weights_init of train.lua)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0, 0.02)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.02)


class ChannelwiseFullyConnected(nn.Module):
    """A matrix of its own for every channel, from its n^2 positions to n^2 positions: C n^4 weights (section 3.1)."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, side**2, side**2))
        nn.init.normal_(self.weight, 0, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bcn,cnm->bcm", x.flatten(2), self.weight).unflatten(2, x.shape[2:])


class _ConvToPixel(nn.Conv2d):
    """A convolution that covers its whole input, (B, C, k, k) to (B, C', 1, 1), as the matrix product that it is.

    oneDNN's convolutions of such shapes take several times as long on a CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.flatten(1), self.weight.flatten(1), self.bias)[..., None, None]


class _ConvFromPixel(nn.ConvTranspose2d):
    """The transposed one, (B, C, 1, 1) to (B, C', k, k)."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        shape = self.weight.shape[1:]
        bias = None if self.bias is None else self.bias.repeat_interleave(shape[1:].numel())
        return F.linear(x.flatten(1), self.weight.flatten(1).T, bias).unflatten(1, shape)


class Generator(nn.Module):
    """Strided convolutions to 4x4, a bottleneck, transposed convolutions to ``output`` px, tanh. No mask channel.

    Args:
        size: Side of the input, 64 or 128.
        output: Side of the prediction: ``size / 2`` for the centre, ``size`` for random regions.
        width: Channels of the first layer.
        bottleneck: Channels of the 1x1 bottleneck; None for the channel-wise fully connected layer of the paper's
            section 3.1 with the 1x1 convolution that mixes its channels.
    """

    def __init__(self, size: int = 128, output: int = 64, width: int = 64, bottleneck: int | None = 4000) -> None:
        super().__init__()
        encoder, decoder = [], []
        widths = [width * factor for factor in _FACTORS[size]]
        for i, channels in enumerate(widths):
            encoder += _down(widths[i - 1] if i else 3, channels, norm=i > 0)
        top = widths[-1]
        middle: list[nn.Module]
        if bottleneck is None:
            middle = [ChannelwiseFullyConnected(top, 4), nn.Conv2d(top, top, 1)]
        else:
            middle = [_ConvToPixel(top, bottleneck, 4), nn.BatchNorm2d(bottleneck), nn.LeakyReLU(0.2)]
            middle += [_ConvFromPixel(bottleneck, top, 4)]
        middle += [nn.BatchNorm2d(top), nn.ReLU()]
        channels = top
        for _ in range((output // 8).bit_length() - 1):  # all doublings from 4 px but the last
            decoder += _up(channels, max(channels // 2, width))
            channels = max(channels // 2, width)
        decoder += [nn.ConvTranspose2d(channels, 3, 4, 2, 1), nn.Tanh()]
        self.encoder, self.bottleneck, self.decoder = (nn.Sequential(*layers) for layers in (encoder, middle, decoder))
        _initialise(self)

    def forward(self, context: Tensor) -> Tensor:
        """Context (B, 3, size, size) in [-1, 1], mean colour in the hole, to (B, 3, output, output)."""
        x = self.decoder[:-2](self.bottleneck(self.encoder(context)))
        with torch.autocast(x.device.type, enabled=False):  # a step of bfloat16 near 1 is half a grey level
            return self.decoder[-2:](x.to(context.dtype))


class Discriminator(nn.Module):
    """A patch of ``size`` px, (B, 3, size, size), to one logit, (B,): whether it is real. It never sees the context."""

    def __init__(self, size: int = 64, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        widths = [width * factor for factor in _FACTORS[size]]
        for i, channels in enumerate(widths):
            layers += _down(widths[i - 1] if i else 3, channels, norm=i > 0)
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4))
        _initialise(self)

    def forward(self, patch: Tensor) -> Tensor:
        return self.layers(patch).flatten()


def convolutions(network: nn.Module) -> list[nn.Conv2d | nn.ConvTranspose2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]


def zero_conv_biases(network: nn.Module) -> None:
    """The authors' closures zero every convolution's bias before each update: batch norm is what shifts."""
    for module in convolutions(network):
        module.bias.data.zero_()  # type: ignore[union-attr]
