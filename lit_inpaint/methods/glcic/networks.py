"""The completion network and the joint discriminator of GLCIC (Iizuka et al. 2017, tables 1 to 3)."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from masks.size import Size, sides

Order = Literal["norm_relu", "relu_norm"]

# (kernel, stride, dilation, channels in multiples of the width) of layers 1-12.
_ENCODER = (
    *((5, 1, 1, 1), (3, 2, 1, 2), (3, 1, 1, 2), (3, 2, 1, 4), (3, 1, 1, 4), (3, 1, 1, 4)),
    *((3, 1, 2, 4), (3, 1, 4, 4), (3, 1, 8, 4), (3, 1, 16, 4), (3, 1, 1, 4), (3, 1, 1, 4)),
)


class Block(nn.Module):
    """Convolution, batch norm, ReLU (in otenim's port: convolution, ReLU, batch norm)."""

    def __init__(self, conv: nn.Module, channels: int, order: Order = "norm_relu") -> None:
        super().__init__()
        self.conv, self.order = conv, order
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.order == "relu_norm":
            return self.norm(self.conv(x).relu())
        return self.norm(self.conv(x)).relu()


class CompletionNetwork(nn.Module):
    """Seventeen layers: two halvings, four dilated convolutions, two doublings; any multiple of 4 px.

    Args:
        width: Channels of the first layer; 64 in the paper.
        order: "norm_relu" is the paper's, "relu_norm" otenim's.
    """

    def __init__(self, width: int = 64, order: Order = "norm_relu") -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 4
        for kernel, stride, dilation, factor in _ENCODER:
            padding = dilation * (kernel // 2)
            conv: nn.Module = nn.Conv2d(channels, factor * width, kernel, stride, padding, dilation)
            channels = factor * width
            layers.append(Block(conv, channels, order))
        for up, outputs in ((True, 2 * width), (False, 2 * width), (True, width), (False, width // 2)):
            conv = nn.ConvTranspose2d(channels, outputs, 4, 2, 1) if up else nn.Conv2d(channels, outputs, 3, 1, 1)
            layers.append(Block(conv, outputs, order))
            channels = outputs
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 3, 3, 1, 1))

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Image (B, 3, H, W) with its hole filled and mask (B, 1, H, W), 1 = hole, to (B, 3, H, W) before the last
        activation."""
        x = self.layers[:-1](torch.cat([image, mask], 1))
        with torch.autocast(x.device.type, enabled=False):  # a step of bfloat16 near 1 is half a grey level
            return self.layers[-1](x.to(image.dtype))


class _Branch(nn.Module):
    """Strided 5x5 convolutions to about 4 px (six from 256, five from 128, 160 and 96), then ``features`` numbers.

    Of an image that is not square, the shorter side comes to about 4 px.
    """

    def __init__(self, size: Size, width: int, features: int, order: Order) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, (rows, columns) = 3, sides(size)
        for i in range(round(math.log2(min(rows, columns) / 4))):
            outputs = width * min(2**i, 8)
            layers.append(Block(nn.Conv2d(channels, outputs, 5, 2, 2), outputs, order))
            channels, rows, columns = outputs, -(-rows // 2), -(-columns // 2)
        self.layers = nn.Sequential(*layers)
        self.linear = nn.Linear(channels * rows * columns, features)

    def forward(self, image: Tensor) -> Tensor:
        return self.linear(self.layers(image).flatten(1)).relu()


class JointDiscriminator(nn.Module):
    """One logit from the whole image and a crop around the hole, (B,). No mask channel.

    Args:
        size: Side of the whole image, or (height, width).
        local_size: Side of the crop.
        width: Channels of the first layer of both branches.
        features: Numbers that each branch hands on; 1024 in the paper.
    """

    def __init__(
        self,
        size: Size = 256,
        local_size: int = 128,
        width: int = 64,
        features: int = 1024,
        order: Order = "norm_relu",
    ) -> None:
        super().__init__()
        self.whole = _Branch(size, width, features, order)
        self.local = _Branch(local_size, width, features, order)
        self.linear = nn.Linear(2 * features, 1)

    def forward(self, image: Tensor, crop: Tensor) -> Tensor:
        return self.linear(torch.cat([self.whole(image), self.local(crop)], 1)).flatten()
