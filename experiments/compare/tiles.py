"""Methods down, masks or shares of hole across: every number of a metric at a glance."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from experiments.compare.numbers import number
from experiments.compare.table import Cell, Row, Table
from experiments.records.record import PublishedRow, hash_of
from lit_inpaint.metrics import higher_is_better
from masks.area import bucket_of


def families(tables: Sequence[Table]) -> dict[str, list[Table]]:
    """Protocols that differ only in their masks: the same name up to a - (repaint-half), else up to the last _ or /.

    Names of protocols and of masks may hold a - themselves: up to the last one that a protocol shares with another, or
    to one before, as long as all that share it measure alike: the same images, size and metrics.
    """
    sharing, alike = defaultdict[str, list[Table]](list), defaultdict[str, set[str]](set)
    for table in tables:
        for start in _starts(table.name):
            sharing[start].append(table)
            alike[start].add(hash_of(table.protocol.definition | {"masks": None}))
    found: dict[str, list[Table]] = {}
    for table in tables:
        if shared := [start for start in _starts(table.name) if len(sharing[start]) > 1]:
            family = next((start for start in shared if len(alike[start]) == 1), shared[-1])
            found.setdefault(family, []).append(table)
    return {name: group for name, group in found.items() if len(group) > 1}


def _starts(name: str) -> list[str]:
    """What a name begins with, the shortest first.

    >>> _starts("set-thin-256"), _starts("faces64_wide")
    (['set', 'set-thin'], ['faces64'])
    """
    if "-" not in name:
        return [re.split(r"[_/](?!.*[_/])", name)[0]]
    return [name[: dash.start()] for dash in re.finditer("-", name)]


@dataclass(frozen=True)
class _Tile:
    text: str
    shade: float | None  # 0 the worst of its column, 1 the best; None where there is no number
    best: bool = False
    tied: bool = False
    spread: str = ""  # deviation between seeds
    n: int = 0  # images; 0 where it is not said
    reason: str = ""  # why there is no number


@dataclass(frozen=True)
class TileMap:
    """Methods down, masks or buckets across, one grid per metric. Each column has its own scale."""

    title: str
    columns: list[str]
    grids: dict[str, list[tuple[str, list[_Tile]]]]
    published: dict[str, list[tuple[str, list[str]]]] = field(default_factory=dict)  # by metric, apart from the grids
    sources: dict[str, str] = field(default_factory=dict)  # of the published rows, by metric


def map_of_masks(
    family: str, tables: Sequence[Table], beside: Mapping[str, Sequence[PublishedRow]] = MappingProxyType({})
) -> TileMap:
    """Each column is one protocol. ``beside``: by mask, what was published under another protocol."""
    labels = list(dict.fromkeys(row.label for table in tables for row in table.rows))
    rows = {(t.hash, row.label): row for t in tables for row in t.rows}
    grids = {}
    numbered = [table for table in tables if table.metrics]  # one where all refuse so far has none
    for metric in (m for t in numbered[:1] for m in t.metrics if all(m in table.metrics for table in numbered)):
        cells = [[_cell(metric, rows.get((t.hash, label))) for label in labels] for t in tables]
        columns = [_of_cells(metric, column) for column in cells]
        grids[metric] = [(label, [column[i] for column in columns]) for i, label in enumerate(labels)]
    names = [mask_name(family, table) for table in tables]
    rows_of = [[*table.protocol.published, *beside.get(name, ())] for name, table in zip(names, tables, strict=True)]
    printed = _printed(rows_of)
    flat = [row for rows in rows_of for row in rows]
    sources = {m: "; ".join(dict.fromkeys(row.source for row in flat if m in row.metrics)) for m in printed}
    return TileMap(f"{family}: every mask at a glance", names, grids, printed, sources)


def _printed(rows_of: Sequence[Sequence[PublishedRow]]) -> dict[str, list[tuple[str, list[str]]]]:
    """By metric, each published row with its number under each of the masks."""
    printed = {(i, p.label, m): str(v) for i, rows in enumerate(rows_of) for p in rows for m, v in p.metrics.items()}
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for label, metric in dict.fromkeys((label, metric) for _, label, metric in printed):
        line = [printed.get((i, label, metric), "") for i in range(len(rows_of))]
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


def _cell(metric: str, row: Row | None) -> Cell | None:
    return row.cells.get(metric, Cell(None, reason=row.not_applicable)) if row else None


def _of_cells(metric: str, cells: Sequence[Cell | None]) -> list[_Tile]:
    """Tiles with what a cell says beside its mean."""
    told = []
    for cell, tile in zip(cells, _tiles(metric, [c.mean if c else None for c in cells]), strict=True):
        if cell is None:
            told.append(replace(tile, reason="not measured"))
            continue
        spread = "" if cell.deviation is None else number(metric, cell.deviation)
        best = cell.best or (tile.best and not any(c.best for c in cells if c))
        told.append(replace(tile, best=best, tied=cell.tied, spread=spread, n=cell.n, reason=cell.reason or ""))
    return told


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
