"""Tables beside images: CSV or TSV files with a head line, one row per image."""

import csv
import io
import os
from collections.abc import Sequence

from masks.regular import read_text

IMAGE = "image"  # the column that says which image a row is about, as lists of files name it


def read_table(path: str | os.PathLike[str], needed: Sequence[str] = (IMAGE,)) -> list[dict[str, str]]:
    """The rows of a table by column; columns that nobody asks for are kept. Tabs in the head line separate the columns,
    else commas. Empty lines are left out.

    Raises:
        ValueError: Naming the file, and the line if it is one: no text, a column is missing or given twice, a row has
            another number of cells, or names no image.
    """
    text = read_text(path)
    head = text.partition("\n")[0]
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t" if "\t" in head else ",", strict=True))
    except csv.Error as error:
        raise ValueError(f"{path}: is not a table ({error}). Check its quotes.") from error
    columns = [name.strip() for name in rows[0]] if rows else []
    if missing := [name for name in needed if name not in columns]:
        given = f"its head line has {', '.join(columns)}" if any(columns) else "it is empty"
        raise ValueError(
            f"{path}: no column {missing[0]}; {given}. The first line names the columns: {','.join(needed)}."
        )
    if twice := next((name for name in columns if columns.count(name) > 1), None):
        raise ValueError(f"{path}: has two columns {twice}. Keep one.")
    found = []
    for number, cells in enumerate(rows[1:], 2):
        if not any(cells):
            continue
        row = dict(zip(columns, cells, strict=False))
        if len(cells) != len(columns):
            hint = "Put a cell that holds a comma in double quotes." if len(cells) > len(columns) else "Fill it up."
            raise ValueError(f"{path}: row {number} has {len(cells)} cells, the head line {len(columns)}. {hint}")
        if not row[IMAGE].strip():
            raise ValueError(f"{path}: row {number} names no image. Delete it, or fill the column {IMAGE}.")
        found.append(row)
    return found
