"""The tables as CSV, for programs."""

import csv
import io
from collections.abc import Sequence

from experiments.compare.costs import COSTS
from experiments.compare.table import Table


def measured(tables: Sequence[Table]) -> str:
    """One line per value (protocol, row, metric)."""
    lines: list[dict[str, object]] = []
    for table in tables:
        for row in table.rows:
            for metric, cell in row.cells.items():
                low, high = cell.interval or (None, None)
                lines.append(
                    {
                        "protocol": table.name,
                        "hash": table.hash,
                        "label": row.label,
                        "method": row.method.name,
                        "weights": row.method.weights,
                        "seeds": " ".join(str(seed) for seed in row.seeds if seed is not None),
                        "metric": metric,
                        "mean": cell.mean,
                        "low": low,
                        "high": high,
                        "deviation": cell.deviation,
                        "n": cell.n,
                        "left_out": cell.left_out,
                        "best": int(cell.best),
                        "tied": int(cell.tied),
                        "reason": cell.reason,
                        **{cost.name: row.cost(cost) for cost in [*COSTS, *table.more_costs]},
                        "images_seen": row.method.images_seen,
                        "adaptation": row.adaptation,
                    }
                )
    return _csv(list(lines[0]) if lines else [], lines)


def published(tables: Sequence[Table]) -> str | None:
    """The reference rows, in a separate file so that programs do not mix them with measured ones."""
    lines: list[dict[str, object]] = [
        {"protocol": t.name, "hash": t.hash, "label": p.label, "metric": metric, "value": value, "source": p.source}
        for t in tables
        for p in t.protocol.published
        for metric, value in p.metrics.items()
    ]
    return _csv(["protocol", "hash", "label", "metric", "value", "source"], lines) if lines else None


def _csv(columns: Sequence[str], lines: Sequence[dict[str, object]]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _inert(value) for key, value in line.items()} for line in lines)
    return file.getvalue()


def _inert(value: object) -> object:
    """A name that a spreadsheet would run as a formula gets an apostrophe before it.

    >>> _inert("=1+1"), _inert(-1.5)
    ("'=1+1", -1.5)
    """
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value
