"""Generators made of other generators."""

from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate

import cv2
import numpy as np

from masks.generator import Mask, MaskGenerator
from masks.shapes import integer, proportion


@dataclass(frozen=True)
class Mixture(MaskGenerator):
    """One of ``generators``, drawn for every mask.

    >>> from masks import Half, Wide
    >>> mask = Mixture((Half(), Wide()))(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '12% hole'

    Args:
        weights: How often each is drawn, relative to the others; equally often by default.
    """

    generators: tuple[MaskGenerator, ...]
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "generators", tuple(self.generators))
        weights = (1.0,) * len(self.generators) if self.weights is None else tuple(self.weights)
        object.__setattr__(self, "weights", weights)
        if not self.generators or len(weights) != len(self.generators) or min(weights) < 0 or sum(weights) == 0:
            raise ValueError(
                f"Mixture got {len(self.generators)} generators and the weights {list(weights)}; "
                "expected one weight per generator, none negative, at least one above 0."
            )

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        assert self.weights is not None
        sums = list(accumulate(self.weights))
        return self.generators[bisect(sums, rng.random() * sums[-1])](height, width, rng)


@dataclass(frozen=True)
class AreaBounded(MaskGenerator):
    """Masks of ``generator`` whose hole share lies in (``low``, ``high``]; others are redrawn.

    The buckets of Liu et al. 2018 are (0.01, 0.1], (0.1, 0.2], ... (0.5, 0.6].

    >>> from masks import Wide
    >>> bounded = AreaBounded(Wide(), 0.1, 0.2)
    >>> mask = bounded(256, 256, np.random.default_rng(0))
    >>> bool(0.1 < mask.mean() <= 0.2)
    True

    Args:
        tries: Number of draws before a :class:`ValueError` reports the areas.
    """

    generator: MaskGenerator
    low: float
    high: float
    tries: int = 1000

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1 or self.tries < 1:
            raise ValueError(
                f"AreaBounded got low={self.low:g}, high={self.high:g}, tries={self.tries}; "
                "expected hole shares with 0 <= low < high <= 1 and at least one try."
            )

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        counts = []
        for _ in range(self.tries):
            mask = self.generator(height, width, rng)
            counts.append(cv2.countNonZero(mask))
            if self.low * mask.size < counts[-1] <= self.high * mask.size:
                return mask
        shares = np.array(counts) / (height * width)
        raise ValueError(
            f"AreaBounded: none of {self.tries} masks of {self.generator} at {height}x{width} has a hole share in "
            f"({self.low:g}, {self.high:g}]; they have {shares.min():.3f} to {shares.max():.3f}, mean "
            f"{shares.mean():.3f}. Choose a bucket within these, another generator, or more tries."
        )


@dataclass(frozen=True)
class Inset(MaskGenerator):
    """Masks of ``generator`` within the image less a known border.

    Half of the test masks of Liu et al. 2018 keep 50 pixels of 512 from the border.

    >>> from masks import Wide
    >>> mask = Inset(Wide(), border=50)(512, 512, np.random.default_rng(0))
    >>> int(mask[:50].sum()), bool(mask.any())
    (0, True)

    Args:
        border: Known pixels along each side.
        size: Shorter side for which ``border`` is meant; others get it in proportion.
    """

    generator: MaskGenerator
    border: int = 50
    size: int = 512

    def __post_init__(self) -> None:
        if not 0 <= 2 * self.border < self.size:
            raise ValueError(f"Inset got border={self.border} and size={self.size}; expected 0 <= 2 border < size.")

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        border = int(self.border * proportion(height, width, self.size))
        inner = self.generator(height - 2 * border, width - 2 * border, rng)
        return np.pad(inner, border)


@dataclass(frozen=True)
class Augmented(MaskGenerator):
    """Masks of ``generator`` dilated, rotated, moved, cropped and flipped, as PConv's raw masks need for training.

    NVIDIA's page gives the order and the dilation, 9-49 pixels; rotation over the full circle and the zoom of 1.5,
    which keeps the rotated corners outside, follow MathiasGruber/PConv-Keras.

    >>> from masks import Wide
    >>> mask = Augmented(Wide())(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '13% hole'

    Args:
        dilation: Smallest and largest side of the square brush, pixels at ``size``.
        zoom: Magnification before the crop.
        size: Shorter side for which ``dilation`` is meant; others get it in proportion.
    """

    generator: MaskGenerator
    dilation: tuple[int, int] = (9, 49)
    zoom: float = 1.5
    size: int = 512

    def __post_init__(self) -> None:
        if not (1 <= self.dilation[0] <= self.dilation[1] and self.zoom >= 1):
            raise ValueError(
                f"Augmented got dilation={self.dilation}, zoom={self.zoom:g}; "
                "expected pixels [smallest, largest] from 1 on and a zoom of at least 1."
            )

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        for _ in range(100):
            mask = self._draw(height, width, rng)
            if 0 < cv2.countNonZero(mask) < mask.size:  # the hole may have been moved out of the image
                return mask
        raise ValueError(
            f"{self}: 100 masks at {height}x{width} had only hole or none. Look at the masks before "
            "augmentation (`lit-inpaint masks show` or `measure`): does white mean what you stated?"
        )

    def _draw(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        mask = self.generator(height, width, rng)
        u = rng.random(6).tolist()
        brush = max(1, int(integer(u[0], *self.dilation) * proportion(height, width, self.size)))
        mask = np.asarray(cv2.dilate(mask, np.ones((brush, brush), np.uint8)), np.uint8)
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 360 * u[1], self.zoom)
        shift = np.array([width * (u[2] - 0.5), height * (u[3] - 0.5)]) * (self.zoom - 1)
        turn = np.column_stack((turn[:, :2], turn[:, 2] + shift))
        mask = np.asarray(cv2.warpAffine(mask, turn, (width, height), flags=cv2.INTER_NEAREST), np.uint8)
        if u[4] < 0.5:
            mask = mask[:, ::-1]
        if u[5] < 0.5:
            mask = mask[::-1]
        return np.ascontiguousarray(mask)
