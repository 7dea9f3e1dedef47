"""Shapes in pixels: what the generators draw and what tests read."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from masks.generator import Mask, MaskGenerator

Point = tuple[int, int]


class Box(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right``, ends excluded."""

    top: int
    left: int
    bottom: int
    right: int

    def draw(self, mask: Mask) -> None:
        mask[self.top : self.bottom, self.left : self.right] = 1


class Stroke(NamedTuple):
    """A brush that goes through ``points``, each (x, y); segment i is ``widths[i]`` pixels wide with round ends."""

    points: list[Point]
    widths: list[int]

    def draw(self, mask: Mask) -> None:
        for start, end, width in zip(self.points, self.points[1:], self.widths, strict=False):
            cv2.line(mask, start, end, 1, width)


class Outline(NamedTuple):
    """A filled polygon through ``points``, each (x, y)."""

    points: list[Point]

    def draw(self, mask: Mask) -> None:
        cv2.fillPoly(mask, [np.array(self.points, np.int32)], 1)


Shape = Box | Stroke | Outline


def draw(shapes: Sequence[Shape], height: int, width: int) -> Mask:
    """The union of ``shapes``, (height, width) uint8, 1 inside."""
    mask = np.zeros((height, width), np.uint8)
    for shape in shapes:
        shape.draw(mask)
    return mask


class ShapeGenerator(MaskGenerator):
    """A distribution of shapes; the mask is their union."""

    @abstractmethod
    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        """The geometry of the mask that ``__call__`` draws from the same ``rng``."""

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        return draw(self.shapes(height, width, rng), height, width)


def proportion(height: int, width: int, size: int) -> float:
    """Factor for a law stated in pixels at a shorter side of ``size``, so that hole shares do not depend on resolution.

    The published programs keep their pixels at any size; ``size`` = the shorter side of the image does the same.

    >>> proportion(512, 768, size=256), proportion(64, 128, size=256)
    (2.0, 0.25)
    """
    return min(height, width) / size


def integer(u: float, low: int, high: int) -> int:
    """The uniform number ``u`` in [0, 1) as an integer from ``low`` to ``high``, both included.

    >>> integer(0.0, 4, 6), integer(0.5, 4, 6), integer(0.999, 4, 6)
    (4, 5, 6)
    """
    return low + int(u * (high - low + 1))
