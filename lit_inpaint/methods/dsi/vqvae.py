"""Hierarchical VQ-VAE of DSI (Peng et al. 2021, section 3.1), layer by layer as net/vqvae.py of the official code.

The bottom map is a quarter of the image's side and holds texture, the top one an eighth and holds structure.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint.layers.sides import check_sides
from lit_inpaint.layers.tf_same import Conv2dSame


def initialise(network: nn.Module) -> None:
    """Biases 0, kernels from a normal of deviation 1 / sqrt(fan in) cut at two deviations, as the official layers."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            deviation = (layer.kernel_size[0] * layer.kernel_size[1] * layer.in_channels) ** -0.5
            nn.init.trunc_normal_(layer.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


def deconv(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """Twice the side: the transpose of a SAME convolution of 4 taps and stride 2."""
    return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)


class ResBlock(nn.Module):
    """``x + conv1(elu(conv3(elu(x))))``."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = Conv2dSame(width, hidden, 3), Conv2dSame(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.elu(self.conv1(F.elu(x))))


def residual(inputs: int, width: int, hidden: int, blocks: int) -> nn.Sequential:
    """A 3x3 convolution, residual blocks and an ELU: what every part of the VQ-VAE has in its middle."""
    return nn.Sequential(Conv2dSame(inputs, width, 3), *(ResBlock(width, hidden) for _ in range(blocks)), nn.ELU())


class Codebook(nn.Module):
    """Vector quantisation whose codes are moving averages of the features they stand for (van den Oord et al. 2017).

    Both averages begin at 0 and are divided by ``1 - decay^updates``: TensorFlow 1's ``assign_moving_average``, which
    the official code calls, corrects that bias by default. So nothing is left of the initial codes after
    the first update, and a code that no feature has chosen yet is the zero vector.

    Args:
        codes: Number of codes.
        channels: Length of one.
        decay: Decay of the averages per update.
        epsilon: Added to every size before it divides; the sizes keep their sum (Laplace smoothing).
    """

    embedding: Tensor
    sizes: Tensor
    sums: Tensor
    updates: Tensor

    def __init__(self, codes: int = 512, channels: int = 64, decay: float = 0.99, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.decay, self.epsilon = decay, epsilon
        self.register_buffer("embedding", torch.randn(codes, channels))
        self.register_buffer("sizes", torch.zeros(codes))  # biased, as are the sums
        self.register_buffer("sums", torch.zeros(codes, channels))
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def distances(self, features: Tensor) -> Tensor:
        """Squared distance of features (B, C, H, W) to every code, (B, H, W, codes), in float32."""
        with torch.autocast(features.device.type, enabled=False):
            x, codes = features.to(self.embedding.dtype).movedim(1, -1), self.embedding
            return x.square().sum(-1, keepdim=True) - 2 * x @ codes.mT + codes.square().sum(-1)

    def indices(self, features: Tensor) -> Tensor:
        """The nearest code at every position, (B, H, W)."""
        return self.distances(features.detach()).argmin(-1)

    def lookup(self, indices: Tensor) -> Tensor:
        """(B, H, W) indices to (B, C, H, W) codes."""
        return self.embedding[indices].movedim(-1, 1)

    @torch.no_grad()
    def update(self, features: Tensor, indices: Tensor) -> None:
        """Move the codes towards the mean of the features that chose them, over all ranks; not for non-finite ones."""
        flat, chosen = features.movedim(1, -1).flatten(0, 2).to(self.sums.dtype), indices.flatten()
        # Not bincount, for which the host of a GPU waits. Counts are exact as floats.
        sizes = torch.zeros_like(self.sizes).index_add_(0, chosen, torch.ones_like(flat[:, 0]))
        sums = torch.zeros_like(self.sums).index_add_(0, chosen, flat)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(sizes)
            torch.distributed.all_reduce(sums)
        if not torch.isfinite(sums).all():  # the same on every rank
            return
        self.updates += 1
        self.sizes.lerp_(sizes, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        correction = 1 - self.decay ** self.updates.to(self.sums.dtype)
        sizes, total = self.sizes / correction, self.sizes.sum() / correction
        smooth = (sizes + self.epsilon) / (total + len(sizes) * self.epsilon) * total
        self.embedding.copy_(self.sums / correction / smooth[:, None])


class Encoding(NamedTuple):
    """What the encoder says of an image: features before quantisation, chosen codes and quantised features."""

    top: Tensor  # (B, C, H / 8, W / 8)
    bottom: Tensor  # (B, C, H / 4, W / 4)
    top_indices: Tensor
    bottom_indices: Tensor
    top_quantised: Tensor  # with the gradient of ``top`` (straight through)
    bottom_quantised: Tensor


class VQVAE(nn.Module):
    """Encoder, two codebooks and decoder: 1,340,416, 2 x 32,768 and 511,619 numbers at published size.

    Args:
        width: Channels of the features (128).
        hidden: Channels inside a residual block (64).
        blocks: Residual blocks a stack (2).
        channels: Length of a code (64).
        codes: Codes of each level (512).
        decay: Decay of the codebooks' averages.
    """

    def __init__(
        self,
        width: int = 128,
        hidden: int = 64,
        blocks: int = 2,
        channels: int = 64,
        codes: int = 512,
        decay: float = 0.99,
    ) -> None:
        super().__init__()
        stack = hidden, blocks
        self.encode_bottom = nn.Sequential(
            Conv2dSame(3, width // 2, 4, stride=2), nn.ELU(), Conv2dSame(width // 2, width, 4, stride=2), nn.ELU(),
            residual(width, width, *stack),
        )  # fmt: skip
        self.encode_top = nn.Sequential(
            Conv2dSame(width, width // 2, 4, stride=2), nn.ELU(), residual(width // 2, width, *stack),
            Conv2dSame(width, channels, 1),
        )  # fmt: skip
        self.top = Codebook(codes, channels, decay)
        self.decode_top = nn.Sequential(residual(channels, width, *stack), deconv(width, width))
        self.merge = Conv2dSame(2 * width, channels, 1)
        self.bottom = Codebook(codes, channels, decay)

        self.raise_top = deconv(channels, channels)
        self.decode_bottom = nn.Sequential(
            residual(2 * channels, width, *stack), deconv(width, width // 2), nn.ELU(), deconv(width // 2, 3)
        )
        initialise(self)

    def encode(self, image: Tensor) -> Encoding:
        """Images (B, 3, H, W) in [-1, 1], H and W multiples of 8."""
        check_sides(image, "the VQ-VAE of DSI", multiple=8)
        features = self.encode_bottom(image)
        top = self.encode_top(features)
        top_indices = self.top.indices(top)
        top_quantised = _straight_through(top, self.top.lookup(top_indices))
        bottom = self.merge(torch.cat([features, self.decode_top(top_quantised)], dim=1))
        bottom_indices = self.bottom.indices(bottom)
        bottom_quantised = _straight_through(bottom, self.bottom.lookup(bottom_indices))
        return Encoding(top, bottom, top_indices, bottom_indices, top_quantised, bottom_quantised)

    def decode(self, top: Tensor, bottom: Tensor) -> Tensor:
        """Quantised features to an image, not clipped."""
        return self.decode_bottom(torch.cat([bottom, self.raise_top(top)], dim=1))


def _straight_through(features: Tensor, quantised: Tensor) -> Tensor:
    """The value of ``quantised`` with the gradient of ``features``."""
    return features + (quantised - features).detach()
