"""The spatially discounted weight of DeepFill v1 (Yu et al. 2018, section 3.3)."""

import torch
from torch import Tensor


def spatial_discount(size: int, gamma: float = 0.9) -> Tensor:
    """gamma to the distance, in pixels, to the nearest border of a square hole, (size, size).

    As in the official program: the first row and column have distance 0, the last ones distance 1, and the map belongs
    to the square around the hole, whatever its shape; the paper's text counts the distance to the nearest known pixel.

    >>> spatial_discount(4, gamma=0.5)
    tensor([[1.0000, 1.0000, 1.0000, 1.0000],
            [1.0000, 0.5000, 0.5000, 0.5000],
            [1.0000, 0.5000, 0.2500, 0.5000],
            [1.0000, 0.5000, 0.5000, 0.5000]])
    """
    index = torch.arange(size)
    distance = torch.minimum(index, size - index)
    return gamma ** torch.minimum(distance[:, None], distance[None, :]).float()
