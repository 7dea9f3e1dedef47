"""Structure generator of DSI (Peng et al. 2021, section 3.2): a conditional PixelCNN++ over the top codes.

Layer by layer as net/structure_generator.py and net/nn.py of the official code.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint.layers.tf_same import same_padding

Shift = Literal["none", "down", "down_right"]


def _concat_elu(x: Tensor) -> Tensor:
    """ELU of x and of -x: twice the channels (Salimans et al. 2017)."""
    return F.elu(torch.cat([x, -x], dim=1))


class WNConv2d(nn.Module):
    """Convolution with weight normalisation, ``g v / ||v||`` for each output channel (Salimans and Kingma 2016).

    v from N(0, 0.05^2), g 1, bias 0 and no data-dependent initialisation, as in the official code.

    Args:
        shift: Where zeros are added: "none" as TensorFlow's SAME; "down" above and on both sides, so that an output
            sees its own row and rows above; "down_right" above and to the left.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int] = (1, 1),
        stride: int = 1,
        dilation: int = 1,
        shift: Shift = "none",
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.dilation, self.shift = kernel, stride, dilation, shift
        self.v = nn.Parameter(0.05 * torch.randn(outputs, inputs, *kernel))
        self.g = nn.Parameter(torch.ones(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def weight(self) -> Tensor:
        with torch.autocast(self.v.device.type, enabled=False):
            return self.v * (self.g * self.v.square().sum((1, 2, 3)).clamp_min(1e-12).rsqrt()).view(-1, 1, 1, 1)

    def padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Left, right, top, bottom."""
        rows, columns = self.kernel
        if self.shift == "down":
            return (columns - 1) // 2, (columns - 1) // 2, rows - 1, 0
        if self.shift == "down_right":
            return columns - 1, 0, rows - 1, 0
        return (
            *same_padding(width, columns, self.stride, self.dilation),
            *same_padding(height, rows, self.stride, self.dilation),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, self.padding(x.shape[-2], x.shape[-1]))
        return F.conv2d(x, self.weight(), self.bias, self.stride, 0, self.dilation)


class CausalAttention(nn.Module):
    """Every position attends to those strictly before it in raster order; the first one gets zeros before ``out``.

    Queries and keys have width / 8 channels a head, values width / 2 (net/nn.py, ``gated_resnet``).
    """

    def __init__(self, width: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (WNConv2d(width, heads * (width // n)) for n in (8, 8, 2))
        self.out = WNConv2d(heads * (width // 2), width)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            query, key, value = (
                self._split(layer(x.to(layer.v.dtype))) for layer in (self.query, self.key, self.value)
            )
            # Position i asks and only those before it answer: a causal mask of queries from 1 on over keys up to N - 2.
            mixed = F.scaled_dot_product_attention(query[:, :, 1:], key[:, :, :-1], value[:, :, :-1], is_causal=True)
            mixed = F.pad(mixed, (0, 0, 1, 0)).mT.reshape(len(x), -1, *x.shape[-2:])
            return self.out(mixed)

    def _split(self, x: Tensor) -> Tensor:
        """(B, heads * C, H, W) to (B, heads, H * W, C)."""
        return x.view(len(x), self.heads, -1, x.shape[-2] * x.shape[-1]).mT


class GatedResNet(nn.Module):
    """Gated residual block of PixelCNN++ with the condition in it (net/nn.py, ``gated_resnet``).

    Args:
        width: Channels in and out.
        kernel: Kernel size of both convolutions.
        dilation: Dilation of the first.
        shift: See :class:`WNConv2d`.
        beside: Whether it takes the features of the other stream.
        condition: Channels of the condition; 0 for none.
        heads: Heads of the causal attention at its end; 0 for none.
        dropout: Share of the residual that is zeroed in training.
    """

    def __init__(
        self,
        width: int,
        kernel: tuple[int, int] = (3, 3),
        dilation: int = 1,
        shift: Shift = "none",
        beside: bool = False,
        condition: int = 0,
        heads: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.conv1 = WNConv2d(2 * width, width, kernel, dilation=dilation, shift=shift)
        self.beside = WNConv2d(2 * width, width) if beside else None
        self.conv2 = WNConv2d(2 * width, 2 * width, kernel, shift=shift)
        self.condition = WNConv2d(2 * condition, 2 * width) if condition else None
        self.attention = CausalAttention(width, heads) if heads else None

    def forward(self, x: Tensor, beside: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        """``condition`` after :func:`_concat_elu`, which is the same for every block."""
        hidden = self.conv1(_concat_elu(x))
        if self.beside is not None and beside is not None:
            hidden = hidden + self.beside(_concat_elu(beside))
        hidden = self.conv2(_concat_elu(hidden))
        if self.condition is not None and condition is not None:
            hidden = hidden + self.condition(condition)
        features, gate = hidden.chunk(2, dim=1)
        out = features * torch.sigmoid(gate)
        if self.attention is not None:
            out = out + self.attention(out)
        return x + F.dropout(out, self.dropout, self.training)


class ConditionNet(nn.Module):
    """Erased image, ones and mask to features an eighth as wide and high: 36,959,392 parameters.

    Args:
        width: Channels at full size; 8 times as many at an eighth.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [WNConv2d(5, width, (5, 5))]
        for channels in (width, 2 * width, 4 * width):
            layers += [GatedResNet(channels), WNConv2d(channels, 2 * channels, (3, 3), stride=2)]
        layers += [GatedResNet(8 * width, dilation=dilation) for dilation in (1, 1, 1, 2, 4, 8, 16, 1, 1, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, erased: Tensor, mask: Tensor) -> Tensor:
        return self.layers(torch.cat([erased, torch.ones_like(mask), mask], dim=1))


class PixelCNN(nn.Module):
    """Logits of every top code given those before it in raster order and the condition: 26,769,536 parameters.

    ``rows`` is the stream of all rows above a position, ``both`` the one that sees the row up to its left as well.

    Args:
        width: Channels of both streams (128); a multiple of 8.
        groups: Groups of blocks, each ending with one that attends (4).
        blocks: Blocks a group, for either stream (5).
        out_blocks: Blocks of 1x1 convolutions at the end (20).
        heads: Attention heads.
        condition: Channels of the condition.
        channels: Length of a code.
        codes: Number of codes.
    """

    def __init__(
        self,
        width: int = 128,
        groups: int = 4,
        blocks: int = 5,
        out_blocks: int = 20,
        heads: int = 8,
        condition: int = 256,
        channels: int = 64,
        codes: int = 512,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.first_rows = WNConv2d(channels + 1, width, (2, 3), shift="down")
        self.first_above = WNConv2d(channels + 1, width, (1, 3), shift="down")
        self.first_left = WNConv2d(channels + 1, width, (2, 1), shift="down_right")
        self.rows, self.both = nn.ModuleList(), nn.ModuleList()
        for block in range(groups * blocks):
            attends = heads if block % blocks == blocks - 1 else 0
            self.rows.append(GatedResNet(width, (2, 3), shift="down", condition=condition, dropout=dropout))
            self.both.append(
                GatedResNet(width, (2, 2), 1, "down_right", True, condition, heads=attends, dropout=dropout)
            )
        self.out = nn.ModuleList(WNConv2d(width, width) for _ in range(out_blocks))
        self.logits = WNConv2d(width, codes)

    def forward(self, quantised: Tensor, condition: Tensor) -> Tensor:
        """Quantised features (B, C, h, w), of which a logit sees what lies before it; logits (B, codes, h, w)."""
        x = torch.cat([quantised, torch.ones_like(quantised[:, :1])], dim=1)  # ones tell the image from the padding
        condition = _concat_elu(condition)
        rows = _down_shift(self.first_rows(x))
        both = _down_shift(self.first_above(x)) + _right_shift(self.first_left(x))
        for block_rows, block_both in zip(self.rows, self.both, strict=True):
            rows = block_rows(rows, None, condition)
            both = block_both(both, rows, condition)
        for layer in self.out:
            both = both + layer(F.elu(both))
        return self.logits(F.elu(both)).float()


def _down_shift(x: Tensor) -> Tensor:
    return F.pad(x, (0, 0, 1, 0))[..., :-1, :]


def _right_shift(x: Tensor) -> Tensor:
    return F.pad(x, (1, 0))[..., :-1]


class Structure(nn.Module):
    """Condition network and PixelCNN, and the sampling of structures from them."""

    def __init__(self, condition_width: int, pixelcnn: PixelCNN) -> None:
        super().__init__()
        self.condition = ConditionNet(condition_width)
        self.pixelcnn = pixelcnn

    @torch.no_grad()
    def sample(
        self,
        erased: Tensor,
        mask: Tensor,
        embedding: Tensor,
        generators: Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Quantised features (B, C, H / 8, W / 8) drawn in raster order, all of them, known or not, as published.

        A position needs the rows down to its own only, so the network runs on those: one half of the work. One uniform
        number a position is drawn for each image from its own generator, and the code is found by inverting the
        distribution function, so the other images of the batch do not matter.
        """
        condition = self.condition(erased, mask)
        batch, _, height, width = condition.shape
        sources: Sequence[torch.Generator | None] = generators or [None] * batch
        draws = [torch.rand(height * width, generator=source, dtype=torch.float64) for source in sources]
        uniform = torch.stack(draws).to(erased.device).view(batch, height, width)
        quantised = condition.new_zeros(batch, embedding.shape[1], height, width, dtype=embedding.dtype)
        for row in range(height):
            for column in range(width):
                seen = slice(0, row + 1)
                logits = self.pixelcnn(quantised[:, :, seen], condition[:, :, seen])[:, :, row, column]
                cumulative = torch.softmax(logits.double(), dim=1).cumsum(dim=1)
                drawn = uniform[:, row, column, None] * cumulative[:, -1:]
                codes = torch.searchsorted(cumulative, drawn, right=True).clamp(max=len(embedding) - 1)
                quantised[:, :, row, column] = embedding[codes[:, 0]]
        return quantised
