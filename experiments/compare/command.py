"""``lit-inpaint compare``: arguments, inputs and outputs."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments.compare import options, screen, trainings
from experiments.compare.numbers import column
from experiments.compare.reader import read_folders
from experiments.compare.result import Page, written
from experiments.records.record import Record
from experiments.run import Run
from experiments.run.curves import History
from lit_inpaint.metrics import quantity


def main(argv: list[str]) -> int:
    """Write the page and the tables; return 0. Raises a one-line ValueError for what cannot be compared."""
    arguments = options.compare().parse_args(argv)
    notes: list[str] = []
    records, runs = read_folders(arguments.folders)
    for run in runs:
        if run.note:
            print(f"lit-inpaint: {run.folder}: {run.note}", file=sys.stderr)
    if arguments.wandb:
        notes += _add_project(arguments.wandb, records, runs, arguments.wandb_workspace)
    if arguments.wandb_workspace and not arguments.wandb:
        raise ValueError("--wandb-workspace saves a view of a project; name the project: --wandb ENTITY/PROJECT.")
    known = trainings.read(arguments.trainings)
    page = written(records, runs, [*notes, *arguments.note], arguments.out, arguments.paper, known)
    _show(page)
    for path in page.files:
        print(path)
    return 0


def _show(page: Page) -> None:
    """The tables as a terminal shows them; the Markdown file has the published rows and every column."""
    console = Console(highlight=False, markup=False)
    for note in page.notes:
        console.print(note, style="yellow")
    for table in page.tables:
        console.print(screen.results(table, console.width))
        for name, reason in table.unmeasured.items():
            console.print(f"{column(name)} ({name}) is not measured: {reason}", soft_wrap=True)
    for name in dict.fromkeys(name for table in page.tables for name in table.metrics if quantity(name) is None):
        flag = f"--import {name.rpartition('.')[0] or 'package.module'}"
        console.print(
            f"{name} is not defined here, and so not ranked: if you trust its module, add {flag}.", soft_wrap=True
        )
    if page.tables:
        console.print("*: best of its column; ≈: the 95 % interval of the paired difference to the best holds 0.")
    else:
        console.print(f"{len(page.runs)} training runs, no benchmark records.")


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
