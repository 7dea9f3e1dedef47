"""Methods down, masks or shares of hole across: every number of a metric at a glance."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from experiments.compare.numbers import number
from experiments.compare.table import Table
from lit_inpaint.metrics import higher_is_better
from masks.area import bucket_of


def families(tables: Sequence[Table]) -> dict[str, list[Table]]:
    """Protocols that differ only in their masks: the same name up to the last - (repaint-half), else up to _ or /."""
    found: dict[str, list[Table]] = {}
    for table in tables:
        family = re.split(r"-(?!.*-)" if "-" in table.name else r"[_/](?!.*[_/])", table.name)[0]
        found.setdefault(str(family), []).append(table)
    return {name: group for name, group in found.items() if len(group) > 1}


@dataclass(frozen=True)
class _Tile:
    text: str
    shade: float | None  # 0 the worst of its column, 1 the best; None where there is no number
    best: bool = False


@dataclass(frozen=True)
class TileMap:
    """Methods down, masks or buckets across, one grid per metric. Each column has its own scale."""

    title: str
    columns: list[str]
    grids: dict[str, list[tuple[str, list[_Tile]]]]
    published: dict[str, list[tuple[str, list[str]]]] = field(default_factory=dict)  # by metric, apart from the grids


def map_of_masks(family: str, tables: Sequence[Table]) -> TileMap:
    """Each column is one protocol."""
    labels = list(dict.fromkeys(row.label for table in tables for row in table.rows))
    rows = {(t.hash, row.label): row for t in tables for row in t.rows}
    grids = {}
    for metric in (m for m in tables[0].metrics if all(m in table.metrics for table in tables)):
        cells = [[rows[t.hash, x].cells[metric] if (t.hash, x) in rows else None for x in labels] for t in tables]
        columns = [_tiles(metric, [c.mean if c else None for c in column]) for column in cells]
        grids[metric] = [(label, [column[i] for column in columns]) for i, label in enumerate(labels)]
    names = [mask_name(family, table) for table in tables]
    return TileMap(f"{family}: every mask at a glance", names, grids, _printed(tables))


def _printed(tables: Sequence[Table]) -> dict[str, list[tuple[str, list[str]]]]:
    """By metric, each published row with its number under each of the protocols."""
    printed = {(t.hash, p.label, m): str(v) for t in tables for p in t.protocol.published for m, v in p.metrics.items()}
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for label, metric in dict.fromkeys((label, metric) for _, label, metric in printed):
        line = [printed.get((t.hash, label, metric), "") for t in tables]
        found.setdefault(metric, []).append((label, line))
    return found


def map_of_areas(table: Table) -> TileMap | None:
    """Each column is one bucket of hole area of one protocol; None if the images fill fewer than two."""
    cells = [(row, metric, cell) for row in table.rows for metric, cell in row.cells.items()]
    buckets = sorted({bucket for _, _, cell in cells for bucket in cell.buckets})
    grids = {}
    for metric in table.metrics:
        columns = [_tiles(metric, [row.cells[metric].buckets.get(b) for row in table.rows]) for b in buckets]
        if any(tile.shade is not None for column in columns for tile in column):
            grids[metric] = [(row.label, [column[i] for column in columns]) for i, row in enumerate(table.rows)]
    words = [f"{100 * low:.0f} – {100 * high:.0f} %" for low, high in map(bucket_of, buckets)]
    return TileMap("By share of hole", words, grids) if len(buckets) > 1 and grids else None


def _tiles(metric: str, means: Sequence[float | None]) -> list[_Tile]:
    known = [mean for mean in means if mean is not None]
    if not known:
        return [_Tile("n/a", None)] * len(means)
    higher = higher_is_better(metric)
    if higher is None:
        return [_Tile("n/a" if m is None else number(metric, m), None) for m in means]
    worst, best = (min(known), max(known)) if higher else (max(known), min(known))
    shades = [None if m is None else round((m - worst) / (best - worst), 3) if best != worst else 1.0 for m in means]
    return [
        _Tile("n/a", None) if m is None else _Tile(number(metric, m), shade, m == best and len(known) > 1)
        for m, shade in zip(means, shades, strict=True)
    ]


def mask_name(family: str, table: Table) -> str:
    short = table.name.removeprefix(family).strip("-_/ ")
    return short or table.name
