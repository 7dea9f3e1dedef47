"""What `compare` writes; ``experiments.compare(...)`` from Python."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.compare import spreadsheet, text
from experiments.compare.grouping import make_tables, validation_tables, without_seed_mark
from experiments.compare.page import render
from experiments.compare.paper import paper as table_of_a_paper
from experiments.compare.reader import read_folders
from experiments.compare.table import Table
from experiments.compare.trainings import NOTHING, Trainings
from experiments.files.write import write_text
from experiments.records.intervals import LEAST
from experiments.records.record import Record
from experiments.run.curves import History


@dataclass(frozen=True)
class Page:
    """A comparison that has been written. A notebook shows its tables and the way to the page.

    Args:
        files: The page last, before it .md, .csv and .tex.
        tables: One per protocol, with a row per method.
        runs: Training runs, whose curves the page shows.
        notes: Lines of the banner.
    """

    files: list[Path]
    tables: list[Table]
    runs: list[History]
    notes: list[str]

    @property
    def path(self) -> Path:
        """The page."""
        return self.files[-1]

    def _repr_html_(self) -> str:
        return text.html(self.tables, self.notes) + text.link(self.path)


def compare(
    *folders: str | Path, out: str | Path = "compare.html", notes: Sequence[str] = (), paper: bool = False
) -> Page:
    """Records and training curves of some folders as one page with tables beside it: ``lit-inpaint compare``.

    >>> import tempfile, experiments
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = experiments.evaluate("Telea", "quickstart", folder, limit=1)
    ...     page = compare(folder, out=f"{folder}/table.html")
    ...     page.path.stat().st_size > 10_000, [row.label for row in page.tables[0].rows]
    (True, ['Telea'])

    Args:
        folders: Output folders of benchmarks and run folders of fit, searched at any depth.
        out: The page; the other files share its name.
        notes: Lines to show in the page's banner.
        paper: Also write .paper.tex, the table of a paper.

    Raises:
        ValueError: There is nothing to compare, or results that cannot stand in one table.
    """
    records, runs = read_folders(map(Path, folders))
    return written(records, runs, notes, Path(out), paper)


def written(
    records: Sequence[Record],
    runs: Sequence[History],
    notes: Sequence[str],
    out: Path,
    paper: bool = False,
    known: Trainings = NOTHING,
) -> Page:
    """Compare and write. ``known``: what a study says of the trainings.

    Raises:
        ValueError: As :func:`compare`.
    """
    if not records and not runs:
        raise ValueError("nothing to compare; give output folders of `lit-inpaint benchmark` or run folders of `fit`.")
    tables = make_tables(records, runs)
    known.add_to(tables)
    shown = [*notes, *notes_of(records, tables)]
    return Page(write(tables, runs, shown, out, paper, known), tables, [*runs], shown)


def notes_of(records: Sequence[Record], tables: Sequence[Table]) -> list[str]:
    """What is said of several methods, or of the only record, and a warning about too few images."""
    of: dict[str, set[str]] = {}
    for record in records:
        of.setdefault(record.remark or "", set()).add(without_seed_mark(record.label))
    notes = [note for note, labels in of.items() if note and (len(labels) > 1 or len(records) == 1)]
    photographs = max((table.photographs for table in tables), default=LEAST)
    if photographs < LEAST:
        notes.insert(0, f"{photographs} image{'s' * (photographs != 1)}: too few to rank methods")
    return notes


def write(
    tables: Sequence[Table],
    runs: Sequence[History],
    notes: Sequence[str],
    out: Path,
    paper: bool = False,
    known: Trainings = NOTHING,
) -> list[Path]:
    """Write the page, .md, .csv, .tex and, if papers are quoted, .published.csv; on demand .paper.tex.

    The page is written first: it identifies the other files as ours, even after a kill between two of them.
    """
    named = [replace(run, label=known.label_of(run.folder) or run.label) for run in runs]
    files = {".html": render(tables, runs, notes, validation_tables(named), known)}
    if tables:
        files[".md"], files[".csv"] = text.markdown(tables, notes), spreadsheet.measured(tables)
        files[".tex"] = text.latex(tables)
        if published := spreadsheet.published(tables):
            files[".published.csv"] = published
        if paper:
            files[".paper.tex"] = table_of_a_paper(tables)
    page = out.with_suffix(".html")
    taken = [file for suffix in files if (file := out.with_suffix(suffix)).exists()]
    if taken and not (page.is_file() and "lit-inpaint comparison" in page.read_text("utf-8", "replace")):
        raise ValueError(f"{taken[0]} exists and was not written by compare; give another --out.")
    for suffix, content in files.items():
        write_text(out.with_suffix(suffix), content)
    return [out.with_suffix(suffix) for suffix in sorted(files, key=".html".__eq__)]  # the page is named last
