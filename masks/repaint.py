"""The six evaluation masks of RePaint (Lugmayr et al. 2022, section 5.2). Wide and Narrow are in masks/lama.py."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from masks.generator import Mask, MaskGenerator
from masks.shapes import Box, Shape, ShapeGenerator

Phase = Literal["odd", "even"]


def _first(keep: str) -> int:
    if keep not in ("odd", "even"):
        raise ValueError(f"keep is {keep!r}; expected 'odd' or 'even': which rows, counted from 0, stay known.")
    return int(keep == "odd")


@dataclass(frozen=True)
class SuperResolve2x(MaskGenerator):
    """Known pixels on a lattice of stride 2 in both axes, a quarter of the image (the authors' folder ``nn2``).

    >>> SuperResolve2x()(2, 4, np.random.default_rng(0))
    array([[1, 1, 1, 1],
           [1, 0, 1, 0]], dtype=uint8)

    Args:
        keep: Rows and columns that stay known, counted from 0. Neither paper nor code of RePaint states it; CoPaint's
            re-implementation keeps the odd ones.
    """

    keep: Phase = "odd"

    def __post_init__(self) -> None:
        _first(self.keep)

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        mask = np.ones((height, width), np.uint8)
        mask[_first(self.keep) :: 2, _first(self.keep) :: 2] = 0
        return mask


@dataclass(frozen=True)
class AlternatingLines(MaskGenerator):
    """Every second row is missing (the authors' folder ``ev2li``).

    >>> AlternatingLines()(4, 2, np.random.default_rng(0))[:, 0]
    array([1, 0, 1, 0], dtype=uint8)

    Args:
        keep: Rows that stay known, counted from 0; see :class:`SuperResolve2x`.
    """

    keep: Phase = "odd"

    def __post_init__(self) -> None:
        _first(self.keep)

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        mask = np.ones((height, width), np.uint8)
        mask[_first(self.keep) :: 2] = 0
        return mask


@dataclass(frozen=True)
class Half(ShapeGenerator):
    """The right half is missing (the authors' folder ``genhalf``).

    >>> Half()(1, 4, np.random.default_rng(0))
    array([[0, 0, 1, 1]], dtype=uint8)
    """

    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        return [Box(0, width - width // 2, height, width)]


@dataclass(frozen=True)
class Expand(MaskGenerator):
    """All but a centre of a quarter of each side is missing: 64 of 256 pixels (the authors' folder ``ex64``).

    >>> mask = Expand()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '94% hole'
    """

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        mask = np.ones((height, width), np.uint8)
        rows, columns = max(1, height // 4), max(1, width // 4)
        top, left = (height - rows) // 2, (width - columns) // 2
        mask[top : top + rows, left : left + columns] = 0
        return mask
