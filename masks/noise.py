"""Blobs of thresholded noise."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masks.generator import Mask, MaskGenerator

# 600 noise values are stretched over 10,000 pixels, ends on ends.
_STEP = 599 / 9999


@dataclass(frozen=True)
class NoiseBlobs(MaskGenerator):
    """Context Encoder's random pattern: enlarged noise below 0.25 (Pathak et al. 2016; ``train_random.lua``).

    The official program enlarges 600x600 uniform values to 10,000x10,000 by Catmull-Rom cubics once, thresholds them
    and cuts 128x128 windows until one has 20-30 % hole. A window sees about 8x8 of the values, so only these are drawn
    here; other image sizes get as many. GLCIC's ``places2_freeform`` weights were also trained on such holes.

    >>> mask = NoiseBlobs()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '24% hole'

    Args:
        low: Smallest hole share, excluded.
        high: Largest hole share, excluded.
        density: Noise in [0, 1) below it is hole.
    """

    low: float = 0.2
    high: float = 0.3
    density: float = 0.25

    def __post_init__(self) -> None:
        if not (0 <= self.low < self.high <= 1 and 0 < self.density < 1):
            raise ValueError(
                f"NoiseBlobs got low={self.low:g}, high={self.high:g}, density={self.density:g}; "
                "expected hole shares with 0 <= low < high <= 1 and a density between 0 and 1."
            )

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        step = _STEP * 128 / math.sqrt(height * width)
        shares = []
        for _ in range(1000):
            phase = rng.random(2)
            rows, columns = catmull_rom(height, phase[0], step), catmull_rom(width, phase[1], step)
            noise = rng.random((rows.shape[1], columns.shape[1]))
            hole = rows @ noise @ columns.T < self.density
            shares.append(np.count_nonzero(hole) / hole.size)
            if self.low < shares[-1] < self.high:
                return hole.astype(np.uint8)
        raise ValueError(
            f"{self}: none of 1000 draws at {height}x{width} has a hole share between low and high; they have "
            f"{min(shares):.3f} to {max(shares):.3f}. Widen the bounds or move the density."
        )


def catmull_rom(samples: int, first: float, step: float) -> NDArray[np.float64]:
    """Weights (samples, knots) that interpolate at ``first`` + i ``step``, counted from the second knot.

    >>> catmull_rom(3, 0, 0.5) @ [0, 1, 2, 3, 4]  # a straight line stays one
    array([1. , 1.5, 2. ])
    """
    position = first + step * np.arange(samples)
    knot = position.astype(int)
    x = position - knot
    weights = np.zeros((samples, knot[-1] + 4))
    row = np.arange(samples)
    weights[row, knot] = x * (-1 + x * (2 - x)) / 2
    weights[row, knot + 1] = 1 + x * x * (3 * x - 5) / 2
    weights[row, knot + 2] = x * (1 + x * (4 - 3 * x)) / 2
    weights[row, knot + 3] = x * x * (x - 1) / 2
    return weights
