"""``lit-inpaint compare``: arguments, inputs and outputs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.compare import spreadsheet, text
from experiments.compare.grouping import make_tables, validation_tables
from experiments.compare.page import render
from experiments.compare.reader import read_folders
from experiments.compare.table import Table
from experiments.files.write import write_text
from experiments.records.intervals import LEAST
from experiments.records.record import Record
from experiments.run import Run
from experiments.run.curves import History
from lit_inpaint.options import Parser


def parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="lit-inpaint compare",
        description="Combine benchmark records and training curves into one page, with Markdown, CSV and LaTeX beside "
        "it. Results of different protocols never share a column.",
    )
    p.add_argument(
        "folders",
        nargs="*",
        type=Path,
        help="output folders of benchmark and run folders of fit, searched at any depth",
    )
    p.add_argument(
        "--out", type=Path, default=Path("compare.html"), help="page to write; the other files share its name"
    )
    p.add_argument("--note", action="append", default=[], help="line to show in the page's banner; may be repeated")
    p.add_argument(
        "--wandb", metavar="ENTITY/PROJECT", help="also show the runs of this project, read through the public API"
    )
    p.add_argument("--wandb-workspace", action="store_true", help="also save the charts as a workspace of that project")
    return p


def main(argv: list[str]) -> int:
    """Write the page and the tables; return 0. Raises a one-line ValueError for what cannot be compared."""
    arguments = parser().parse_args(argv)
    notes: list[str] = []
    records, runs = read_folders(arguments.folders)
    for run in runs:
        if run.note:
            print(f"lit-inpaint: {run.folder}: {run.note}", file=sys.stderr)
    if arguments.wandb:
        notes += add_project(arguments.wandb, records, runs, arguments.wandb_workspace)
    if arguments.wandb_workspace and not arguments.wandb:
        raise ValueError("--wandb-workspace saves a view of a project; name the project: --wandb ENTITY/PROJECT.")
    if not records and not runs:
        raise ValueError("nothing to compare; give output folders of `lit-inpaint benchmark` or run folders of `fit`.")
    tables = make_tables(records, runs)
    notes += [*arguments.note, *notes_of(records, tables)]
    written = write(tables, runs, notes, arguments.out)
    print(text.markdown(tables, notes) if tables else f"{len(runs)} training runs, no benchmark records.\n")
    for path in written:
        print(path)
    return 0


def add_project(project: str, records: Sequence[Record], runs: list[History], save: bool) -> list[str]:
    """Add the runs of a W&B project to ``runs``; return a banner line if it could not be read.

    Raises:
        ValueError: It could not be read and there is nothing else to compare.
    """
    from experiments.compare.weights_and_biases import Unreachable, read_project, save_workspace

    known = [wandb_id for run in runs if (wandb_id := Run(Path(run.folder)).wandb_id)]
    try:
        runs += read_project(project, known)
        if save:
            print(f"W&B workspace: {save_workspace(project, runs)}")
    except Unreachable as error:
        if not (records or runs):
            raise ValueError(str(error)) from None
        print(f"lit-inpaint: {error}", file=sys.stderr)
        return [str(error)]
    return []


def notes_of(records: Sequence[Record], tables: Sequence[Table]) -> list[str]:
    """Notes shared by all records of a page, and a warning about too few images."""
    said = [record.remark for record in records]
    notes = [note for note in dict.fromkeys(said) if note and (said.count(note) > 1 or len(records) == 1)]
    photographs = max((table.photographs for table in tables), default=LEAST)
    if photographs < LEAST and not any("smoke run" in note.lower() for note in notes):
        notes.insert(0, f"smoke run on {photographs} photograph{'s' * (photographs != 1)}, not a result")
    return notes


def write(tables: Sequence[Table], runs: Sequence[History], notes: Sequence[str], out: Path) -> list[Path]:
    """Write the page, .md, .csv, .tex and, if papers are quoted, .published.csv.

    The page is written first: it identifies the other files as ours, even after a kill between two of them.
    """
    files = {".html": render(tables, runs, notes, validation_tables(runs))}
    if tables:
        files[".md"], files[".csv"] = text.markdown(tables, notes), spreadsheet.measured(tables)
        files[".tex"] = text.latex(tables)
        if published := spreadsheet.published(tables):
            files[".published.csv"] = published
    page = out.with_suffix(".html")
    taken = [file for suffix in files if (file := out.with_suffix(suffix)).exists()]
    if taken and not (page.is_file() and "lit-inpaint comparison" in page.read_text("utf-8", "replace")):
        raise ValueError(f"{taken[0]} exists and was not written by compare; give another --out.")
    for suffix, content in files.items():
        write_text(out.with_suffix(suffix), content)
    return [out.with_suffix(suffix) for suffix in sorted(files, key=".html".__eq__)]  # the page is named last
