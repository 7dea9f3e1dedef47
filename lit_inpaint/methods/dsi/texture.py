"""Texture generator of DSI (Peng et al. 2021, section 3.3), layer by layer as net/texture_generator.py."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint.layers.contextual_attention import fuse
from lit_inpaint.layers.gated_conv import GatedConv2d
from lit_inpaint.layers.tf_same import Conv2dSame
from lit_inpaint.methods.dsi.vqvae import initialise


def structure_attention(structure: Tensor, *features: Tensor, sharpness: float = 50.0) -> list[Tensor]:
    """Rebuild features as mixtures of their own patches, weighted by how alike the structure is (net/nn.py).

    Distances of the 3x3 patches of the structure, standardised over the keys, go through ``-tanh``, are fused along
    diagonals as in DeepFill and into a softmax over all positions, hole or not. Computed in float32.

    Args:
        structure: (B, C, h, w).
        features: Each (B, C', s h, s w); patches of s x s pixels move together, without overlap.
        sharpness: Sharpness of the softmax.
    """
    with torch.autocast(structure.device.type, enabled=False):
        batch, _, height, width = structure.shape
        patches = F.unfold(structure.to(torch.promote_types(structure.dtype, torch.float32)), 3, padding=1)
        energy = patches.square().sum(1)
        distances = energy[:, :, None] + energy[:, None] - 2 * patches.mT @ patches
        deviation, mean = torch.std_mean(distances, dim=2, correction=0, keepdim=True)
        deviation = deviation.clamp(min=1e-12)  # 0 where all patches are alike
        scores = fuse(-torch.tanh((distances - mean) / deviation).view(batch, height, width, height, width))
        attention = torch.softmax(sharpness * scores.reshape(batch, height * width, -1), dim=2)
        rebuilt = []
        for x in features:
            side = x.shape[-2] // height
            values = F.pixel_unshuffle(x.to(attention.dtype), side)
            mixed = (values.flatten(2) @ attention.mT).view_as(values)
            rebuilt.append(F.pixel_shuffle(mixed, side).to(x.dtype))
        return rebuilt


class Texture(nn.Module):
    """Erased image, mask and quantised structure to an image: 4,602,467 parameters.

    Args:
        width: Channels of the first convolution before gating halves them (64).
        channels: Channels of the structure.
    """

    def __init__(self, width: int = 64, channels: int = 64) -> None:
        super().__init__()
        half, full, double = width // 2, width, 2 * width  # after gating: 32, 64, 128
        self.encode = nn.Sequential(
            GatedConv2d(5, half, 5), GatedConv2d(half, full, 3, stride=2), GatedConv2d(full, full, 3)
        )
        self.down = GatedConv2d(full, double, 3, stride=2)
        self.structure = nn.Sequential(GatedConv2d(channels, double, 3), GatedConv2d(double, double, 3))
        self.raise_structure = GatedConv2d(double, double, 3, upsample=True)
        self.merge = nn.Sequential(
            GatedConv2d(2 * double, double, 3),
            GatedConv2d(double, double, 3),
            *(GatedConv2d(double, double, 3, dilation=dilation) for dilation in (2, 4, 8, 16)),
        )
        self.decode = nn.Sequential(GatedConv2d(double, double, 3), GatedConv2d(double, double, 3))
        self.take_quarter = GatedConv2d(2 * double, double, 3)
        self.raise_half = GatedConv2d(double, full, 3, upsample=True)
        self.take_half = GatedConv2d(2 * full, full, 3)
        self.raise_full = GatedConv2d(full, half, 3, upsample=True)
        self.last = GatedConv2d(half, half, 3)
        self.to_image = Conv2dSame(half, 3, 3)
        initialise(self)

    def forward(self, erased: Tensor, mask: Tensor, structure: Tensor) -> Tensor:
        """The whole image (B, 3, H, W) in [-1, 1]; ``structure`` (B, C, H / 8, W / 8)."""
        at_half = self.encode(torch.cat([erased, torch.ones_like(mask), mask], dim=1))
        guide = self.raise_structure(self.structure(structure))
        at_quarter = self.merge(torch.cat([self.down(at_half), guide], dim=1))
        half_attended, quarter_attended = structure_attention(structure, at_half, at_quarter)
        x = self.take_quarter(torch.cat([self.decode(at_quarter), quarter_attended], dim=1))
        x = self.take_half(torch.cat([self.raise_half(x), half_attended], dim=1))
        x = self.last(self.raise_full(x))
        with torch.autocast(x.device.type, enabled=False):
            return torch.tanh(self.to_image(x.to(self.to_image.weight.dtype)))
