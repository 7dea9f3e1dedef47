"""LaMa's holes (Suvorov et al. 2022; ``saicinpainting/training/data/masks.py`` of advimman/lama)."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import cv2
import numpy as np

from masks.combine import AreaBounded, Mixture
from masks.generator import Mask, MaskGenerator
from masks.shapes import Box, Shape, ShapeGenerator, integer, proportion
from masks.strokes import draw_radian_chains, radian_chains


@dataclass(frozen=True)
class LaMaStrokes(ShapeGenerator):
    """Polygonal chains of 1-5 segments, each with its own width (``make_random_irregular_mask``).

    >>> mask = LaMaStrokes()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '53% hole'

    Args:
        times: Fewest and most chains, as the published files write them. The program draws up to one more.
        length: Segments are 10 to ``length`` + 9 pixels long before the image's border cuts them.
        width: Segments are 5 to ``width`` + 4 pixels wide.
        size: Shorter side for which the pixels are meant; others get them in proportion.
    """

    times: tuple[int, int] = (1, 5)
    length: int = 200
    width: int = 100
    size: int = 256

    def __post_init__(self) -> None:
        if not (1 <= self.times[0] <= self.times[1] and self.length >= 1 and self.width >= 1):
            raise ValueError(
                f"LaMaStrokes got times={self.times}, length={self.length}, width={self.width}; "
                "expected times [fewest, most] from 1 on and positive pixels."
            )

    def _ranges(self, height: int, width: int) -> dict[str, Any]:
        return {
            "times": (self.times[0], self.times[1] + 1),
            "angles": 4,
            "length": (10, self.length + 9),
            "brush": (5, self.width + 4),
            "scale": proportion(height, width, self.size),
        }

    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        return list(radian_chains(height, width, rng, **self._ranges(height, width)))

    def draw_block(self, masks: Sequence[Mask], rng: np.random.Generator) -> None:
        """Overwrite each of ``masks``, all of one size, with a draw of this law, all from one ``rng``."""
        if masks:
            draw_radian_chains(masks, rng, **self._ranges(*masks[0].shape))


@dataclass(frozen=True)
class LaMaBoxes(ShapeGenerator):
    """Rectangles (``make_random_rectangle_mask``).

    >>> mask = LaMaBoxes()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '41% hole'

    Args:
        times: Fewest and most boxes.
        side: Shortest and longest side in pixels; the longest also stays below the room between the margins.
        margin: Pixels next to the border that stay known.
        size: Shorter side for which the pixels are meant; others get them in proportion.
    """

    times: tuple[int, int] = (1, 4)
    side: tuple[int, int] = (30, 150)
    margin: int = 10
    size: int = 256

    def __post_init__(self) -> None:
        if not (1 <= self.times[0] <= self.times[1] and 1 <= self.side[0] <= self.side[1] and self.margin >= 0):
            raise ValueError(
                f"LaMaBoxes got times={self.times}, side={self.side}, margin={self.margin}; "
                "expected [fewest, most] and [shortest, longest] from 1 on and a margin from 0 on."
            )
        if self.side[0] + 2 * self.margin >= self.size:
            raise ValueError(
                f"LaMaBoxes: a side of {self.side[0]} and two margins of {self.margin} exceed {self.size} pixels."
            )

    def _ranges(self, height: int, width: int) -> tuple[int, int, int]:
        """Shortest and longest side and the margin."""
        scale = proportion(height, width, self.size)
        low, margin = max(1, int(self.side[0] * scale)), int(self.margin * scale)
        return low, min(int(self.side[1] * scale), min(height, width) - 2 * margin - 1), margin

    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        low, high, margin = self._ranges(height, width)
        boxes: list[Shape] = []
        for u in rng.random((integer(rng.random(), *self.times), 4)).tolist():
            columns, rows = integer(u[0], low, high), integer(u[1], low, high)
            left = integer(u[2], margin, width - margin - columns)
            top = integer(u[3], margin, height - margin - rows)
            boxes.append(Box(top, left, top + rows, left + columns))
        return boxes

    def draw_block(self, masks: Sequence[Mask], rng: np.random.Generator) -> None:
        """Overwrite each of ``masks``, all of one size, with a draw of this law, all from one ``rng``."""
        if not masks:
            return
        height, width = masks[0].shape
        low, high, margin = self._ranges(height, width)
        numbers = rng.integers(*self.times, len(masks), endpoint=True)
        columns, rows = rng.integers(low, high, (2, int(numbers.sum())), endpoint=True)
        left = rng.integers(margin, width - margin - columns, endpoint=True)
        top = rng.integers(margin, height - margin - rows, endpoint=True)
        boxes = iter(np.stack((top, left, top + rows, left + columns), -1).tolist())
        for mask, number in zip(masks, numbers.tolist(), strict=True):
            mask.fill(0)
            for box in islice(boxes, number):
                Box(*box).draw(mask)


@dataclass(frozen=True)
class LaMaTraining(MaskGenerator):
    """LaMa's training holes at 256: strokes or boxes, one to one, not capped (``abl-04-256-mh-dist.yaml``).

    >>> mask = LaMaTraining()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '20% hole'

    Args:
        size: Shorter side for which the pixels are meant; others get them in proportion.
    """

    size: int = 256

    @cached_property
    def _mixture(self) -> Mixture:
        return Mixture((LaMaStrokes(size=self.size), LaMaBoxes(size=self.size)))

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        return self._mixture(height, width, rng)


@dataclass(frozen=True)
class _LaMaEvaluation(MaskGenerator):
    """An evaluation law of LaMa (``configs/data_gen/random_<name>_<size>.yaml``)."""

    size: int = 256
    cap: float = 0.5

    def __post_init__(self) -> None:
        if self.size not in (256, 512):
            raise ValueError(
                f"{type(self).__name__} got size={self.size}; LaMa published its distributions at 256 and 512."
            )
        if not 0 < self.cap <= 1:
            raise ValueError(f"{type(self).__name__} got cap={self.cap:g}; expected a share above 0, at most 1.")

    @abstractmethod
    def law(self) -> MaskGenerator:
        """The generator before the cap."""

    @cached_property
    def _capped(self) -> MaskGenerator:
        return self.law() if self.cap == 1 else AreaBounded(self.law(), 0, self.cap)

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        return self._capped(height, width, rng)


# The files give strokes the weight 1 and boxes 0.3.
_WEIGHTS = (1.0, 0.3)


@dataclass(frozen=True)
class LaMaThin(_LaMaEvaluation):
    """Many thin strokes (LaMa's ``configs/data_gen/random_thin_<size>.yaml``).

    >>> mask = LaMaThin()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '38% hole'

    Args:
        size: 256 or 512, the published resolutions; others get the pixels in proportion.
        cap: Largest hole area; masks above it are redrawn. 1 disables the cap.
    """

    def law(self) -> MaskGenerator:
        if self.size == 256:
            return LaMaStrokes((4, 50), length=40, width=10, size=256)
        return LaMaStrokes((4, 70), length=100, width=20, size=512)


@dataclass(frozen=True)
class LaMaMedium(_LaMaEvaluation):
    """Strokes of medium width, or boxes (LaMa's ``configs/data_gen/random_medium_<size>.yaml``).

    >>> mask = LaMaMedium()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '13% hole'

    Args:
        size: 256 or 512, the published resolutions; others get the pixels in proportion.
        cap: Largest hole area; masks above it are redrawn. 1 disables the cap.
    """

    def law(self) -> MaskGenerator:
        if self.size == 256:
            boxes = LaMaBoxes((1, 5), side=(10, 50), margin=0, size=256)
            return Mixture((LaMaStrokes((4, 5), length=100, width=50, size=256), boxes), _WEIGHTS)
        boxes = LaMaBoxes((1, 5), side=(30, 150), margin=0, size=512)
        return Mixture((LaMaStrokes((4, 10), length=200, width=100, size=512), boxes), _WEIGHTS)


@dataclass(frozen=True)
class LaMaThick(_LaMaEvaluation):
    """Few broad strokes, or boxes (LaMa's ``configs/data_gen/random_thick_<size>.yaml``).

    >>> mask = LaMaThick()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '21% hole'

    Args:
        size: 256 or 512, the published resolutions; others get the pixels in proportion.
        cap: Largest hole area; masks above it are redrawn. 1 disables the cap.
    """

    def law(self) -> MaskGenerator:
        if self.size == 256:
            boxes = LaMaBoxes((1, 3), side=(30, 150), margin=10, size=256)
            return Mixture((LaMaStrokes((1, 5), length=200, width=100, size=256), boxes), _WEIGHTS)
        boxes = LaMaBoxes((1, 4), side=(30, 300), margin=10, size=512)
        return Mixture((LaMaStrokes((1, 5), length=450, width=250, size=512), boxes), _WEIGHTS)

    def block(self, count: int, height: int, width: int, rng: np.random.Generator) -> Mask:
        """Draw ``count`` masks from one ``rng`` in array calls, (count, height, width) uint8, 1 = hole.

        Faster than one by one and of the same law, but other masks, and each depends on ``count``: for sets that are
        made at once. Training and evaluation key every mask by its own ``rng``.
        """
        law = self.law()
        assert isinstance(law, Mixture)
        strokes, boxes = law.generators
        assert isinstance(strokes, LaMaStrokes) and isinstance(boxes, LaMaBoxes)
        masks = np.empty((count, height, width), np.uint8)
        stroked = rng.random(count) * sum(_WEIGHTS) < _WEIGHTS[0]
        strokes.draw_block([masks[i] for i in np.flatnonzero(stroked)], rng)
        boxes.draw_block([masks[i] for i in np.flatnonzero(~stroked)], rng)
        for mask in masks if self.cap < 1 else ():
            if not 0 < cv2.countNonZero(mask) <= self.cap * mask.size:
                mask[:] = self._capped(height, width, rng)
        return masks


@dataclass(frozen=True)
class Wide(LaMaThick):
    """RePaint's Wide by the paper: LaMa's thick evaluation law at 256. By its files: :class:`masks.RePaintWide`.

    >>> mask = Wide()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '21% hole'
    """


@dataclass(frozen=True)
class Narrow(LaMaThin):
    """RePaint's Narrow: LaMa's thin evaluation law at 256. As large in area as Wide; only the strokes are thinner.

    >>> mask = Narrow()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '38% hole'
    """
