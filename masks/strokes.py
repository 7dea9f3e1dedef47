"""Brush strokes: DeepFill v2's free-form holes, and chains of segments as LaMa and mmagic draw them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np

from masks.generator import Mask
from masks.rectangles import DeepFillV1Rectangle
from masks.shapes import Point, Shape, ShapeGenerator, Stroke, integer, proportion


@dataclass(frozen=True)
class FreeFormStrokes(ShapeGenerator):
    """1-3 zigzag brush strokes (Yu et al. 2019, Algorithm 1 as in ``brush_stroke_mask`` of the official program).

    A stroke has 4-11 segments whose angle lies around 2 pi / 5, mirrored at every other vertex; their length is
    normal with mean diagonal / 8, cut to [0, diagonal / 4]; the brush is 12-39 pixels wide with round joints.
    The official program swaps the axes of images that are not square; here the strokes cover the whole image.

    >>> mask = FreeFormStrokes()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '13% hole'

    Args:
        size: Shorter side for which the widths are meant; others get them in proportion.
    """

    size: int = 256

    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        return list(
            zigzags(
                height,
                width,
                rng,
                count=integer(rng.random(), 1, 3),
                segments=(4, 11),
                brush=(12, 40),
                scale=proportion(height, width, self.size),
            )
        )

    def block(self, count: int, height: int, width: int, rng: np.random.Generator) -> Mask:
        """Draw ``count`` masks from one ``rng`` in array calls, (count, height, width) uint8, 1 = hole.

        Faster than one by one and of the same law, but other masks, and each depends on ``count``: for sets that are
        made at once. Training and evaluation key every mask by its own ``rng``.
        """
        radius = math.hypot(height, width) / 8
        strokes = rng.integers(1, 3, count, endpoint=True)
        total = int(strokes.sum())
        low, spread, brush = rng.random((3, total))
        low, spread = 2 * math.pi * (1 / 5 - low / 15), 2 * math.pi * (low + spread) / 15
        angles = low + spread * rng.random((11, total))
        angles[::2] *= -1
        steps = (radius + radius // 2 * rng.standard_normal((11, total))).clip(0, 2 * radius)
        starts = rng.random((total, 2)) * (width, height)
        points = _paths(starts, np.stack((steps * np.cos(angles), steps * np.sin(angles)), -1), height, width)
        ends = rng.integers(4, 11, total, endpoint=True) + 1
        brushes = np.maximum(1, (12 + 28 * brush) * proportion(height, width, self.size)).astype(int)
        drawn = zip(points, ends.tolist(), brushes.tolist(), strict=True)
        masks = np.empty((count, height, width), np.uint8)
        for mask, number in zip(masks, strokes.tolist(), strict=True):
            mask.fill(0)  # not np.zeros: a mask is still in the cache when it is drawn on
            for path, end, thickness in islice(drawn, number):
                cv2.polylines(mask, [path[:end]], False, 1, thickness)
        return masks


def zigzags(
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    count: int,
    segments: tuple[int, int],
    brush: tuple[int, int],
    scale: float,
) -> list[Stroke]:
    """``count`` strokes that turn up and down around 2 pi / 5, see :class:`FreeFormStrokes`.

    Args:
        segments: Fewest and most of a stroke.
        brush: Width in pixels, the second end excluded.
        scale: Factor for the widths.
    """
    radius = math.hypot(height, width) / 8
    deviation = radius // 2
    heads = rng.random((count, 6)).tolist()
    turns = rng.random((count, segments[1])).tolist()
    lengths = rng.standard_normal((count, segments[1])).tolist()
    strokes = []
    for (vertices, low, high, u_x, u_y, u_brush), turn, length in zip(heads, turns, lengths, strict=True):
        low, high = 2 * math.pi * (1 / 5 - low / 15), 2 * math.pi * (1 / 5 + high / 15)
        x, y = int(u_x * width), int(u_y * height)
        points: list[Point] = [(x, y)]
        for i in range(integer(vertices, *segments)):
            angle = low + (high - low) * turn[i]
            step = min(max(radius + deviation * length[i], 0.0), 2 * radius)
            to_x = x + step * math.cos(angle)
            # 2 pi - angle at even vertices turns the sign of the sine alone.
            to_y = y + step * math.sin(angle if i % 2 else -angle)
            x = 0 if to_x < 0 else width if to_x > width else int(to_x)
            y = 0 if to_y < 0 else height if to_y > height else int(to_y)
            points.append((x, y))
        thickness = max(1, int((brush[0] + (brush[1] - brush[0]) * u_brush) * scale))
        strokes.append(Stroke(points, [thickness] * (len(points) - 1)))
    return strokes


def _paths(starts: np.ndarray, moves: np.ndarray, height: int, width: int) -> np.ndarray:
    """``starts`` (N, 2) and the vertices that ``moves`` (steps, N, 2) lead to, each (x, y), cut at the border as they
    come: (N, steps + 1, 2) int32."""
    points = np.empty((len(moves) + 1, len(starts), 2), np.int32)
    points[0] = starts
    for i, move in enumerate(moves):
        points[i + 1] = (points[i] + move).clip(0, (width, height))
    return np.ascontiguousarray(points.swapaxes(0, 1))


@dataclass(frozen=True)
class DeepFillV2Mask(ShapeGenerator):
    """The training hole of DeepFill v2: :class:`FreeFormStrokes` united with a :class:`DeepFillV1Rectangle`.

    The official program draws both and takes their logical or; the paper speaks of either.

    >>> mask = DeepFillV2Mask()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '57% hole'

    Args:
        size: Shorter side for which the pixels are meant; others get them in proportion.
    """

    size: int = 256

    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        rectangle = DeepFillV1Rectangle(self.size).shapes(height, width, rng)
        return rectangle + FreeFormStrokes(self.size).shapes(height, width, rng)


# LaMa and mmagic count whole radians, where degrees or fractions were perhaps meant.
_DIRECTIONS = [(math.sin(0.01 + k), math.cos(0.01 + k)) for k in range(6)]


def radian_chains(
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    times: tuple[int, int],
    angles: int,
    length: tuple[int, int],
    brush: tuple[int, int],
    scale: float,
    clipped: bool = True,
) -> list[Stroke]:
    """Chains of 1-5 segments, each with its own angle, length and brush; every range has both ends included.

    Args:
        times: Fewest and most chains.
        angles: Angles are 0.01 + {0, 1, ... angles - 1} radians, mirrored in every other chain; at most 6.
        length: Length of a segment in pixels.
        brush: Width of a segment, in pixels.
        scale: Factor for both.
        clipped: Whether a chain stops at the border or continues outside.
    """
    starts = rng.random((integer(rng.random(), *times), 3)).tolist()
    segments = [1 + int(5 * u) for _, _, u in starts]
    draws = iter(rng.random((sum(segments), 3)).tolist())
    shortest, lengths, thinnest, widths = length[0], length[1] - length[0] + 1, brush[0], brush[1] - brush[0] + 1
    strokes = []
    for number, (u_x, u_y, _) in enumerate(starts):
        x, y = int(u_x * width), int(u_y * height)
        mirror = scale if number % 2 else -scale
        points: list[Point] = [(x, y)]
        brushes: list[int] = []
        # The hot loop of all masks: nothing is called in it that arithmetic can do.
        for u_angle, u_length, u_brush in islice(draws, segments[number]):
            sine, cosine = _DIRECTIONS[int(angles * u_angle)]
            pixels = shortest + int(u_length * lengths)
            x, y = int(x + pixels * mirror * sine), int(y + pixels * scale * cosine)
            if clipped:
                x = 0 if x < 0 else width if x > width else x
                y = 0 if y < 0 else height if y > height else y
            points.append((x, y))
            brushes.append(int((thinnest + int(u_brush * widths)) * scale) or 1)
        strokes.append(Stroke(points, brushes))
    return strokes


def draw_radian_chains(
    masks: Sequence[Mask],
    rng: np.random.Generator,
    *,
    times: tuple[int, int],
    angles: int,
    length: tuple[int, int],
    brush: tuple[int, int],
    scale: float,
) -> None:
    """Overwrite each of ``masks``, all of one size, with clipped :func:`radian_chains`; random numbers and geometry of
    all masks come from array calls."""
    height, width = masks[0].shape
    chains = rng.integers(*times, len(masks), endpoint=True)
    total = int(chains.sum())
    firsts = chains.cumsum() - chains
    mirror = np.where((np.arange(total) - np.repeat(firsts, chains)) % 2, scale, -scale)
    sine, cosine = np.array(_DIRECTIONS).T[:, rng.integers(angles, size=(5, total))]
    pixels = rng.integers(*length, (5, total), endpoint=True)
    starts = rng.random((total, 2)) * (width, height)
    points = _paths(starts, np.stack((pixels * mirror * sine, pixels * scale * cosine), -1), height, width)
    brushes = np.maximum(1, rng.integers(*brush, (total, 5), endpoint=True) * scale).astype(int)
    segments = rng.integers(1, 5, total, endpoint=True)
    kept = np.arange(5) < segments[:, None]
    lines = zip(points[:, :-1][kept].tolist(), points[:, 1:][kept].tolist(), brushes[kept].tolist(), strict=True)
    for mask, number in zip(masks, np.add.reduceat(segments, firsts).tolist(), strict=True):
        mask.fill(0)
        for start, end, thickness in islice(lines, number):
            cv2.line(mask, start, end, 1, thickness)


@dataclass(frozen=True)
class IrregularStrokes(ShapeGenerator):
    """mmagic's stand-in for PConv's masks: ``random_irregular_mask`` with the arguments of its PConv and DeepFill v2.

    4-9 chains of 1-5 segments, 20-127 pixels long and 10-44 wide, at whole radians 0-5; may leave the image.
    mmagic keeps hole shares within (0.15, 0.65): ``AreaBounded(IrregularStrokes(), 0.15, 0.65)``. PConv's own masks
    come from video (Liu et al. 2018, section 3.1): see :class:`masks.MaskFolder` and :class:`masks.Augmented`.

    >>> mask = IrregularStrokes()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '28% hole'

    Args:
        size: Shorter side for which the pixels are meant; others get them in proportion.
    """

    size: int = 256

    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        # mmagic measures the angle from the other axis than LaMa.
        chains = radian_chains(
            width,
            height,
            rng,
            times=(4, 9),
            angles=6,
            length=(20, 127),
            brush=(10, 44),
            scale=proportion(height, width, self.size),
            clipped=False,
        )
        return [Stroke([(y, x) for x, y in chain.points], chain.widths) for chain in chains]
