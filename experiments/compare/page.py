"""The page: one self-contained HTML file with style, script, numbers and pictures that works offline."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from experiments.compare.grouping import run_of
from experiments.compare.numbers import arrow, column, millions, number, significant, titled
from experiments.compare.pictures import collect
from experiments.compare.table import Row, Table
from experiments.compare.tiles import families, map_of_areas, map_of_masks
from experiments.compare.trainings import NOTHING, Trainings
from experiments.records.record import Record
from experiments.run.curves import Curve, History
from lit_inpaint.metrics import headline, higher_is_better
from masks.size import by_name

HERE = Path(__file__).parent
COLOURS = 12  # of page.css
_IMAGE_BYTES = 24_000_000  # of all images of a page: pictures in base64, and their values
_CURVE_POINTS = 300


def render(
    tables: Sequence[Table],
    runs: Sequence[History],
    notes: Sequence[str] = (),
    validation: Sequence[Table] = (),
    known: Trainings = NOTHING,
) -> str:
    """The whole page as one string.

    Args:
        tables: Measured under benchmark protocols.
        runs: Training runs, for their curves.
        notes: Lines of the banner.
        validation: Tables of what the runs' last validation gave, one per hash of ``val``.
        known: What a study says of the runs.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"significant": significant, "millions": millions, "arrow": arrow}
    environment.globals |= {
        "number": number,
        "titled": titled,
        "column": column,
        "higher_is_better": higher_is_better,
        "anchor": anchor,
    }
    colours = _colours(tables, runs, validation, known)
    shown, picture_notes = [], []
    for table in tables:
        images, note = collect(table, _IMAGE_BYTES // max(1, len(tables)))
        shown.append(images)
        picture_notes.append(note)
    return environment.get_template("page.html.j2").render(
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(
            (HERE / "page.save.js").read_text(encoding="utf-8") + (HERE / "page.js").read_text(encoding="utf-8")
        ),
        heading=heading(tables, runs),
        notes=notes,
        tables=tables,
        validation=validation,
        facts=[facts(table) for table in tables],
        shown=shown,
        picture_notes=picture_notes,
        maps=[map_of_masks(name, group, known.published) for name, group in families(tables).items()],
        areas=[map_of_areas(table) for table in tables],
        colours=colours,
        definitions={name: words for table in [*validation, *tables] for name, words in table.metrics.items()},
        flat=flatten,
        behind=behind,
        data={
            "tables": [_chart_rows(t, colours) for t in tables],
            "runs": _chart_runs(tables, runs, colours, known),
            "headline": headline({key for run in runs for key in run.curves}),
        },
        of_hours=any(one.seconds_per_image for one in known.runs.values()),
        run_notes=[f"{run.label} {run.note}." for run in runs if run.note],
    )


def heading(tables: Sequence[Table], runs: Sequence[History]) -> str:
    """'4 methods on centre-hole', '6 methods on repaint, 6 masks', '2 training runs'."""
    if not tables:
        return f"{len(runs)} training run{'s' * (len(runs) != 1)}"
    methods = len({row.label for table in tables for row in table.rows})
    what = f"{methods} method{'s' * (methods != 1)}"
    if len(tables) > 1 and [len(group) for group in families(tables).values()] == [len(tables)]:
        return f"{what} on {next(iter(families(tables)))}, {len(tables)} masks"
    return f"{what} on {tables[0].name}" if len(tables) == 1 else f"{what} under {len(tables)} protocols"


def facts(table: Table) -> list[tuple[str, str]]:
    """Subtitle of a table."""
    d = table.protocol.definition
    how = ", shorter side resized" if d.get("resize") == "shorter" else ""
    how += ", cropped where the mask is" if d.get("crop", "centre") != "centre" else ""
    said = {
        "Images": str(table.images),
        "Photographs": str(table.photographs) if table.photographs != table.images else None,
        "Resolution": by_name(d["size"]).replace("x", " x ", 1) + how if d.get("size") else None,
        "Masks": table.protocol.mask,
        "Mask files": table.protocol.mask_files,
        "Measured": f"{d['measured']}, rounded to {d['rounding']}" if d.get("measured") else None,
        "Protocol hash": table.hash[:8],
    }
    return [(term, value) for term, value in said.items() if value]


def flatten(value: object, path: str = "") -> list[tuple[str, str]]:
    """A definition as (path, value) lines; entries beyond 12 are summarised."""
    if isinstance(value, dict) and (len(value) <= 12 or any(isinstance(v, dict) for v in value.values())):
        return [line for key, v in value.items() for line in flatten(v, f"{path}.{key}" if path else str(key))]
    if isinstance(value, dict):
        name, first = next(iter(value.items()))
        return [(path, f"{len(value)} entries, the first {name}: {str(first)[:16]}")]
    if isinstance(value, list):
        words = ", ".join(str(v) for v in value[:6])
        return [(path, words if len(value) <= 6 else f"{len(value)} entries: {words[:80]}, ...")]
    return [(path, str(value))]


def behind(record: Record) -> list[tuple[str, str]]:
    """Provenance of a record: its method, the machine, remarks."""
    method = [(path, words) for path, words in flatten(asdict(record.method)) if words not in ("None", "")]
    rest = {"device": record.device, "versions": record.versions, "adaptation": record.adaptation, "note": record.note}
    return [*method, *(line for key, value in rest.items() if value for line in flatten(value, key))]


def anchor(name: str) -> str:
    """
    >>> anchor("psnr <b>")
    'definition-psnr--b-'
    """
    return "definition-" + re.sub(r"[^\w-]", "-", name)


def _colours(
    tables: Sequence[Table], runs: Sequence[History], validation: Sequence[Table] = (), known: Trainings = NOTHING
) -> dict[str, int]:
    """One colour per method across the page; a run, and its row of the last validation, has that of its method. Those
    with a curve come first, so that no two curves share a colour while there are enough."""
    rows = _rows_of_runs(tables, runs, known)
    labels = [row.label for table in tables for row in table.rows]
    drawn = [rows.get(run.folder, run.label) for run in runs]
    labels = [*(label for label in labels if label in drawn), *drawn, *labels]
    colours = {label: index % COLOURS for index, label in enumerate(dict.fromkeys(labels))}
    for row in (row for table in validation for row in table.rows):
        label = rows.get(row.method.run or "", row.label)
        colours.setdefault(row.label, colours.get(label, len(colours) % COLOURS))
    return colours


def _rows_of_runs(tables: Sequence[Table], runs: Sequence[History], known: Trainings = NOTHING) -> dict[str, str]:
    """Label of the row that belongs to each run's folder."""
    rows = {record.label: row.label for table in tables for row in table.rows for record in row.records}
    found = {run.folder: rows[one.label] for run in runs if (one := known.of(run.folder)) and one.label in rows}
    for table in tables:
        for row in table.rows:
            for record in row.records:
                if run := run_of(record, runs):
                    found.setdefault(run.folder, row.label)
    return found


def _chart_rows(table: Table, colours: dict[str, int]) -> dict[str, object]:
    def point(row: Row) -> dict[str, object]:
        cells = {m: [c.mean, *(c.interval or (None, None))] for m, c in row.cells.items() if c.mean is not None}
        costs = {cost.name: row.cost(cost) for cost in table.costs}
        return {"label": row.label, "colour": colours[row.label], "costs": costs, "cells": cells}

    metrics = [{"name": m, "column": column(m), "higher": higher_is_better(m)} for m in table.metrics]
    return {"name": table.name, "metrics": metrics, "rows": [point(row) for row in table.rows]}


def _chart_runs(
    tables: Sequence[Table], runs: Sequence[History], colours: dict[str, int], known: Trainings = NOTHING
) -> list[dict[str, object]]:
    """Curves by key. ``val/`` keys carry the hash of their protocol if the runs have different ones."""
    rows = _rows_of_runs(tables, runs, known)
    several = len({run.val_hash for run in runs}) > 1
    charts: list[dict[str, object]] = []
    for run in runs:
        label = rows.get(run.folder, run.label)
        named = {
            f"{k} [{run.val_hash[:8]}]" if several and k.startswith("val/") else k: c for k, c in run.curves.items()
        }
        curves = {key: [[_short(x), _short(y)] for x, y in thin(curve)] for key, curve in named.items()}
        shown = label if run.folder not in rows or list(rows.values()).count(label) == 1 else f"{label}, {run.label}"
        one = known.of(run.folder)
        shown = known.label_of(run.folder) or shown
        hours = one.seconds_per_image / 3600 if one and one.seconds_per_image else None
        charts.append({"label": shown, "colour": colours[label], "curves": curves, "hours": hours})
    return charts


def _short(value: float) -> float:
    return float(f"{value:.5g}") if abs(value) < 1e5 else round(value)


def thin(curve: Curve, points: int = _CURVE_POINTS) -> Curve:
    """At most ``points`` points, each the mean of equally many neighbours."""
    if len(curve) <= points:
        return curve
    parts = np.array_split(np.array(curve), points)
    return [(float(part[:, 0].mean()), float(part[:, 1].mean())) for part in parts]
