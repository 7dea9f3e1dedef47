"""Free-form holes of DeepFill v2, and mmagic's irregular strokes."""

import math
from dataclasses import dataclass

import numpy as np

from masks.rectangles import DeepFillV1Rectangle
from masks.shapes import Point, Shape, ShapeGenerator, Stroke, integer, shrink


@dataclass(frozen=True)
class FreeFormStrokes(ShapeGenerator):
    """1-3 zigzag brush strokes (Yu et al. 2019, Algorithm 1 as in ``brush_stroke_mask`` of the official program).

    A stroke has 4-11 segments whose angle lies around 2 pi / 5, mirrored at every other vertex; their length is
    normal with mean diagonal / 8, cut to [0, diagonal / 4]; the brush is 12-39 pixels wide with round joints.
    The official program swaps the axes of images that are not square; here the strokes cover the whole image.

    Args:
        size: Shorter side for which the widths are meant; smaller images get them in proportion.
    """

    size: int = 256

    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        scale = shrink(height, width, self.size)
        radius = math.hypot(height, width) / 8
        deviation = radius // 2
        count = integer(rng.random(), 1, 3)
        heads = rng.random((count, 6)).tolist()
        turns, lengths = rng.random((count, 11)).tolist(), rng.standard_normal((count, 11)).tolist()
        strokes: list[Shape] = []
        for (vertices, low, high, u_x, u_y, brush), turn, length in zip(heads, turns, lengths, strict=True):
            low, high = 2 * math.pi * (1 / 5 - low / 15), 2 * math.pi * (1 / 5 + high / 15)
            x, y = int(u_x * width), int(u_y * height)
            points: list[Point] = [(x, y)]
            for i in range(integer(vertices, 4, 11)):
                angle = low + (high - low) * turn[i]
                step = min(max(radius + deviation * length[i], 0.0), 2 * radius)
                x = int(min(max(x + step * math.cos(angle), 0), width))
                # 2 pi - angle at even vertices turns the sign of the sine alone.
                y = int(min(max(y + step * math.sin(-angle if i % 2 == 0 else angle), 0), height))
                points.append((x, y))
            thickness = max(1, int((12 + 28 * brush) * scale))
            strokes.append(Stroke(points, [thickness] * (len(points) - 1)))
        return strokes


@dataclass(frozen=True)
class DeepFillV2Mask(ShapeGenerator):
    """The training hole of DeepFill v2: :class:`FreeFormStrokes` united with a :class:`DeepFillV1Rectangle`.

    The official program draws both and takes their logical or; the paper speaks of either.

    Args:
        size: Shorter side for which the pixels are meant; smaller images get them in proportion.
    """

    size: int = 256

    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        rectangle = DeepFillV1Rectangle(self.size).shapes(height, width, rng)
        return rectangle + FreeFormStrokes(self.size).shapes(height, width, rng)
