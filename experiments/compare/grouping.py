"""Which records share a table and which a row: a table per protocol hash, a row per method with its seeds."""

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from experiments.compare.refuse import refuse_mixed
from experiments.compare.table import Row, Table, cell_of, columns, definitions_of, rank
from experiments.files.find import INSTALLED
from experiments.files.read import read_yaml
from experiments.records.record import MethodFacts, MetricResult, ProtocolFacts, Record
from experiments.run import Run
from experiments.run.curves import History
from lit_inpaint.metrics import CHEAP, definition, higher_is_better

_SEED_AND_PLACE = {  # what two configs may differ in and still be one method
    "seed", "seed_everything", "logger", "default_root_dir", "ckpt_path", "dirpath", "save_dir", "config", "group",
}  # fmt: skip


def make_tables(records: Sequence[Record], runs: Sequence[History] = ()) -> list[Table]:
    """One table per protocol, sorted by name; masks of one of our protocols in its order."""
    refuse_mixed(records)
    by_hash: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda r: (_among_masks(r.protocol.name), r.label)):
        by_hash.setdefault(record.hash, []).append(record)
    tables = [_table(_without_copies(group), runs) for group in by_hash.values()]
    _name_as_elsewhere(tables)
    return tables


def _name_as_elsewhere(tables: Sequence[Table]) -> None:
    """A method whose seeds are one row of a table has that name where fewer of them are measured."""
    names: dict[str, set[str]] = {}
    for row in (row for table in tables for row in table.rows if len(row.records) > 1):
        for record in row.records:
            names.setdefault(_who(record), set()).add(row.label)
    for table in tables:
        found = [names.get(_who(row.records[0]), {row.label}) for row in table.rows]
        wanted = [min(said) if len(said) == 1 else row.label for said, row in zip(found, table.rows, strict=True)]
        for row, name in zip(table.rows, wanted, strict=True):
            if wanted.count(name) == 1:
                row.label = name


def _who(record: Record) -> str:
    """What tells a method's training from others of the same label."""
    method = record.method
    return repr((record.label, method.name, method.parameters, method.weights, method.images_seen, method.seed))


def _among_masks(name: str) -> tuple[str, int]:
    """
    >>> _among_masks("table1_64-wide") < _among_masks("table1_64-half") < _among_masks("table2")
    True
    """
    family, _, mask = name.rpartition("-")
    masks = _masks().get(family, [])
    return (family, masks.index(mask)) if mask in masks else (name, 0)


@cache
def _masks() -> dict[str, list[str]]:
    """By name, the masks of the installed protocols that have several."""
    found = (read_yaml(path) for path in (INSTALLED / "protocols").glob("*.yaml"))
    return {one["name"]: list(one["masks"]) for one in found if isinstance(one.get("masks"), dict)}


def validation_tables(runs: Sequence[History]) -> list[Table]:
    """Results of each run's last validation, one table per hash of ``val``."""
    by_hash: dict[str, list[Record]] = {}
    for run in runs:
        last = {key.removeprefix("val/"): curve[-1] for key, curve in run.curves.items() if key.startswith("val/")}
        if not last or not run.facts.get("val_protocol_hash"):
            continue
        method = MethodFacts(
            name=run.method or run.label,
            label=run.label,
            weights="none",
            parameters=_counts(run.facts.get("parameters")),
            seed=run.seed,
            images_seen=round(max(seen for seen, _ in last.values())),
            run=run.folder,
        )
        metrics = {name: MetricResult(_defined_here(name), mean=value) for name, (_, value) in last.items()}
        record = Record(ProtocolFacts("val", run.val_hash, {}), method, metrics)
        by_hash.setdefault(run.val_hash, []).append(record)
    return [_table(group, runs) for group in by_hash.values()]


def _defined_here(name: str) -> str:
    """Definition of a metric that every validation logs; anything else is the method's own."""
    return definition(name) if name in CHEAP else f"Logged by the method as val/{name}."


def _counts(value: object) -> dict[str, int] | None:
    """The parameters that run.json or W&B names, if they are what ``fit`` writes."""
    if not isinstance(value, dict):
        return None
    counts = {str(name): count for name, count in value.items() if isinstance(count, int)}
    return counts if len(counts) == len(value) else None


def _without_copies(records: Sequence[Record]) -> list[Record]:
    """Two folders may hold the same record: the same method, checkpoint and numbers count once."""
    kept: dict[str, Record] = {}
    for record in records:
        kept.setdefault(repr((record.method, record.metrics)), record)
    return list(kept.values())


def run_of(record: Record, runs: Sequence[History]) -> History | None:
    """The training run of a record's checkpoint: by path, or by name if folders were moved."""
    path = record.method.run
    if not path:
        return None
    exact = [run for run in runs if Path(run.folder).resolve() == Path(path).resolve()]
    named = [run for run in runs if Path(run.folder).name == Path(path).name]
    return exact[0] if exact else named[0] if len(named) == 1 else None


def _table(records: Sequence[Record], runs: Sequence[History]) -> Table:
    metrics = _as_in_the_protocol(records[0].protocol, definitions_of(records))
    rows = [_row(group, list(metrics)) for group in _group_seeds(records, runs)]
    metrics, rows, unmeasured = columns(metrics, rows)
    _make_labels_unique(rows)
    for name in metrics:
        rank(name, [row.cells[name] for row in rows])
    if metrics:
        rows.sort(key=lambda row: _place(next(iter(metrics)), row))
    return Table(records[0].protocol, metrics, rows, unmeasured)


def _as_in_the_protocol(protocol: ProtocolFacts, metrics: dict[str, str]) -> dict[str, str]:
    """Metrics in the protocol's order: its first is the one that rows are sorted by."""
    listed = protocol.definition.get("metrics")
    order = [name for name in listed if name in metrics] if isinstance(listed, dict) else []
    return {name: metrics[name] for name in dict.fromkeys([*order, *metrics])}


def _group_seeds(records: Sequence[Record], runs: Sequence[History] = ()) -> list[list[Record]]:
    """Records that differ only in seed belong together.

    Equal method, networks, weights, images seen, adaptation and metrics (votes aside: people may vote on one seed),
    different seeds, labels that are equal once a trailing 'seed 3' is taken out (or have none), and equal configs once
    the seed is taken out. Where the config of one of a label's runs is not here, as with an adopted unit, none counts.
    """
    groups: dict[str, list[Record]] = {}
    silent = {without_seed_mark(record.label) for record in records if not _config_of(record, runs)}
    marked = {mark for record in records if (mark := without_seed_mark(record.label)) != record.label}
    for record in records:
        method, seed, label = record.method, record.method.seed, without_seed_mark(record.label)
        same = (method.name, method.parameters, method.weights, method.images_seen)
        measured = (record.adaptation, record.not_applicable, sorted(record.metrics.keys() - {"votes"}))
        said = "" if label in silent else _without_seed(_config_of(record, runs))
        key = repr((same, measured, said, label if said == "" or label in marked else None))
        if seed is None or any(r.method.seed == seed for r in groups.get(key, [])):
            key += f" {record.source}"
        groups.setdefault(key, []).append(record)
    return list(groups.values())


def _config_of(record: Record, runs: Sequence[History]) -> dict[str, object]:
    """The config of a record's run, else its facts; empty if neither is available."""
    run, path = run_of(record, runs), record.method.run
    if run is None and path and Path(path).is_absolute() and Path(path).is_dir():  # relative: of an adopted unit
        run = Run(Path(path)).history
    return (run.config or run.facts) if run else {}


def _without_seed(config: dict[str, object]) -> str:
    """A config as text, without the seed and without where it logs: equal texts differ only in the seed."""

    def strip(value: object) -> object:
        if isinstance(value, dict):
            return {str(k): strip(v) for k, v in value.items() if k not in _SEED_AND_PLACE}
        return [strip(v) for v in value] if isinstance(value, list) else value

    return json.dumps(strip(config), sort_keys=True, default=str)


def without_seed_mark(label: str) -> str:
    """
    >>> without_seed_mark("DeepFillV2-seed3"), without_seed_mark("LaMa (seed 1)"), without_seed_mark("Seed")
    ('DeepFillV2', 'LaMa', 'Seed')
    """
    return re.sub(r"[\s_\-/.,(]+seed[\s=_:-]*\d+\)?$", "", label, flags=re.IGNORECASE)


def _row(records: list[Record], metrics: Sequence[str]) -> Row:
    label = records[0].label
    if len(records) > 1:
        labels = {without_seed_mark(record.label) for record in records}
        label = labels.pop() if len(labels) == 1 else records[0].method.name
    return Row(label, records, {name: cell_of(records, name) for name in metrics})


def _place(metric: str, row: Row) -> tuple[bool, float, str]:
    """Sort key: the best first, missing values last."""
    mean, higher = row.cells[metric].mean, higher_is_better(metric)
    if higher is None:
        return mean is None, 0.0, row.label
    return mean is None, (-1 if higher else 1) * (mean or 0.0), row.label


def _make_labels_unique(rows: Sequence[Row]) -> None:
    """Disambiguate rows with the same label by seed, weights, images seen, or folder."""
    for label in {row.label for row in rows}:
        same = [row for row in rows if row.label == label]
        if len(same) == 1:
            continue
        for key in ("seed", "weights", "images_seen", "run", "checkpoint"):
            said = [str(getattr(row.method, key)) for row in same]
            if len(set(said)) == len(same):
                break
        else:
            said = [str(number + 1) for number in range(len(same))]
            key = "no."
        for row, text in zip(same, said, strict=True):
            row.label = f"{label} ({key.replace('_', ' ')} {Path(text).name if key in {'run', 'checkpoint'} else text})"
