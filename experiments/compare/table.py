"""From records to tables: one table a protocol hash, seeds as one row, the best and what cannot be told from it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from experiments.compare.reader import Record, without_seed
from experiments.records.intervals import FEW, mean_interval, paired_difference
from experiments.run import Run
from experiments.run.curves import History
from lit_inpaint.metrics import higher_is_better


@dataclass
class Cell:
    """One number. ``deviation`` is that of the seeds; ``best``, ``tied``, ``ranked`` are about its column."""

    mean: float | None
    interval: tuple[float, float] | None = None
    n: int = 0
    left_out: int = 0
    deviation: float | None = None
    reason: str | None = None  # why there is no number
    values: dict[str, float] = field(default_factory=dict)  # by image; empty for a number of the whole set
    buckets: dict[str, float] = field(default_factory=dict)  # by share of hole
    best: bool = False
    tied: bool = False

    @property
    def few(self) -> bool:
        return self.mean is not None and 0 < self.n < FEW


@dataclass
class Row:
    """One line of a table: one record, or several that differ only in seed."""

    label: str
    records: list[Record]
    cells: dict[str, Cell]

    @property
    def method(self) -> dict[str, Any]:
        return self.records[0].data["method"]

    @property
    def seeds(self) -> list[Any]:
        return [record.data["method"].get("seed") for record in self.records]

    @property
    def parameters(self) -> int | None:
        counts = self.method.get("parameters")
        if not isinstance(counts, dict) or not all(isinstance(count, int) for count in counts.values()):
            return None
        return None if self.not_applicable else sum(counts.values())

    @property
    def weights(self) -> str:
        return str(self.method.get("weights") or "none")

    @property
    def not_applicable(self) -> str | None:
        return next((str(r.data["not_applicable"]) for r in self.records if r.data.get("not_applicable")), None)

    def mean_of(self, key: str) -> float | None:
        """Mean over the seeds of a number beside the metrics: seconds_per_image, peak_memory_bytes."""
        numbers = [r.data.get(key) for r in self.records]
        given = [float(x) for x in numbers if isinstance(x, (int, float))]
        return float(np.mean(given)) if given else None

    def said(self, key: str) -> str | None:
        """A sentence of the records (adaptation, note), each once."""
        sentences = [r.note if key == "note" else r.data.get(key) for r in self.records]
        return "; ".join(dict.fromkeys(str(s) for s in sentences if s)) or None


@dataclass
class Published:
    """One reference row out of a paper. It never ranks with measured ones."""

    label: str
    values: dict[str, float]
    source: str


@dataclass
class Table:
    name: str
    hash: str
    definition: dict[str, Any]
    metrics: dict[str, str]  # name: definition
    rows: list[Row]
    published: list[Published]
    about: str = ""
    mask: str = ""  # their law, in words

    @property
    def images(self) -> int:
        """How many images, each with a hole, the protocol's fullest row was measured on."""
        return max((c.n + c.left_out for row in self.rows for c in row.cells.values()), default=0)

    @property
    def photographs(self) -> int:
        """How many different ones: a protocol may put several holes into each."""
        listed = self.definition.get("images")
        count = (listed.get("count") if "sha256" in listed else len(listed)) if isinstance(listed, Mapping) else None
        return int(count or self.images)


# ---- refusals ------------------------------------------------------------------------------------------------------


def refuse_mixed(records: Sequence[Record]) -> None:
    """Records of one protocol name must have one hash.

    Raises:
        ValueError: Naming the protocol, both hashes and what differs between the two definitions.
    """
    first: dict[str, Record] = {}
    for record in records:
        name = str(record.protocol["name"])
        other = first.setdefault(name, record)
        if other.hash != record.hash:
            parts = differences(other.protocol.get("definition"), record.protocol.get("definition"))
            shown = "; ".join(parts[:3]) + (f"; and {len(parts) - 3} more" if len(parts) > 3 else "")
            raise ValueError(
                f"protocol '{name}' stands for two things: {other.hash[:8]} in {other.source} and {record.hash[:8]} in "
                f"{record.source}. They differ in {shown or 'nothing that the records tell'}. Their numbers do not "
                "belong in one column: benchmark both under one protocol, or make a page of each."
            )


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Which parts of two definitions differ, as 'path: this and that'.

    >>> differences({"size": 256, "mask": {"seed": 0}}, {"size": 256, "mask": {"seed": 1}})
    ['mask.seed: 0 and 1']
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        keys = sorted({*a, *b}, key=str)
        return [d for k in keys for d in differences(a.get(k), b.get(k), f"{path}.{k}" if path else str(k))]
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return [f"{path}: {len(a)} and {len(b)} entries"]
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{path}[{i}]")]
    if a == b:
        return []
    return [f"{path}: {_short(a)} and {_short(b)}"]


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    if re.fullmatch(r"[0-9a-f]{16,}", text):
        return text[:8]
    return text if len(text) <= 60 else text[:57] + "..."


# ---- tables --------------------------------------------------------------------------------------------------------


def make_tables(records: Sequence[Record], runs: Sequence[History] = ()) -> list[Table]:
    """One table a protocol, in the order of their names."""
    refuse_mixed(records)
    by_hash: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda r: (str(r.protocol["name"]), r.label)):
        by_hash.setdefault(record.hash, []).append(record)
    return [_table(_without_copies(group), runs) for group in by_hash.values()]


def validation_tables(runs: Sequence[History]) -> list[Table]:
    """What the last validation of each run gave, one table a hash of ``val``: other images give other numbers."""
    by_hash: dict[str, list[Record]] = {}
    for run in runs:
        last = {key.removeprefix("val/"): curve[-1] for key, curve in run.curves.items() if key.startswith("val/")}
        if not last or not run.facts.get("val_protocol_hash"):
            continue
        parameters = run.facts.get("parameters")
        method: dict[str, Any] = {
            "name": run.method or run.label,
            "label": run.label,
            "weights": "none",
            "seed": run.seed,
        }
        method |= {"parameters": parameters, "images_seen": max(seen for seen, _ in last.values()), "run": run.folder}
        metrics = {name: {"mean": value} for name, (_, value) in last.items()}
        protocol = {"name": "val", "hash": run.val_hash, "definition": {}}
        record = Record({"protocol": protocol, "method": method, "metrics": metrics})
        by_hash.setdefault(run.val_hash, []).append(record)
    return [_table(group, runs) for group in by_hash.values()]


def _without_copies(records: Sequence[Record]) -> list[Record]:
    """Two folders may hold the same record: the same method, checkpoint and numbers count once."""
    kept: dict[str, Record] = {}
    for record in records:
        kept.setdefault(repr((record.data["method"], record.data["metrics"])), record)
    return list(kept.values())


def run_of(record: Record, runs: Sequence[History]) -> History | None:
    """The training run that a record's checkpoint came out of: by its path, or by its name where folders were moved."""
    path = record.data["method"].get("run")
    if not path:
        return None
    exact = [run for run in runs if Path(run.folder).resolve() == Path(path).resolve()]
    named = [run for run in runs if Path(run.folder).name == Path(path).name]
    return exact[0] if exact else named[0] if len(named) == 1 else None


def _table(records: Sequence[Record], runs: Sequence[History]) -> Table:
    metrics: dict[str, str] = {}
    for record in records:
        for name, metric in record.data["metrics"].items():
            if metrics.setdefault(name, metric.get("definition", "")) != metric.get("definition", ""):
                raise ValueError(
                    f"{record.source} measures {name} as '{metric['definition']}', others as '{metrics[name]}'; "
                    "benchmark them again with one version of lit-inpaint."
                )
    rows = [_row(group, list(metrics)) for group in group_seeds(records, runs)]
    _make_labels_unique(rows)
    for name in metrics:
        rank(name, [row.cells[name] for row in rows])
    if metrics:
        rows.sort(key=lambda row: _place(next(iter(metrics)), row))
    protocol = records[0].protocol
    published = [
        Published(str(p.get("label") or p.get("method")), dict(p.get("metrics") or {}), str(p.get("source") or ""))
        for p in protocol.get("published") or []
    ]
    return Table(
        name=str(protocol["name"]),
        hash=records[0].hash,
        definition=protocol.get("definition") or {},
        metrics=metrics,
        rows=rows,
        published=published,
        about=str(protocol.get("about") or ""),
        mask=str(protocol.get("mask") or ""),
    )


def group_seeds(records: Sequence[Record], runs: Sequence[History] = ()) -> list[list[Record]]:
    """Records that differ only in seed belong together.

    Equal method, networks, weights, images seen and adaptation, different seeds, and equal configs once the seed is
    taken out; where a run's config is not at hand, equal labels once a trailing 'seed 3' is taken out.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        method = record.data["method"]
        seed, path, run = method.get("seed"), method.get("run"), run_of(record, runs)
        same = [method.get(key) for key in ("name", "parameters", "weights", "images_seen")]
        same += [record.data.get("adaptation"), record.data.get("not_applicable"), sorted(record.data["metrics"])]
        if run is None and path and Path(path).is_dir():
            run = Run(Path(path)).history
        said = (run.config or run.facts) if run else {}
        key = repr((*same, without_seed(said) if said else without_seed_mark(record.label)))
        if seed is None or any(r.data["method"].get("seed") == seed for r in groups.get(key, [])):
            key += f" {record.source}"
        groups.setdefault(key, []).append(record)
    return list(groups.values())


def without_seed_mark(label: str) -> str:
    """
    >>> without_seed_mark("DeepFillV2-seed3"), without_seed_mark("LaMa (seed 1)"), without_seed_mark("Seed")
    ('DeepFillV2', 'LaMa', 'Seed')
    """
    return re.sub(r"[\s_\-/.,(]+seed[\s=_:-]*\d+\)?$", "", label, flags=re.IGNORECASE)


def _row(records: list[Record], metrics: Iterable[str]) -> Row:
    label = records[0].label
    if len(records) > 1:
        labels = {without_seed_mark(record.label) for record in records}
        label = labels.pop() if len(labels) == 1 else str(records[0].data["method"]["name"])
    return Row(label, records, {name: _cell(records, name) for name in metrics})


def _cell(records: Sequence[Record], name: str) -> Cell:
    """The record's own numbers; over several seeds the mean of their means, and the deviation between them."""
    found = [record.data["metrics"][name] for record in records if name in record.data["metrics"]]
    said = next((r.data["not_applicable"] for r in records if r.data.get("not_applicable")), None)
    means = [float(m["mean"]) for m in found if m.get("mean") is not None]
    if said or not means:
        reasons = [str(m["reason"]).removeprefix("n/a: ") for m in found if m.get("reason")]
        return Cell(None, reason=said or (reasons or ["not measured" if not found else "undefined on every image"])[0])
    values = [{k: float(v) for k, v in (m.get("values") or {}).items() if v is not None} for m in found]
    common = set(values[0]).intersection(*values[1:])
    averaged = {image: float(np.mean([v[image] for v in values])) for image in values[0] if image in common}
    first = found[0]
    interval = first.get("interval") if len(found) == 1 else mean_interval(list(averaged.values()))
    parts = [{name: b["mean"] for name, b in (m.get("buckets") or {}).items() if b["mean"] is not None} for m in found]
    return Cell(
        mean=float(np.mean(means)),
        interval=(float(interval[0]), float(interval[1])) if interval else None,
        n=int(first.get("n", len(averaged))),
        left_out=int(first.get("left_out", 0)),
        deviation=float(np.std(means, ddof=1)) if len(means) > 1 else None,
        values=averaged,
        buckets={b: float(np.mean([p[b] for p in parts])) for b in parts[0] if all(b in p for p in parts)},
    )


def _place(metric: str, row: Row) -> tuple[bool, float, str]:
    """Sorts the best of a metric first and what has no number last."""
    mean, higher = row.cells[metric].mean, higher_is_better(metric)
    if higher is None:
        return mean is None, 0.0, row.label
    return mean is None, (-1 if higher else 1) * (mean or 0.0), row.label


def _make_labels_unique(rows: Sequence[Row]) -> None:
    """Rows of one label get what tells them apart: seed, weights, images seen, else the folder."""
    for label in {row.label for row in rows}:
        same = [row for row in rows if row.label == label]
        if len(same) == 1:
            continue
        for key in ("seed", "weights", "images_seen", "run", "checkpoint"):
            said = [str(row.method.get(key)) for row in same]
            if len(set(said)) == len(same):
                break
        else:
            said = [str(number + 1) for number in range(len(same))]
            key = "no."
        for row, text in zip(same, said, strict=True):
            row.label = f"{label} ({key.replace('_', ' ')} {Path(text).name if key in {'run', 'checkpoint'} else text})"


# ---- what is best, and what cannot be told from it -----------------------------------------------------------------


def rank(metric: str, cells: Sequence[Cell]) -> None:
    """Mark the best cell, and as tied those whose paired difference to it has a 95 % interval that holds 0.

    Only cells over all of the protocol's images compete: a method that was stopped half-way did not do the same work.
    Nothing is best where nothing defines which end of the scale is better.
    """
    full = max((c.n + c.left_out for c in cells if c.mean is not None), default=0)
    ranked = [c for c in cells if c.mean is not None and c.n + c.left_out == full]
    higher = higher_is_better(metric)
    if len(ranked) < 2 or higher is None:
        return
    best = (max if higher else min)(ranked, key=lambda c: c.mean or 0.0)
    best.best = True
    for cell in (c for c in ranked if c is not best):
        difference = paired_difference(cell.values, best.values)
        interval = difference[1] if difference else None
        cell.tied = cell.mean == best.mean or (interval is not None and interval[0] <= 0 <= interval[1])
