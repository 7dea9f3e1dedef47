"""The table of a paper: best bold, second underlined, and a sentence that states the protocol and its hash."""

from collections.abc import Sequence

import lit_inpaint
from experiments.compare.costs import COSTS
from experiments.compare.numbers import number
from experiments.compare.table import Cell, Table
from experiments.compare.text import LATEX, head, tex
from lit_inpaint.metrics import higher_is_better
from masks.size import by_name

_PARAMETERS = next(cost for cost in COSTS if cost.name == "parameters")


def paper(tables: Sequence[Table]) -> str:
    """One booktabs table per protocol, each with its sentence in the caption."""
    return "\n".join(_table(table) for table in tables)


def sentence(table: Table) -> str:
    """What a reader needs to measure the same: protocol, hash, images, masks, what is compared, version."""
    d = table.protocol.definition
    size = f" at {by_name(d['size'])} pixels" if d.get("size") else ""
    masks = f", masks {table.protocol.mask}" if table.protocol.mask else ""
    measured = f"; the {d['measured']} is measured, rounded to {d['rounding']}" if d.get("measured") else ""
    return (
        f"Measured by lit-inpaint {lit_inpaint.__version__} under its protocol {table.name}, hash {table.hash[:16]}: "
        f"{table.images} images{size}{masks}{measured}."
    )


def _count(count: float | None) -> str:
    """Parameters; a dash where they are unknown."""
    return "--" if count is None else _PARAMETERS.write(count)


def _table(table: Table) -> str:
    metrics = list(table.metrics)
    marks = {metric: _marks(metric, [row.cells[metric] for row in table.rows]) for metric in metrics}
    counts = [row.cost(_PARAMETERS) for row in table.rows]
    shown = any(counts)
    rows = [
        [tex(row.label), *(marks[metric][i] for metric in metrics), *([_count(counts[i])] * shown)]
        for i, row in enumerate(table.rows)
    ]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}; protocol hash " + table.hash,
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{tex(sentence(table))} Best bold, second underlined.}}",
            rf"\label{{tab:{''.join(c if c.isalnum() else '-' for c in table.name)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(metrics) + shown)}}}",
            r"\toprule",
            " & ".join([*head(metrics, LATEX), *["Parameters"] * shown]) + r" \\",
            r"\midrule",
            *(" & ".join(row) + r" \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _marks(metric: str, cells: Sequence[Cell]) -> list[str]:
    """The column as text. Numbers over part of the images, and those without a direction, are not marked."""
    full = max((cell.n + cell.left_out for cell in cells if cell.mean is not None), default=0)
    higher = higher_is_better(metric)
    ranked = {cell.mean for cell in cells if cell.mean is not None and cell.n + cell.left_out == full}
    places = sorted(ranked, reverse=bool(higher))[:2] if higher is not None and len(ranked) > 1 else []
    found = []
    for cell in cells:
        text = "--" if cell.mean is None else number(metric, cell.mean)
        if cell.mean in places and cell.n + cell.left_out == full:
            text = rf"\{('textbf', 'underline')[places.index(cell.mean)]}{{{text}}}"
        found.append(text)
    return found
