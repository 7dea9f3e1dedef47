"""The holes that ICT's transformer is trained with."""

import math
from dataclasses import dataclass

import numpy as np

from masks.shapes import Point, Shape, ShapeGenerator, Stroke, integer, proportion


@dataclass(frozen=True)
class ICTStrokes(ShapeGenerator):
    """5-13 strokes of up to 25 segments (Wan et al. 2021; ``generate_stroke_mask`` of raywzy/ICT, ``--random_stroke``).

    A segment points at whole degrees, is 0-100 pixels long, ends at the border and has an even width of 10-24 pixels.
    The program draws at 256 and gives the transformer the nearest pixel of each token, as ``ICTTransformer`` does.

    >>> mask = ICTStrokes()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '65% hole'

    Args:
        size: Shorter side for which the pixels are meant; others get them in proportion.
    """

    size: int = 256

    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        scale = proportion(height, width, self.size)
        heads = rng.random((integer(rng.random(), 5, 13), 3)).tolist()
        draws = rng.random((len(heads), 25, 3)).tolist()
        strokes: list[Shape] = []
        for (u_x, u_y, vertices), segments in zip(heads, draws, strict=True):
            x, y = int(u_x * width), int(u_y * height)
            points: list[Point] = [(x, y)]
            widths: list[int] = []
            for i in range(integer(vertices, 0, 25)):
                u_angle, u_length, u_brush = segments[i]
                angle = math.radians(integer(u_angle, 0, 360))
                length = integer(u_length, 0, 100) * scale
                x = int(min(max(x + length * math.sin(angle if i % 2 else -angle), 0), width - 1))
                y = int(min(max(y + length * math.cos(angle), 0), height - 1))
                points.append((x, y))
                widths.append(max(1, int(integer(u_brush, 10, 24) // 2 * 2 * scale)))
            strokes.append(Stroke(points, widths))
        return strokes
