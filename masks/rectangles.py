"""Rectangular holes."""

from dataclasses import dataclass

import numpy as np

from masks.shapes import Box, Shape, ShapeGenerator, integer, proportion


@dataclass(frozen=True)
class CenterRectangle(ShapeGenerator):
    """One rectangle in the middle; ``height`` and ``width`` are shares of the sides (0.5: a quarter of the area).

    >>> CenterRectangle()(4, 4, np.random.default_rng(0))
    array([[0, 0, 0, 0],
           [0, 1, 1, 0],
           [0, 1, 1, 0],
           [0, 0, 0, 0]], dtype=uint8)
    """

    height: float = 0.5
    width: float = 0.5

    def __post_init__(self) -> None:
        if not (0 < self.height <= 1 and 0 < self.width <= 1):
            raise ValueError(
                f"CenterRectangle got height={self.height:g}, width={self.width:g}; "
                "expected shares of the sides, above 0 and at most 1 (0.5 for half a side)."
            )

    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        rows, columns = max(1, round(self.height * height)), max(1, round(self.width * width))
        top, left = (height - rows) // 2, (width - columns) // 2
        return [Box(top, left, top + rows, left + columns)]


@dataclass(frozen=True)
class RandomRectangle(ShapeGenerator):
    """One rectangle anywhere; each side is a share of the image's side, uniform in [``low``, ``high``].

    >>> mask = RandomRectangle()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '13% hole'
    """

    low: float = 0.25
    high: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high <= 1:
            raise ValueError(
                f"RandomRectangle got low={self.low:g}, high={self.high:g}; expected shares with 0 < low <= high <= 1."
            )

    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        u = rng.random(4).tolist()
        rows, columns = (
            integer(share, max(1, round(self.low * side)), max(1, round(self.high * side)))
            for share, side in zip(u, (height, width), strict=False)
        )
        top, left = integer(u[2], 0, height - rows), integer(u[3], 0, width - columns)
        return [Box(top, left, top + rows, left + columns)]


@dataclass(frozen=True)
class DeepFillV1Rectangle(ShapeGenerator):
    """A 128-pixel square in 256 anywhere, shrunk by 0-16 pixels at both ends of each axis (Yu et al. 2018).

    ``random_bbox`` and ``bbox2mask`` of JiahuiYu/generative_inpainting: the square never touches the last row or
    column, because the program excludes the upper bound. Sides are even, 96-128.

    >>> mask = DeepFillV1Rectangle()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '25% hole'

    Args:
        size: Shorter side for which the pixels are meant; others get them in proportion.
    """

    size: int = 256

    def square(self, height: int, width: int, rng: np.random.Generator) -> Box:
        """The square before it is shrunk: the local discriminator's crop in the official program."""
        return self._boxes(height, width, rng)[0]

    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        return [self._boxes(height, width, rng)[1]]

    def _boxes(self, height: int, width: int, rng: np.random.Generator) -> tuple[Box, Box]:
        scale = proportion(height, width, self.size)
        side, delta = int(128 * scale), int(16 * scale)
        u = rng.random(4).tolist()
        top, left = int(u[0] * (height - side)), int(u[1] * (width - side))
        rows, columns = integer(u[2], 0, delta), integer(u[3], 0, delta)
        return Box(top, left, top + side, left + side), Box(
            top + rows, left + columns, top + side - rows, left + side - columns
        )


@dataclass(frozen=True)
class GLCICRectangle(ShapeGenerator):
    """One rectangle anywhere, each side uniform in [``low``, ``high``] pixels (Iizuka et al. 2017, section 3.4).

    The paper: 96-128 in 256; for CelebA ``GLCICRectangle(48, 96, size=160)``.

    >>> mask = GLCICRectangle()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '19% hole'

    Args:
        low: Shortest side in pixels.
        high: Longest side in pixels.
        size: Shorter side for which the pixels are meant; others get them in proportion.
    """

    low: int = 96
    high: int = 128
    size: int = 256

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high <= self.size:
            raise ValueError(
                f"GLCICRectangle got low={self.low}, high={self.high}, size={self.size}; "
                "expected pixels with 0 < low <= high <= size."
            )

    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        scale = proportion(height, width, self.size)
        low, high = max(1, int(self.low * scale)), max(1, int(self.high * scale))
        u = rng.random(4).tolist()
        rows, columns = integer(u[0], low, high), integer(u[1], low, high)
        top, left = integer(u[2], 0, height - rows), integer(u[3], 0, width - columns)
        return [Box(top, left, top + rows, left + columns)]


@dataclass(frozen=True)
class Outpainting(ShapeGenerator):
    """Bands at the image's sides (``OutpaintingMaskGenerator`` of advimman/lama).

    Each side is cut with ``probability``, one at random if none was; the band's depth is a share of the image's
    side, uniform in whole pixels from ``low`` up to, not including, ``high``.

    >>> mask = Outpainting()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '52% hole'
    """

    low: float = 0.04
    high: float = 0.25
    probability: float = 0.5

    def __post_init__(self) -> None:
        if not (0 < self.low <= self.high < 0.5 and 0 <= self.probability <= 1):
            raise ValueError(
                f"Outpainting got low={self.low:g}, high={self.high:g}, probability={self.probability:g}; "
                "expected 0 < low <= high < 0.5, so that a centre stays known, and a probability from 0 to 1."
            )

    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        u = rng.random(9).tolist()
        sides = [side for side in range(4) if u[side] < self.probability] or [int(4 * u[8])]
        depths = []
        for side, share in zip((height, width, height, width), u[4:], strict=False):
            shallow = max(1, int(self.low * side))
            depths.append(integer(share, shallow, max(shallow, int(self.high * side) - 1)))
        bands = [
            Box(0, 0, depths[0], width),
            Box(0, 0, height, depths[1]),
            Box(height - depths[2], 0, height, width),
            Box(0, width - depths[3], height, width),
        ]
        return [bands[side] for side in sides]
