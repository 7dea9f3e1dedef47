"""Tables in a terminal."""

import re

from rich.table import Table as RichTable

from experiments.compare.table import Table
from experiments.compare.text import SCREEN, Grid, differences, measured, title


def results(table: Table, width: int = 80) -> RichTable:
    return _fitted(title(table), measured(table, SCREEN), width)


def gains(table: Table, baseline: str, width: int = 80) -> RichTable:
    """Paired differences to the baseline."""
    return _fitted(f"{table.name}: paired difference to {baseline}", differences(table, baseline, SCREEN), width)


def _fitted(name: str, grid: Grid, width: int) -> RichTable:
    """Table without empty columns, every word whole.

    What is too wide goes in this order: the intervals, the headings' single line, the columns from the right, which the
    caption then names.
    """
    kept = [i for i in range(len(grid.head)) if i == 0 or any(row[i] not in ("-", "n/a", "") for row in grid.rows)]
    columns = [[grid.head[i], *(row[i].replace(" [", "\n[") for row in grid.rows)] for i in kept]
    if _width(columns) > width:
        columns = [[cell.partition("\n")[0] for cell in column] for column in columns]
    if _width(columns) > width:
        columns = [[re.sub(r" (?=\()|(?<=/) ", "\n", head), *cells] for head, *cells in columns]
    left_out: list[str] = []
    while len(columns) > 2 and _width(columns) > width:
        left_out.insert(0, columns.pop()[0].replace("\n", " "))
    caption = f"Not shown, too wide for {width} columns: {', '.join(left_out)}." if left_out else None
    words = max(len(name), len(caption or ""))
    shown = RichTable(title=name, title_justify="left", caption=caption, caption_justify="left")
    shown.min_width = min(words, width)
    for head, *_ in columns:
        shown.add_column(head, no_wrap=True, overflow="fold")
    for line in zip(*(cells for _, *cells in columns), strict=True):
        shown.add_row(*line)
    return shown


def _width(columns: list[list[str]]) -> int:
    """Width of a table including its borders."""
    return sum(max(len(line) for cell in column for line in cell.split("\n")) + 3 for column in columns) + 1
