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
        height, width = mask.shape
        # One call draws the same pixels as a line a segment, but each joint once; it pays from about four segments on.
        constant = len(self.widths) > 3 and self.widths.count(self.widths[0]) == len(self.points) - 1
        if constant and all(0 <= x <= width and 0 <= y <= height for x, y in self.points):
            cv2.polylines(mask, [np.array(self.points, np.int32)], False, 1, self.widths[0])
            return
        for start, end, brush in zip(self.points, self.points[1:], self.widths, strict=False):
            if 0 <= start[0] <= width and 0 <= start[1] <= height and 0 <= end[0] <= width and 0 <= end[1] <= height:
                cv2.line(mask, start, end, 1, brush)
            else:
                _draw_spilling_line(mask, start, end, brush)


def _draw_spilling_line(mask: Mask, start: Point, end: Point, brush: int) -> None:
    """Draw on an array that holds the whole line: with ends outside of it, OpenCV 4 and 5 round differently."""
    left, top = min(start[0], end[0]) - brush, min(start[1], end[1]) - brush
    right, bottom = max(start[0], end[0]) + brush + 1, max(start[1], end[1]) + brush + 1
    if right <= 0 or bottom <= 0 or left >= mask.shape[1] or top >= mask.shape[0]:
        return
    line = np.zeros((bottom - top, right - left), np.uint8)
    cv2.line(line, (start[0] - left, start[1] - top), (end[0] - left, end[1] - top), 1, brush)
    line = line[max(0, -top) : mask.shape[0] - top, max(0, -left) : mask.shape[1] - left]
    seen = mask[max(0, top) : bottom, max(0, left) : right]
    np.bitwise_or(seen, line, out=seen)


class Outline(NamedTuple):
    """A filled polygon through ``points``, each (x, y)."""

    points: list[Point]

    def draw(self, mask: Mask) -> None:
        # Not cv2.fillPoly, whose edges differ between OpenCV 4 and 5. A pixel is inside if an odd number of edges lies
        # to its left: each edge toggles one pixel in each of its rows, and sums of toggles from the left fill them.
        height, width = mask.shape
        toggles = np.zeros((height, width + 1), np.uint8)
        for start, end in zip(self.points, self.points[1:] + self.points[:1], strict=True):
            cv2.line(mask, start, end, 1)
            (x, y), (to_x, to_y) = sorted((start, end), key=lambda point: point[1])
            rows = np.arange(max(y, 0), min(to_y, height))
            if len(rows):
                crossings = np.ceil(x + (rows - y) * ((to_x - x) / (to_y - y))).clip(0, width).astype(int)
                toggles[rows, crossings] ^= 1
        np.bitwise_or(mask, np.bitwise_xor.accumulate(toggles, axis=1)[:, :width], out=mask)


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
