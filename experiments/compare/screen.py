"""Tables in a terminal."""

from rich.table import Table as RichTable

from experiments.compare.table import Table
from experiments.compare.text import SCREEN, Grid, differences, measured, title


def results(table: Table, width: int = 80) -> RichTable:
    return _fitted(title(table), measured(table, SCREEN), width)


def gains(table: Table, baseline: str, width: int = 80) -> RichTable:
    """Paired differences to the baseline."""
    return _fitted(f"{table.name}: paired difference to {baseline}", differences(table, baseline, SCREEN), width)


def _fitted(name: str, grid: Grid, width: int) -> RichTable:
    """Table without empty columns. If it is too wide, it drops the intervals, then wraps."""
    shown = RichTable(title=name, title_justify="left")
    kept = [i for i in range(len(grid.head)) if i == 0 or any(row[i] not in ("-", "n/a", "") for row in grid.rows)]
    columns = [[grid.head[i], *(row[i].replace(" [", "\n[") for row in grid.rows)] for i in kept]
    if _width(columns) > width:
        columns = [[cell.partition("\n")[0] for cell in column] for column in columns]
    if _width(columns) > width:
        columns = [[head.replace(" ↑", "\n↑").replace(" ↓", "\n↓"), *cells] for head, *cells in columns]
    for i, (head, *_) in enumerate(columns):
        shown.add_column(head, no_wrap=i == 0, overflow="fold")
    for line in zip(*(cells for _, *cells in columns), strict=True):
        shown.add_row(*line)
    return shown


def _width(columns: list[list[str]]) -> int:
    """Width of a table including its borders."""
    return sum(max(len(line) for cell in column for line in cell.split("\n")) + 3 for column in columns) + 1
