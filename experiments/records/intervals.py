"""95 % bootstrap intervals of means and of paired differences."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

FEW = 50  # photographs: with fewer, an interval is marked
LEAST = 20  # photographs: with fewer, there is no interval


def mean_interval(
    values: ArrayLike, photographs: Sequence[object] | None = None, resamples: int = 2000
) -> tuple[float, float] | None:
    """Percentile bootstrap of the mean with a fixed seed; None under ``LEAST`` photographs.

    >>> mean_interval(np.ones(30)), mean_interval(np.ones(19))
    ((1.0, 1.0), None)
    >>> mean_interval(np.ones(30), [*range(15), *range(15)]) is None
    True

    Args:
        photographs: The photograph of each value, where several holes are of one: they do not vary as much as
            photographs do, so photographs are drawn, with all of their values.
    """
    values = np.asarray(values, np.float64)
    found: dict[object, int] = {}
    of = [found.setdefault(one, len(found)) for one in (range(len(values)) if photographs is None else photographs)]
    counts = np.bincount(of)
    if len(counts) < LEAST:
        return None
    if len(counts) < len(values):
        values = np.bincount(of, values)
    rng, means = np.random.default_rng(0), np.empty(resamples)
    rows = max(1, 500_000 // len(values))  # at a time: 8 MB, which is also faster than more
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        drawn = rng.integers(len(values), size=(stop - start, len(values)))
        means[start:stop] = values[drawn].mean(1)
        if counts.max() > 1:
            means[start:stop] /= counts[drawn].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def paired_difference(
    a: Mapping[str, float | None], b: Mapping[str, float | None], photographs: Mapping[str, int] | None = None
) -> tuple[float, tuple[float, float] | None, int] | None:
    """Mean of a - b over the images on which both are defined, its interval, and their number; None without any.

    Args:
        photographs: Which photograph each image shows, where several holes are of one.
    """
    pairs: dict[str, tuple[float, float]] = {
        image: (x, y) for image, x in a.items() if x is not None and (y := b.get(image)) is not None
    }
    if not pairs:
        return None
    difference = np.array([x - y for x, y in pairs.values()])
    of = [photographs.get(image, image) for image in pairs] if photographs else None
    return float(difference.mean()), mean_interval(difference, of), len(difference)
