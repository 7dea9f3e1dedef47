"""Lists with columns: the image, its mask and its split, as CSV or TSV with a header."""

import csv
import io
import os
from dataclasses import dataclass

from masks.lists import as_meant
from masks.regular import read_text

SUFFIXES = (".csv", ".tsv")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Table:
    """Columns of a list, paths below the root; None for those that its header lacks."""

    images: list[str]
    masks: list[str] | None
    splits: list[str] | None


def read_table(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> Table:
    """The columns ``image``, ``mask`` and ``split`` of a list; others are left out.

    Columns are separated by tabs (.tsv), or by what separates the header: commas, semicolons or tabs.

    Raises:
        ValueError: Naming the list, and the line: no header, an empty cell, an unknown split.
    """
    text = read_text(path)
    first = text.lstrip("\n").partition("\n")[0]
    between = "\t" if os.fspath(path).lower().endswith(".tsv") else max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=between)
    header = [name.strip().lower() for name in next(rows, [])]
    if "image" not in header:
        raise ValueError(
            f"{path}: its first line is {first.strip()!r}; expected a header with the column image, and mask and split "
            "where there are such."
        )
    kept = {name: header.index(name) for name in ("image", "mask", "split") if name in header}
    columns: dict[str, list[str]] = {name: [] for name in kept}
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        for name, at in kept.items():
            value = row[at].strip() if at < len(row) else ""
            if not value or (name == "split" and value not in SPLITS):
                said = f"split is {value!r}; expected {', '.join(SPLITS)}" if value else f"no {name}"
                raise ValueError(f"{path}, line {rows.line_num}: {said}.")
            columns[name].append(value)
    if not columns["image"]:
        raise ValueError(f"{path}: a header without lines. Write one line per image.")
    paths = {name: as_meant(values, path, root, text) for name, values in columns.items() if name != "split"}
    return Table(paths["image"], paths.get("mask"), columns.get("split"))
