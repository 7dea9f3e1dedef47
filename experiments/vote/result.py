"""Turn votes into a column: the percentage that prefers a method to the reference, with two kinds of interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.records.intervals import FEW, LEAST
from experiments.records.record import NOT_VOTED, MetricResult
from experiments.vote.store import Vote

_RESAMPLES = 2000


@dataclass
class Votes:
    """The votes about one rival, as (images, raters) tables of votes and wins."""

    all: Sequence[Vote]

    def __post_init__(self) -> None:
        self.images = sorted({v.image for v in self.all})
        raters = sorted({v.rater for v in self.all})
        self.count = np.zeros((len(self.images), len(raters)))
        self.won = np.zeros_like(self.count)
        row, place = {x: i for i, x in enumerate(self.images)}, {x: i for i, x in enumerate(raters)}
        for vote in self.all:
            self.count[row[vote.image], place[vote.rater]] += 1
            self.won[row[vote.image], place[vote.rater]] += vote.preferred

    @property
    def shares(self) -> np.ndarray:
        """Per image, in percent."""
        return np.asarray(100 * self.won.sum(1) / self.count.sum(1))


def binomial(votes: Votes) -> tuple[float, float]:
    """Share of all votes and half of its 95 % interval, in percent, as if every vote were independent (RePaint).

    >>> votes = Votes([Vote(0, "LaMa", str(i), i < 116) for i in range(1000)])
    >>> "{:.1f} ± {:.1f}".format(*binomial(votes))
    '11.6 ± 2.0'
    """
    n, p = votes.count.sum(), votes.won.sum() / votes.count.sum()
    return float(100 * p), float(100 * 1.96 * np.sqrt(p * (1 - p) / n))


def interval(votes: Votes, resamples: int = _RESAMPLES) -> tuple[float, float] | None:
    """95 % bootstrap interval of the mean, resampling images and raters; None under 20 images."""
    images, raters = votes.count.shape
    if images < LEAST:
        return None
    rng = np.random.default_rng(0)
    of_raters = rng.multinomial(raters, np.full(raters, 1 / raters), resamples)
    of_images = rng.multinomial(images, np.full(images, 1 / images), resamples)
    count, won = of_raters @ votes.count.T, of_raters @ votes.won.T
    seen = of_images * (count > 0)
    shares = np.divide(won, count, out=np.zeros_like(won), where=count > 0)
    means = 100 * (seen * shares).sum(1) / np.maximum(seen.sum(1), 1)
    low, high = np.quantile(means[seen.sum(1) > 0], (0.025, 0.975))
    return float(low), float(high)


def column(votes: Votes, reference: str, is_reference: bool = False, raters: int = 0) -> MetricResult:
    """The ``votes`` entry of a record; ``raters``: how many have begun."""
    definition = (
        f"votes 1.0: % of the votes that find the method more real than {reference}; mean over images, interval over "
        "images and raters"
    )
    if is_reference:
        return MetricResult(definition, reason="the reference; the others are compared with it")
    if not votes.all:
        return MetricResult(definition, reason="no votes of a consistent rater" if raters else NOT_VOTED)
    shares = votes.shares
    values: dict[str, float | None] = dict(zip(votes.images, shares.tolist(), strict=True))
    n = len(shares)
    return MetricResult(definition, values, float(shares.mean()), interval(votes), n, few=n < FEW)
