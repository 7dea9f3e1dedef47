"""The six evaluation masks of RePaint (Lugmayr et al. 2022, section 5.2). Wide and Narrow are in masks/lama.py."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from masks.combine import AreaBounded, Mixture
from masks.generator import Mask, MaskGenerator
from masks.lama import LaMaBoxes, LaMaStrokes
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
        keep: Rows and columns that stay known, counted from 0: the odd ones in the authors' files, and in CoPaint.
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


@dataclass(frozen=True)
class RePaintWide(MaskGenerator):
    """Wide as in the authors' 100 files (folder ``thick``): half of the masks strokes, half boxes, of LaMa's thick law.

    51 of the files show boxes, where LaMa's weights (1 and 0.3) and its cap of half the image give 36 of 100. No box
    comes closer than 10 pixels to a side, LaMa's margin at 256: nothing was cropped after drawing. Within each kind
    the hole shares are those of LaMa's law.

    >>> mask = RePaintWide()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '2% hole'

    Args:
        size: Shorter side for which the pixels are meant; others get them in proportion.
        cap: Largest hole share; masks above it are redrawn, of the same kind. 1 disables the cap.
    """

    size: int = 256
    cap: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.cap <= 1:
            raise ValueError(f"RePaintWide got cap={self.cap:g}; expected a share above 0, at most 1.")

    @cached_property
    def _mixture(self) -> Mixture:
        kinds = LaMaStrokes((1, 5), length=200, width=100, size=self.size), LaMaBoxes((1, 3), size=self.size)
        return Mixture(tuple(AreaBounded(kind, 0, self.cap) for kind in kinds))

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        return self._mixture(height, width, rng)
