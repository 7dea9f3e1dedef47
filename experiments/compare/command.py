"""``lit-inpaint compare``: arguments, inputs and outputs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.compare import text
from experiments.compare.reader import read_folders
from experiments.compare.result import written
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
        notes += _add_project(arguments.wandb, records, runs, arguments.wandb_workspace)
    if arguments.wandb_workspace and not arguments.wandb:
        raise ValueError("--wandb-workspace saves a view of a project; name the project: --wandb ENTITY/PROJECT.")
    page = written(records, runs, [*notes, *arguments.note], arguments.out)
    said = (
        text.markdown(page.tables, page.notes) if page.tables else f"{len(runs)} training runs, no benchmark records.\n"
    )
    print(said)
    for path in page.files:
        print(path)
    return 0


def _add_project(project: str, records: Sequence[Record], runs: list[History], save: bool) -> list[str]:
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
