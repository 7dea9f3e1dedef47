"""Kernel Inception distance: kid, kid_paired. Unbiased, so a few hundred images give the number of many, with noise."""

import numpy as np
from torch import Tensor

from lit_inpaint.metrics._definition import Rows
from lit_inpaint.metrics.inception import of_set, on_inception

_BLOCK = 1024  # rows of a kernel matrix that are in memory at once


def kernel_distances(fake: Rows, real: Rows) -> tuple[float, float]:
    """Squared maximum mean discrepancies of (n, d) features under the kernel (x.y / d + 1)^3 (Binkowski et al. 2018).

    The first is the unbiased estimate for two independent sets, with every x_i beside every y_j. The second, a
    U-statistic, leaves out x_i beside y_i, so it is unbiased where rows are paired: a completion resembles its own
    truth, which moves the first by -2 / n (E k(x_i, y_i) - E k(x_i, y_j)).

    >>> rows = np.random.default_rng(0).normal(size=(50, 8))
    >>> all_pairs, others = kernel_distances(rows, rows)
    >>> all_pairs < 0, abs(others) < 1e-12
    (True, True)
    """
    fake, real = np.asarray(fake, np.float64), np.asarray(real, np.float64)
    n = len(fake)
    within = sum(_sum(x, x) - _diagonal(x, x) for x in (fake, real)) / (n * (n - 1))
    across, pairs = _sum(fake, real), _diagonal(fake, real)
    return within - 2 * across / n**2, within - 2 * (across - pairs) / (n * (n - 1))


def _sum(a: Rows, b: Rows) -> float:
    """Sum of the kernel matrix of two sets."""
    blocks = (a[start : start + _BLOCK] @ b.T for start in range(0, len(a), _BLOCK))
    return float(sum(((block / a.shape[1] + 1) ** 3).sum() for block in blocks))


def _diagonal(a: Rows, b: Rows) -> float:
    return float((((a * b).sum(1) / a.shape[1] + 1) ** 3).sum())


def _kid_of(fake: Rows, real: Rows) -> dict[str, float]:
    return dict(zip(("kid", "kid_paired"), kernel_distances(fake, real), strict=True))


@on_inception(
    "1: unbiased squared MMD of 2048 Inception (2015-12-05) features under (x.y / 2048 + 1)^3, all images as one "
    "subset, images rounded to 8 bits, torch-fidelity's resize to 299; at least 50 images",
    title="KID",
    higher_is_better=False,
    decimals=5,
    score=_kid_of,
    least=50,
)
def kid(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Kernel Inception distance of two sets (N, 3, H, W) in [-1, 1], N >= 50, a scalar (Binkowski et al. 2018).

    >>> kid.least, kid.higher_is_better
    (50, False)
    """
    return of_set(kid, prediction, target)


@on_inception(
    "1: kid without the kernel of a completion and its own truth (U-statistic): unbiased for paired sets; at "
    "least 50 images",
    title="KID of pairs",
    higher_is_better=False,
    decimals=5,
    score=_kid_of,
    least=50,
)
def kid_paired(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Kernel Inception distance of two paired sets (N, 3, H, W) in [-1, 1], N >= 50, a scalar; 0 for equal sets.

    >>> kid_paired.least, kid_paired.higher_is_better
    (50, False)
    """
    return of_set(kid_paired, prediction, target)
