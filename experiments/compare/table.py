"""One table: a protocol, its metrics, a row per method, the best of each column and ties with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from experiments.compare.costs import COSTS, Cost
from experiments.records.intervals import FEW, mean_interval, paired_difference
from experiments.records.record import NOT_VOTED, MethodFacts, MetricResult, ProtocolFacts, Record
from lit_inpaint.metrics import higher_is_better

_ABSENT = "not measured"


@dataclass
class Cell:
    """One number. ``deviation`` is between seeds; ``best`` and ``tied`` compare it with the rest of its column."""

    mean: float | None
    interval: tuple[float, float] | None = None
    n: int = 0
    left_out: int = 0
    deviation: float | None = None
    reason: str | None = None  # why there is no number
    values: dict[str, float] = field(default_factory=dict)  # by image; empty for a number of the whole set
    buckets: dict[str, float] = field(default_factory=dict)  # by share of hole
    photographs: dict[str, int] = field(default_factory=dict)  # which one each image shows
    best: bool = False
    tied: bool = False

    @property
    def few(self) -> bool:
        shown = {self.photographs[image] for image in self.values if image in self.photographs}
        return self.mean is not None and 0 < (len(shown) or self.n) < FEW


@dataclass
class Row:
    """One line of a table: one record, or several that differ only in seed."""

    label: str
    records: list[Record]
    cells: dict[str, Cell]

    @property
    def method(self) -> MethodFacts:
        return self.records[0].method

    @property
    def seeds(self) -> list[int | None]:
        return [record.method.seed for record in self.records]

    @property
    def not_applicable(self) -> str | None:
        return next((record.not_applicable for record in self.records if record.not_applicable), None)

    @property
    def adaptation(self) -> str | None:
        return _each_once([record.adaptation for record in self.records])

    @property
    def remark(self) -> str | None:
        return _each_once([record.remark for record in self.records])

    def cost(self, cost: Cost) -> float | None:
        """Mean over the seeds that report it."""
        given = [number for record in self.records if (number := cost.read(record)) is not None]
        return None if not given else given[0] if len(set(given)) == 1 else float(np.mean(given))


@dataclass
class Table:
    protocol: ProtocolFacts
    metrics: dict[str, str]  # name: definition
    rows: list[Row]
    unmeasured: dict[str, str] = field(default_factory=dict)  # metrics without a column: why no row has a number
    more_costs: list[Cost] = field(default_factory=list)  # that records do not say

    @property
    def name(self) -> str:
        return self.protocol.name

    @property
    def hash(self) -> str:
        return self.protocol.hash

    @property
    def costs(self) -> list[Cost]:
        """Columns with a value in any row."""
        known = [*COSTS, *self.more_costs]
        return [cost for cost in known if any(row.cost(cost) is not None for row in self.rows)]

    @property
    def images(self) -> int:
        """How many images, each with a hole, the protocol's fullest row was measured on."""
        return max((c.n + c.left_out for row in self.rows for c in row.cells.values()), default=0)

    @property
    def photographs(self) -> int:
        """Number of distinct images: a protocol may use several holes per image."""
        return self.protocol.photographs or self.images


def plain_table(records: Sequence[Record], metrics: Mapping[str, str]) -> Table:
    """One row per record, in the order given; nothing is merged and nothing is marked."""
    rows = [Row(record.label, [record], {name: cell_of([record], name) for name in metrics}) for record in records]
    return Table(records[0].protocol, *columns(metrics, rows))


def columns(metrics: Mapping[str, str], rows: Sequence[Row]) -> tuple[dict[str, str], list[Row], dict[str, str]]:
    """Metrics with a number in some row, the rows without the others, and why those others have none.

    A row that failed as a whole says nothing about a metric; if all did, every metric keeps its column. So do votes
    that are still to come.
    """
    ran = [row for row in rows if not row.not_applicable]
    cells = {name: [row.cells[name] for row in ran] for name in metrics}
    coming = [name for name in metrics if any(cell.reason == NOT_VOTED for cell in cells[name])]
    empty = [name for name in metrics if ran and name not in coming and all(c.mean is None for c in cells[name])]
    reasons = {
        name: _each_once([row.cells[name].reason for row in ran if row.cells[name].reason != _ABSENT]) or _ABSENT
        for name in empty
    }
    for row in rows:
        row.cells = {name: cell for name, cell in row.cells.items() if name not in reasons}
    return {name: words for name, words in metrics.items() if name not in reasons}, list(rows), reasons


def definitions_of(records: Sequence[Record]) -> dict[str, str]:
    """The metrics of some records of one protocol, in their order.

    Raises:
        ValueError: Two records mean different things by one name.
    """
    found: dict[str, str] = {}
    for record in records:
        for name, metric in record.metrics.items():
            if found.setdefault(name, metric.definition) != metric.definition:
                raise ValueError(
                    f"{record.source} measures {name} as '{metric.definition}', others as '{found[name]}'; "
                    "benchmark them again with one version of lit-inpaint."
                )
    return found


# ---- cells ---------------------------------------------------------------------------------------------------------


def cell_of(records: Sequence[Record], name: str) -> Cell:
    """The record's own values, or over several seeds the mean of their means and the deviation between them."""
    found = [record.metrics[name] for record in records if name in record.metrics]
    means = [metric.mean for metric in found if metric.mean is not None]
    refusal = next((record.not_applicable for record in records if record.not_applicable), None)
    if refusal or not means:
        return Cell(None, reason=refusal or _why_missing(found))
    values = _mean_by_key([metric.values for metric in found])
    photographs = records[0].protocol.photograph_of(records[0].hole_share)
    of = [photographs.get(image, image) for image in values]
    return Cell(
        mean=float(np.mean(means)),
        interval=found[0].interval if len(found) == 1 else mean_interval(list(values.values()), of),
        n=found[0].n,
        left_out=found[0].left_out,
        deviation=float(np.std(means, ddof=1)) if len(means) > 1 else None,
        values=values,
        buckets=_mean_by_key([{key: bucket.mean for key, bucket in metric.buckets.items()} for metric in found]),
        photographs=photographs,
    )


def _why_missing(found: Sequence[MetricResult]) -> str:
    said = [metric.reason.removeprefix("n/a: ") for metric in found if metric.reason]
    return said[0] if said else "undefined on every image" if found else _ABSENT


def _mean_by_key(seeds: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Mean over the seeds, for each image or bucket defined in all of them."""
    numbers = {key: [seed.get(key) for seed in seeds] for key in seeds[0]}
    known = {key: [v for v in values if v is not None] for key, values in numbers.items()}
    return {key: float(np.mean(values)) for key, values in known.items() if len(values) == len(seeds)}


def _each_once(sentences: Sequence[str | None]) -> str | None:
    return "; ".join(dict.fromkeys(s for s in sentences if s)) or None


def rank(metric: str, cells: Sequence[Cell]) -> None:
    """Mark the best cell, and as tied those whose paired difference to it has a 95 % interval that holds 0.

    Only cells over all of the protocol's images compete: a method that was stopped half-way is not comparable.
    Nothing is marked if the direction of the metric is undefined.
    """
    full = max((c.n + c.left_out for c in cells if c.mean is not None), default=0)
    ranked = [c for c in cells if c.mean is not None and c.n + c.left_out == full]
    higher = higher_is_better(metric)
    if len(ranked) < 2 or higher is None:
        return
    best = (max if higher else min)(ranked, key=lambda c: c.mean or 0.0)
    best.best = True
    for cell in (c for c in ranked if c is not best):
        difference = paired_difference(cell.values, best.values, best.photographs)
        interval = difference[1] if difference else None
        cell.tied = cell.mean == best.mean or (interval is not None and interval[0] <= 0 <= interval[1])
