"""Tables as text: one renderer for Markdown, LaTeX and the screen."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from experiments.compare.numbers import arrow, column, number
from experiments.compare.table import Cell, Row, Table
from experiments.files import markup
from experiments.records.intervals import FEW, paired_difference
from experiments.records.record import NOT_RUN


@dataclass(frozen=True)
class Style:
    """How a format writes names, marks and missing values.

    Args:
        intervals: With the 95 % interval behind each mean.
    """

    escape: Callable[[str], str]
    best: str
    tied: str
    spread: str
    missing: str
    arrows: dict[str, str]
    intervals: bool = False


@dataclass(frozen=True)
class Grid:
    """A table whose cells are text."""

    head: list[str]
    rows: list[list[str]]


def title(table: Table) -> str:
    few = ", few" if 0 < table.photographs < FEW else ""
    return f"{table.name} ({table.hash[:8]}, {table.images} images{few})"


def measured(table: Table, style: Style) -> Grid:
    """Method, metrics, costs."""
    rows = []
    for row in table.rows:
        costs = [(cost, row.cost(cost)) for cost in table.costs]
        cells = [_cell(name, row.cells[name], style) for name in table.metrics]
        rows.append([_label(row, style), *cells, *("" if n is None else cost.write(n) for cost, n in costs)])
    return Grid([*head(list(table.metrics), style), *(cost.heading for cost in table.costs)], rows)


def differences(table: Table, baseline: str, style: Style) -> Grid:
    """Paired difference of each method to the baseline: mean over common images with its 95 % interval."""
    base = next(row for row in table.rows if row.label == baseline)
    rows = []
    for row in table.rows:
        if row is not base and not (row.not_applicable or base.not_applicable):
            cells = [_difference(name, row.cells[name], base.cells[name]) for name in table.metrics]
            rows.append([_label(row, style), *cells])
    return Grid(head(list(table.metrics), style), rows)


def published(table: Table, style: Style) -> Grid:
    """Published values with their source."""
    rows = table.protocol.published
    names = list(dict.fromkeys([*table.metrics, *(name for row in rows for name in row.metrics)]))
    names = [name for name in names if any(name in row.metrics for row in rows)]
    cells = [[*(str(row.metrics.get(name, "")) for name in names), style.escape(row.source)] for row in rows]
    lines = [[style.escape(row.label), *line] for row, line in zip(rows, cells, strict=True)]
    return Grid([*head(names, style), "Source"], lines)


def head(metrics: Sequence[str], style: Style) -> list[str]:
    return ["Method", *(f"{style.escape(column(name))}{style.arrows.get(arrow(name), '')}" for name in metrics)]


def _label(row: Row, style: Style) -> str:
    seeds = f" ({len(row.records)} seeds)" if len(row.records) > 1 else ""
    elsewhere = f" ({NOT_RUN})" if row.method.outputs is not None else ""
    return style.escape(row.label) + seeds + elsewhere


def _cell(name: str, cell: Cell, style: Style) -> str:
    if cell.mean is None:
        return style.missing.format(style.escape(cell.reason or ""))
    text = number(name, cell.mean)
    text = style.best.format(text) if cell.best else style.tied.format(text) if cell.tied else text
    if cell.deviation is not None:
        text += style.spread.format(number(name, cell.deviation))
    if style.intervals and cell.interval:
        text += f" [{number(name, cell.interval[0])}, {number(name, cell.interval[1])}]"
    return text


def _difference(name: str, cell: Cell, base: Cell) -> str:
    found = paired_difference(cell.values, base.values, base.photographs)
    if found is None:
        return "-"
    mean, interval, _ = found
    bounds = [number(name, bound, signed=True) for bound in interval or ()]
    return number(name, mean, signed=True) + (f" [{', '.join(bounds)}]" if bounds else "")


# ---- Markdown ------------------------------------------------------------------------------------------------------


def markdown(tables: Sequence[Table], notes: Sequence[str] = ()) -> str:
    """One table per protocol; published rows in a separate table."""
    parts = [f"> {_md(note)}" for note in notes]
    for table in tables:
        parts += [f"## {_md(title(table))}", _md_table(measured(table, _MARKDOWN)), *_md_unmeasured(table)]
        parts += _md_published(table)
    parts.append(
        "**bold**: best of its column; ≈: the 95 % interval of the paired difference to the best holds 0; "
        "±: deviation between seeds."
    )
    return "\n\n".join(parts) + "\n"


def report(table: Table, baseline: str | None = None) -> str:
    """Output of `benchmark` for one protocol: means with intervals, differences to the baseline, remarks."""
    parts = [f"# {_md(title(table))}", table.protocol.about, "Mean [95 % bootstrap interval over the images]."]
    if table.protocol.mask_files:
        parts.append(f"Masks: {_md(table.protocol.mask)}, {table.protocol.mask_files}.")
    parts.append(_md_table(measured(table, _WITH_INTERVALS)))
    if baseline:
        parts.append(f"Paired difference to {_md(baseline)}, mean over the images [95 % interval].")
        parts.append(_md_table(differences(table, baseline, _WITH_INTERVALS)))
    said = [(row, text) for row in table.rows for text in (row.not_applicable, row.adaptation, row.remark) if text]
    parts.append("\n".join(f"- {_md(row.label)}: {_md(text)}" for row, text in said))
    parts += _md_unmeasured(table)
    return "\n\n".join(part for part in [*parts, *_md_published(table)] if part) + "\n"


def _md_unmeasured(table: Table) -> list[str]:
    return [f"Not measured: {_md(name)}: {_md(reason)}" for name, reason in table.unmeasured.items()]


def _md_published(table: Table) -> list[str]:
    return ["Published, not measured here:", _md_table(published(table, _MARKDOWN))] if table.protocol.published else []


def _md_table(grid: Grid) -> str:
    lines = [grid.head, ["---"] + ["---:"] * (len(grid.head) - 1), *grid.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _md(text: str) -> str:
    """A name as plain text: no markup, no HTML, no new cell.

    >>> print(_md("a|b <i>*x*"))
    a\\|b &lt;i&gt;\\*x\\*
    """
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", text)


# ---- HTML, for notebooks --------------------------------------------------------------------------------------------


def html(tables: Sequence[Table], notes: Sequence[str] = ()) -> str:
    """The tables of :func:`markdown`, without published rows."""
    parts = [f"<p>{escape(note)}</p>" for note in notes]
    for table in tables:
        grid = measured(table, HTML)
        parts += [f"<p><b>{escape(title(table))}</b></p>", markup.table(grid.head, grid.rows)]
    return "".join(parts)


def link(page: Path) -> str:
    return f'<p><a href="{escape(page.as_posix())}">{escape(page.name)}</a></p>'


# ---- LaTeX ---------------------------------------------------------------------------------------------------------


def latex(tables: Sequence[Table]) -> str:
    """One booktabs table per protocol; best bold, tied underlined, published rows below a separate rule."""
    return "\n".join(_latex_table(table) for table in tables)


def _latex_table(table: Table) -> str:
    grid = measured(table, LATEX)
    lines = [
        f"% {table.name.splitlines()[0]}, protocol hash {table.hash}; needs \\usepackage{{booktabs}}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{tex(title(table))}. Bold: best; underlined: the 95\,\% interval of the paired difference to the "
        r"best holds 0.}",
        rf"\begin{{tabular}}{{l{'r' * (len(grid.head) - 1)}}}",
        r"\toprule",
        " & ".join(grid.head) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in grid.rows),
    ]
    if table.protocol.published:
        lines += [r"\midrule", rf"\multicolumn{{{len(grid.head)}}}{{l}}{{\emph{{Published, not measured here}}}} \\"]
    for row in table.protocol.published:
        values = [str(row.metrics.get(name, "")) for name in table.metrics]
        cells = [rf"\emph{{{tex(row.label)}}}", *values, *("" for _ in table.costs)]
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
    return "\n".join(lines)


_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def tex(text: str) -> str:
    r"""
    >>> print(tex("a_b & 50%"))
    a\_b \& 50\%
    """
    return "".join(_TEX.get(character, character) for character in " ".join(text.split()))


_MARKDOWN = Style(_md, "**{}**", "{} ≈", " ± {}", "n/a: {}", {"↑": "↑", "↓": "↓"})
_WITH_INTERVALS = replace(_MARKDOWN, intervals=True)
HTML = Style(escape, "<b>{}</b>", "{} ≈", " ± {}", "n/a: {}", {"↑": "↑", "↓": "↓"}, intervals=True)
SCREEN = Style(str, "{}*", "{}≈", " ± {}", "n/a", {"↑": "↑", "↓": "↓"}, intervals=True)
LATEX = Style(
    tex, r"\textbf{{{}}}", r"\underline{{{}}}", r" $\pm$ {}", r"\emph{{n/a: {}}}",
    {"↑": r"$\uparrow$", "↓": r"$\downarrow$"},
)  # fmt: skip
