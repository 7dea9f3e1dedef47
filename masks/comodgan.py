"""The holes of CoModGAN, and of the programs that took them over: MAT, MI-GAN, FcF, PixelHacker."""

from dataclasses import dataclass

import cv2
import numpy as np

from masks.generator import Mask, MaskGenerator
from masks.shapes import Box, draw, integer, proportion
from masks.strokes import zigzags


@dataclass(frozen=True)
class CoModGANMask(MaskGenerator):
    """Rectangles, which may leave the image, and zigzag strokes (Zhao et al. 2021).

    ``RandomMask`` of zsyzzsoft/co-mod-gan and of the programs that copied it.

    A mask without a hole, or of nothing else, is redrawn. The three numbers are the arguments of ``MultiFill`` and
    ``RandomBrush`` as the programs write them: 10, 5, 20 in CoModGAN, MI-GAN and PixelHacker; 5, 3, 9 (large) and
    3, 2, 4 (small) in MAT at 512, 4, 2, 8 and 2, 2, 3 at 256. FcF's ``hole_range`` makes 7, 3, 15 of CoModGAN's.

    >>> mask = CoModGANMask()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '71% hole'

    Args:
        small: Rectangles with sides below half of the image's: 0 to ``small`` - 1.
        large: Rectangles with sides below the image's: 0 to ``large`` - 1.
        strokes: Strokes of 4-17 segments, 12-47 pixels wide: 0 to ``strokes`` - 1. They are flipped together.
        size: Shorter side for which the widths are meant; others get them in proportion.
    """

    small: int = 10
    large: int = 5
    strokes: int = 20
    size: int = 512

    def __post_init__(self) -> None:
        if min(self.small, self.large, self.strokes) < 1 or max(self.small, self.large, self.strokes) == 1:
            raise ValueError(
                f"CoModGANMask got small={self.small}, large={self.large}, strokes={self.strokes}; expected numbers "
                "from 1 on, at least one above 1: one more than the most rectangles and strokes of a mask."
            )

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        while True:
            mask = self._brushes(height, width, rng)
            for number, part in ((self.small, 2), (self.large, 1)):
                for u in rng.random((integer(rng.random(), 0, number - 1), 4)).tolist():
                    _box(u, height, width, part).draw(mask)
            if 0 < cv2.countNonZero(mask) < mask.size:
                return mask

    def _brushes(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        count, *flips = rng.random(3).tolist()
        mask = draw(
            zigzags(
                height,
                width,
                rng,
                count=integer(count, 0, self.strokes - 1),
                segments=(4, 17),
                brush=(12, 48),
                scale=proportion(height, width, self.size),
            ),
            height,
            width,
        )
        if flips[0] < 0.5:
            mask = mask[::-1]
        if flips[1] < 0.5:
            mask = mask[:, ::-1]
        return np.ascontiguousarray(mask)


def _box(u: list[float], height: int, width: int, part: int) -> Box:
    """Sides below a ``part`` of the image's; half of the rectangle may lie outside."""
    columns, rows = int(u[0] * (width // part)), int(u[1] * (height // part))
    left = integer(u[2], -(columns // 2), width - columns + columns // 2 - 1)
    top = integer(u[3], -(rows // 2), height - rows + rows // 2 - 1)
    return Box(max(top, 0), max(left, 0), max(top + rows, 0), max(left + columns, 0))
