"""95 % bootstrap intervals of means and of paired differences."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

FEW = 50  # images: with fewer, an interval is marked
LEAST = 20  # images: with fewer, there is no interval


def mean_interval(values: ArrayLike, resamples: int = 2000) -> tuple[float, float] | None:
    """Percentile bootstrap of the mean with a fixed seed; None under ``LEAST`` values.

    >>> mean_interval(np.ones(30)), mean_interval(np.ones(19))
    ((1.0, 1.0), None)
    """
    values = np.asarray(values, np.float64)
    if len(values) < LEAST:
        return None
    rng, means = np.random.default_rng(0), np.empty(resamples)
    rows = max(1, 500_000 // len(values))  # at a time: 8 MB, which is also faster than more
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        means[start:stop] = values[rng.integers(len(values), size=(stop - start, len(values)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def paired_difference(
    a: Mapping[str, float | None], b: Mapping[str, float | None]
) -> tuple[float, tuple[float, float] | None, int] | None:
    """Mean of a - b over the images on which both are defined, its interval, and their number; None without any."""
    pairs: Sequence[tuple[float, float]] = [
        (x, y) for image, x in a.items() if x is not None and (y := b.get(image)) is not None
    ]
    if not pairs:
        return None
    difference = np.array([x - y for x, y in pairs])
    return float(difference.mean()), mean_interval(difference), len(difference)
