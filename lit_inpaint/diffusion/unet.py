"""The denoiser: guided-diffusion's UNet (Dhariwal & Nichol 2021, "ADM"), under the key names of its checkpoints.

The same class reads improved-diffusion's checkpoints (no resampling inside residual blocks), and with
``variant="ho"`` the original network of Ho et al. 2020 as diffusers ships it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lit_inpaint.layers.upsampled_conv import UpsampledConv2d
from masks.size import Size, sides

UNetVariant = Literal["guided-diffusion", "ho"]


def timestep_embedding(t: Tensor, dim: int, variant: UNetVariant = "guided-diffusion") -> Tensor:
    """Sinusoids of the timestep, (B, dim): [cos, sin], or [sin, cos] with the last frequency 1/10000 ("ho").

    >>> timestep_embedding(torch.tensor([0]), 4)
    tensor([[1., 1., 0., 0.]])
    """
    half = dim // 2
    spacing = half if variant == "guided-diffusion" else half - 1
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=t.device) / spacing)
    angle = t[:, None].float() * frequencies
    waves = [torch.cos(angle), torch.sin(angle)]
    embedding = torch.cat(waves if variant == "guided-diffusion" else waves[::-1], 1)
    return F.pad(embedding, (0, dim % 2))


def attention(qkv: Tensor, heads: int, new_order: bool) -> Tensor:
    """Self-attention over positions; (B, 3C, N) in, (B, C, N) out.

    Args:
        new_order: Channels are [q of all heads, k, v]; otherwise, as in most published models, [q, k, v] head by head.
    """
    batch, width, positions = qkv.shape
    if new_order:
        q, k, v = qkv.reshape(batch, 3, heads, width // 3 // heads, positions).unbind(1)
    else:
        q, k, v = qkv.reshape(batch, heads, 3, width // 3 // heads, positions).unbind(2)
    out = F.scaled_dot_product_attention(q.transpose(-1, -2), k.transpose(-1, -2), v.transpose(-1, -2))
    return out.transpose(-1, -2).reshape(batch, width // 3, positions)


class _WideGroupNorm(nn.GroupNorm):
    """Group normalisation computed in fp32 whatever the precision of the run."""

    def __init__(self, channels: int, groups: int, variant: UNetVariant) -> None:
        super().__init__(groups, channels, eps=1e-5 if variant == "guided-diffusion" else 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            wide = x if x.dtype == torch.float64 else x.float()
            return F.group_norm(wide, self.num_groups, self.weight, self.bias, self.eps).to(x.dtype)


class _AttentionBlock(nn.Module):
    """Normalise, attend over all positions, project (zero at the start), add the input."""

    def __init__(self, channels: int, heads: int, new_order: bool, groups: int, variant: UNetVariant) -> None:
        super().__init__()
        self.heads, self.new_order = heads, new_order
        self.norm = _WideGroupNorm(channels, groups, variant)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)
        zero(self.proj_out)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        attended = attention(_project(self.qkv, self.norm(flat)), self.heads, self.new_order)
        return (flat + _project(self.proj_out, attended)).reshape(x.shape)


def _project(layer: nn.Conv1d, x: Tensor) -> Tensor:
    """A 1x1 convolution whose output has its channels side by side in memory, as fused attention wants them."""
    return F.linear(x.mT, layer.weight[..., 0], layer.bias).mT


class ResBlock(nn.Module):
    """GN, SiLU, (resample), conv; time embedding scaling and shifting the second GN, or added before it; conv; skip."""

    def __init__(
        self,
        channels: int,
        embedding: int,
        out_channels: int,
        dropout: float,
        scale_shift: bool,
        groups: int,
        variant: UNetVariant,
        resample: Literal["up", "down"] | None = None,
    ) -> None:
        super().__init__()
        self.scale_shift, self.resample = scale_shift, resample
        up = resample == "up"
        convolve = UpsampledConv2d(channels, out_channels) if up else nn.Conv2d(channels, out_channels, 3, padding=1)
        self.in_layers = nn.Sequential(_WideGroupNorm(channels, groups, variant), nn.SiLU(), convolve)
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, out_channels * (2 if scale_shift else 1)))
        self.out_layers = nn.Sequential(
            _WideGroupNorm(out_channels, groups, variant),
            nn.SiLU(),
            nn.Dropout(dropout),
            zero(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        same = out_channels == channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def _resample(self, x: Tensor) -> Tensor:
        if self.resample == "up":
            return F.interpolate(x, scale_factor=2, mode="nearest")
        return F.avg_pool2d(x, 2) if self.resample == "down" else x

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        normalise, activate, convolve = self.in_layers
        h = activate(normalise(x))
        h = convolve(self._resample(h) if self.resample == "down" else h)
        x = self._resample(x)
        with torch.autocast(x.device.type, enabled=False):
            embedded = self.emb_layers(embedding).to(h.dtype)[..., None, None]
        if self.scale_shift:
            scale, shift = embedded.chunk(2, 1)
            h = torch.addcmul(shift, self.out_layers[0](h), 1 + scale)
            h = self.out_layers[1:](h)
        else:
            h = self.out_layers(h + embedded)
        return self.skip_connection(x) + h


class Upsample(nn.Module):
    """Nearest x2, then a convolution (where the network does not resample inside its residual blocks)."""

    def __init__(self, channels: int, convolve: bool) -> None:
        super().__init__()
        self.conv = UpsampledConv2d(channels, channels) if convolve else nn.Upsample(scale_factor=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Downsample(nn.Module):
    """A strided convolution, or the mean of 2x2. Ho et al. pad as TensorFlow does: right and bottom only."""

    def __init__(self, channels: int, convolve: bool, variant: UNetVariant) -> None:
        super().__init__()
        self.pad_after = convolve and variant == "ho"
        padding = 0 if self.pad_after else 1
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=padding) if convolve else nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(F.pad(x, (0, 1, 0, 1)) if self.pad_after else x)


class Block(nn.Sequential):
    """Layers in a row; residual blocks also get the time embedding."""

    def forward(self, x: Tensor, embedding: Tensor, recompute: bool = False) -> Tensor:  # type: ignore[override]
        for layer in self:
            inputs = (x, embedding) if isinstance(layer, ResBlock) else (x,)
            x = checkpoint(layer, *inputs, use_reentrant=False) if recompute else layer(*inputs)
        return x


@dataclass(frozen=True)
class _Parts:
    """The layers of one network, which differ from level to level in their channels alone."""

    time_width: int
    dropout: float
    scale_shift: bool
    groups: int
    variant: UNetVariant
    head_channels: int | None
    new_order: bool
    resblock_updown: bool
    conv_resample: bool

    def residual(self, channels: int, out: int, resample: Literal["up", "down"] | None = None) -> ResBlock:
        given = self.time_width, out, self.dropout, self.scale_shift, self.groups, self.variant
        return ResBlock(channels, *given, resample=resample)

    def stage(self, channels: int, out: int, heads: int | None) -> list[nn.Module]:
        """A residual block and, unless ``heads`` is None, attention after it."""
        block = self.residual(channels, out)
        return [block] if heads is None else [block, self._attention(out, heads)]

    def _attention(self, channels: int, heads: int) -> _AttentionBlock:
        count = heads if self.head_channels is None else channels // self.head_channels
        if count == 0 or channels % count:
            given = f"num_heads={heads}, num_head_channels={self.head_channels}"
            raise ValueError(f"{channels} channels cannot be split into heads: {given}.")
        return _AttentionBlock(channels, count, self.new_order, self.groups, self.variant)

    def down(self, channels: int) -> nn.Module:
        if self.resblock_updown:
            return self.residual(channels, channels, "down")
        return Downsample(channels, self.conv_resample, self.variant)

    def up(self, channels: int) -> nn.Module:
        if self.resblock_updown:
            return self.residual(channels, channels, "up")
        return Upsample(channels, self.conv_resample)


def attention_factors(image_size: Size, resolutions: Sequence[int], levels: int) -> list[int]:
    """Downsampling factors at which the feature maps of such images have the ``resolutions``, by their shorter sides.

    Raises:
        ValueError: The image cannot be halved that often.

    >>> attention_factors(256, (32, 16, 8), 6), attention_factors((48, 80), (12,), 3)
    ([8, 16, 32], [4])
    """
    if any(side % 2 ** (levels - 1) for side in sides(image_size)):
        raise ValueError(
            f"image_size is {image_size}; a UNet of {levels} levels takes sides that are multiples of "
            f"{2 ** (levels - 1)}. Change it, or give fewer numbers as channel_mult."
        )
    return [min(sides(image_size)) // resolution for resolution in resolutions]


class UNet(nn.Module):
    """Noise (and variance) of an image, given the timestep.

    Normalisations, what becomes of the timestep, and the last convolution stay in float32 under autocast, as under
    guided-diffusion's ``use_fp16``: bfloat16 cannot tell neighbouring noise levels apart, and its rounding of the noise
    is that of x_0 times 157 at the noisiest of 1000 steps.

    >>> network = UNet(model_channels=64, num_res_blocks=1, channel_mult=(1, 1), attention_factors=())
    >>> network(torch.zeros(1, 3, 32, 32), torch.tensor([5])).shape
    torch.Size([1, 6, 32, 32])

    Args:
        in_channels: 3, or more where the network is given a condition beside x_t.
        out_channels: 3 (noise) or 6 (noise, then the interpolation v of the log-variance).
        channel_mult: Width of each level in units of ``model_channels``; a level halves the side.
        attention_factors: Downsampling factors at which residual blocks are followed by attention.
        num_heads: Used where ``num_head_channels`` is None.
        num_heads_upsample: Heads in the decoder; None for ``num_heads``.
        norm_groups: Groups of each normalisation: 32 as published, which erase the mean of each of 32 channels.
        use_checkpoint: Recompute activations in the backward pass: slower, far less memory.
        variant: "ho" differs in the time embedding, the epsilon of the normalisation and the padding of strided
            convolutions.
    """

    def __init__(
        self,
        in_channels: int = 3,
        model_channels: int = 256,
        out_channels: int = 6,
        num_res_blocks: int = 2,
        channel_mult: Sequence[float] = (1, 1, 2, 2, 4, 4),
        attention_factors: Sequence[int] = (8, 16, 32),
        num_heads: int = 4,
        num_head_channels: int | None = 64,
        num_heads_upsample: int | None = None,
        use_scale_shift_norm: bool = True,
        resblock_updown: bool = True,
        conv_resample: bool = True,
        use_new_attention_order: bool = False,
        num_classes: int | None = None,
        dropout: float = 0.0,
        norm_groups: int = 32,
        use_checkpoint: bool = False,
        variant: UNetVariant = "guided-diffusion",
    ) -> None:
        super().__init__()
        self.model_channels, self.num_classes, self.variant = model_channels, num_classes, variant
        self.use_checkpoint = use_checkpoint
        width = 4 * model_channels
        self.time_embed = nn.Sequential(nn.Linear(model_channels, width), nn.SiLU(), nn.Linear(width, width))
        if num_classes is not None:
            self.label_emb = nn.Embedding(num_classes, width)
        normal, resample = (norm_groups, variant), (resblock_updown, conv_resample)
        parts = _Parts(
            width, dropout, use_scale_shift_norm, *normal, num_head_channels, use_new_attention_order, *resample
        )
        widths = [int(mult * model_channels) for mult in channel_mult]
        levels = [(out, 2**level in attention_factors) for level, out in enumerate(widths)]

        self.input_blocks = nn.ModuleList([Block(nn.Conv2d(in_channels, widths[0], 3, padding=1))])
        skips = [widths[0]]  # channels of each of them
        for level, (out, attends) in enumerate(levels):
            for _ in range(num_res_blocks):
                self.input_blocks.append(Block(*parts.stage(skips[-1], out, num_heads if attends else None)))
                skips.append(out)
            if level < len(levels) - 1:
                self.input_blocks.append(Block(parts.down(skips[-1])))
                skips.append(skips[-1])
        channels = skips[-1]
        self.middle_block = Block(*parts.stage(channels, channels, num_heads), parts.residual(channels, channels))
        self.output_blocks = nn.ModuleList()
        for level, (out, attends) in reversed(list(enumerate(levels))):
            for index in range(num_res_blocks + 1):
                layers = parts.stage(
                    channels + skips.pop(), out, (num_heads_upsample or num_heads) if attends else None
                )
                channels = out
                up = [parts.up(channels)] if level and index == num_res_blocks else []
                self.output_blocks.append(Block(*layers, *up))
        self.out = nn.Sequential(
            _WideGroupNorm(channels, norm_groups, variant),
            nn.SiLU(),
            zero(nn.Conv2d(channels, out_channels, 3, padding=1)),
        )

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """``x`` (B, in_channels, H, W), ``t`` (B,) original timesteps, ``label`` (B,) class numbers."""
        if (label is None) != (self.num_classes is None):
            raise ValueError(
                f"label is {label} for {self.num_classes} classes; give one per image if there are classes."
            )
        recompute = self.use_checkpoint and torch.is_grad_enabled()
        embedding = timestep_embedding(t, self.model_channels, self.variant)
        with torch.autocast(x.device.type, enabled=False):
            embedding = self.time_embed(embedding.to(next(self.parameters()).dtype))
        if label is not None:
            embedding = embedding + self.label_emb(label)
        skips, h = [], x
        for block in self.input_blocks:
            h = block(h, embedding, recompute)
            skips.append(h)
        h = self.middle_block(h, embedding, recompute)
        for block in self.output_blocks:
            h = block(torch.cat([h, skips.pop()], 1), embedding, recompute)
        with torch.autocast(x.device.type, enabled=False):
            return self.out(h.to(self.out[-1].weight.dtype))


def zero(module: nn.Module) -> nn.Module:
    """Zero a layer, so that its branch contributes nothing at the start of training."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
