"""A mask law in ten lines."""

from dataclasses import dataclass

import numpy as np

from masks.generator import Mask, MaskGenerator


@dataclass(frozen=True)
class Cross(MaskGenerator):
    """A row and a column, ``width`` pixels wide, anywhere."""

    width: int = 8

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        y, x = np.ogrid[:height, :width]
        row, column = rng.integers(height - self.width), rng.integers(width - self.width)
        return ((y - row < self.width) & (y >= row) | (x - column < self.width) & (x >= column)).astype(np.uint8)
