"""The tables as Markdown, CSV and LaTeX, and how numbers are written everywhere."""

import csv
import io
import math
import re
from collections.abc import Sequence

from experiments.compare.table import Cell, Row, Table
from lit_inpaint.metrics import higher_is_better, quantity


def number(metric: str, value: float) -> str:
    """
    >>> number("psnr_hole", 23.456), number("lpips_alex", 0.06789)
    ('23.46', '0.0679')
    """
    found = quantity(metric)
    return f"{value:.{found.decimals if found else 4}f}"


def titled(metric: str) -> str:
    """What a column's number is called in prose, before its definition.

    >>> titled("psnr_hole"), titled("mystery")
    ('PSNR in the hole, dB. ', '')
    """
    found = quantity(metric)
    return f"{', '.join(filter(None, [found.title, found.unit]))}. " if found else ""


def significant(value: float | None, digits: int = 3) -> str:
    """
    >>> significant(0.01234), significant(123.4), significant(None)
    ('0.0123', '123', '')
    """
    if value is None or not math.isfinite(value):
        return ""
    if value == 0:
        return "0"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def millions(count: int | None) -> str:
    """
    >>> millions(4052478), millions(0), millions(10570)
    ('4.05 M', '0', '10.6 k')
    """
    if not count:
        return "" if count is None else "0"
    return f"{significant(count / 1e6)} M" if count >= 1e6 else f"{significant(count / 1e3)} k"


def arrow(metric: str) -> str:
    """Which way is better; empty where nothing defines it."""
    return {True: "↑", False: "↓", None: ""}[higher_is_better(metric)]


def title(table: Table) -> str:
    return f"{table.name} ({table.hash[:8]}, {table.images} images)"


def _marked(cell: Cell, text: str) -> str:
    return f"**{text}**" if cell.best else f"{text} ≈" if cell.tied else text


def _spread(cell: Cell, metric: str) -> str:
    return f" ± {number(metric, cell.deviation)}" if cell.deviation is not None else ""


# ---- Markdown ------------------------------------------------------------------------------------------------------


def markdown(tables: Sequence[Table], notes: Sequence[str] = ()) -> str:
    """One table a protocol; published rows in a table of their own."""
    parts = [f"> {_md(note)}" for note in notes]
    for table in tables:
        names = list(table.metrics)
        head = ["Method", *(f"{_md(m)} {arrow(m)}" for m in names), "s / image", "Parameters"]
        parts.append(f"## {_md(title(table))}")
        parts.append(_md_table(head, [_md_row(row, names) for row in table.rows]))
        if table.published:
            names = [m for m in table.metrics if any(m in p.values for p in table.published)]
            names += [m for m in dict.fromkeys(m for p in table.published for m in p.values) if m not in names]
            parts.append("Published, not measured here:")
            rows = [[_md(p.label), *(str(p.values.get(m, "")) for m in names), _md(p.source)] for p in table.published]
            parts.append(_md_table(["Method", *(f"{_md(m)} {arrow(m)}" for m in names), "Source"], rows))
    parts.append(
        "**bold**: best of its column; ≈: the 95 % interval of the paired difference to the best holds 0; "
        "±: deviation between seeds."
    )
    return "\n\n".join(parts) + "\n"


def _md_row(row: Row, names: Sequence[str]) -> list[str]:
    cells = []
    for name in names:
        cell = row.cells[name]
        if cell.mean is None:
            cells.append(f"n/a: {_md(cell.reason or '')}")
        else:
            cells.append(_marked(cell, number(name, cell.mean)) + _spread(cell, name))
    seeds = f" ({len(row.records)} seeds)" if len(row.records) > 1 else ""
    return [_md(row.label) + seeds, *cells, significant(row.mean_of("seconds_per_image")), millions(row.parameters)]


def _md_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _md(text: str) -> str:
    """A name as plain text: no markup, no HTML, no new cell.

    >>> print(_md("a|b <i>*x*"))
    a\\|b &lt;i&gt;\\*x\\*
    """
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", text)


# ---- CSV -----------------------------------------------------------------------------------------------------------


def csv_measured(tables: Sequence[Table]) -> str:
    """One line a number (protocol, row, metric): what a program reads."""
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
                        "method": row.method["name"],
                        "weights": row.weights,
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
                        "seconds_per_image": row.mean_of("seconds_per_image"),
                        "parameters": row.parameters,
                        "peak_memory_bytes": row.mean_of("peak_memory_bytes"),
                        "images_seen": row.method.get("images_seen"),
                        "adaptation": row.said("adaptation"),
                    }
                )
    return _csv(list(lines[0]) if lines else [], lines)


def csv_published(tables: Sequence[Table]) -> str | None:
    """The reference rows, in a file of their own so that no program averages them with measured ones."""
    lines = [
        {"protocol": t.name, "hash": t.hash, "label": p.label, "metric": metric, "value": value, "source": p.source}
        for t in tables
        for p in t.published
        for metric, value in p.values.items()
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


# ---- LaTeX ---------------------------------------------------------------------------------------------------------


def latex(tables: Sequence[Table]) -> str:
    """One booktabs table a protocol; best bold, tied underlined, published rows below a rule of their own."""
    return "\n".join(_latex_table(table) for table in tables)


def _latex_table(table: Table) -> str:
    names = list(table.metrics)
    arrows = {m: {"↑": r" $\uparrow$", "↓": r" $\downarrow$"}.get(arrow(m), "") for m in names}
    lines = [
        f"% {table.name.splitlines()[0]}, protocol hash {table.hash}; needs \\usepackage{{booktabs}}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_tex(title(table))}. Bold: best; underlined: the 95\,\% interval of the paired difference to the "
        r"best holds 0.}",
        rf"\begin{{tabular}}{{l{'r' * (len(names) + 2)}}}",
        r"\toprule",
        " & ".join(["Method", *(f"{_tex(m)}{arrows[m]}" for m in names), "s / image", "Parameters"]) + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        cells = []
        for name in names:
            cell = row.cells[name]
            if cell.mean is None:
                cells.append(rf"\emph{{n/a: {_tex(cell.reason or '')}}}")
                continue
            text = number(name, cell.mean)
            text = rf"\textbf{{{text}}}" if cell.best else rf"\underline{{{text}}}" if cell.tied else text
            cells.append(text + (rf" $\pm$ {number(name, cell.deviation)}" if cell.deviation is not None else ""))
        tail = [significant(row.mean_of("seconds_per_image")), millions(row.parameters)]
        lines.append(" & ".join([_tex(row.label), *cells, *tail]) + r" \\")
    if table.published:
        lines += [r"\midrule", rf"\multicolumn{{{len(names) + 3}}}{{l}}{{\emph{{Published, not measured here}}}} \\"]
        for p in table.published:
            values = [str(p.values.get(m, "")) for m in names]
            lines.append(" & ".join([rf"\emph{{{_tex(p.label)}}}", *values, "", ""]) + r" \\")
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


def _tex(text: str) -> str:
    r"""
    >>> print(_tex("a_b & 50%"))
    a\_b \& 50\%
    """
    return "".join(_TEX.get(character, character) for character in " ".join(text.split()))
