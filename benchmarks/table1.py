"""The tables of docs/results/table1.md, from the committed records of a study: no number is typed.

    python -m benchmarks.table1 records/table1                              # prints them
    python -m benchmarks.table1 records/table1 --into docs/results/table1.md
    python -m benchmarks.table1 records/table1 --tables means --into README.md

``--into`` replaces what stands between ``<!-- records/table1 -->`` and ``<!-- end -->``. Differences are of the
protocol's first metric, over the images that both methods completed, each averaged over its seeds, with 95 % bootstrap
intervals over the images. A win is a difference whose interval lies on one side of 0.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from experiments.compare.grouping import make_tables, without_seed_mark
from experiments.compare.numbers import column, number
from experiments.compare.table import Row, Table
from experiments.compare.tiles import families, mask_name
from experiments.files.find import find_yaml
from experiments.files.read import read_yaml
from experiments.files.write import write_text
from experiments.records.intervals import paired_difference
from experiments.records.record import Record
from experiments.study.trainings import Trained
from experiments.study.units import read_units
from lit_inpaint.metrics import higher_is_better

REFERENCE, CLASSIC, SHOWN_AGAINST_IT = "RePaint", "Telea", ("wide", "half")
TABLES = ("means", "kid", "lead", "classic", "costs", "order")
SURVEY = {"AOTGAN", "DSI", "ICT", "DeepFillV2", "LaMa", "RePaint"}  # the systems of RePaint's Table 1


class Difference(NamedTuple):
    """How far one method is ahead of another in a metric; above 0: ahead, whatever its direction."""

    mean: float
    interval: tuple[float, float] | None
    wins: float  # share of the images
    n: int

    @property
    def decided(self) -> int:
        """1 or -1 if the interval lies on that side of 0, else 0."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return 0
        return 1 if self.interval[0] > 0 else -1

    def text(self, metric: str) -> str:
        bounds = [number(metric, bound, signed=True) for bound in self.interval or ()]
        said = number(metric, self.mean, signed=True) + (f" [{', '.join(bounds)}]" if bounds else "")
        return f"**{said}**" if self.decided > 0 else f"*{said}*" if self.decided < 0 else said


Masks = dict[str, Table]


def masks_of(records: Sequence[Record]) -> Masks:
    """The tables by mask."""
    tables = make_tables(records)
    grouped = families(tables) or {tables[0].name: tables}
    if len(grouped) > 1:
        raise ValueError(f"the records are of several studies: {', '.join(grouped)}.")
    ((family, found),) = grouped.items()
    return {mask_name(family, table): table for table in found}


def rows_of(table: Table) -> dict[str, Row]:
    """By label without its seed."""
    return {without_seed_mark(row.label): row for row in table.rows}


def ahead(table: Table, metric: str, one: str, other: str) -> Difference | None:
    """None if one of them has no numbers."""
    rows = rows_of(table)
    if any(label not in rows or metric not in rows[label].cells for label in (one, other)):
        return None
    ours, theirs = rows[one].cells[metric].values, rows[other].cells[metric].values
    better = (ours, theirs) if higher_is_better(metric) else (theirs, ours)
    found = paired_difference(*better, rows[one].cells[metric].photographs)
    if found is None:
        return None
    common = [better[0][image] - better[1][image] for image in better[0] if image in better[1]]
    return Difference(found[0], found[1], sum(value > 0 for value in common) / len(common), found[2])


def write(
    records: Sequence[Record], trainings: Mapping[str, Trained], survey: str, tables: Sequence[str] = TABLES
) -> str:
    """Tables as Markdown. ``survey``: the protocol whose published rows are those of RePaint's Table 1."""
    masks = masks_of(records)
    printed = read_yaml(find_yaml(survey, "protocols"))["masks"]
    masks = {mask: masks[mask] for mask in [*printed, *masks] if mask in masks}  # in the survey's order
    metric = next(name for table in masks.values() for name in table.metrics)
    labels = list(dict.fromkeys(label for table in masks.values() for label in rows_of(table)))
    has_kid = any("kid_paired" in table.metrics for table in masks.values())
    parts = {
        "means": lambda: f"{_means(masks, metric, labels)}\n\n{_hashes(masks)}",
        "kid": lambda: _means(masks, "kid_paired", labels) if has_kid else "",
        "lead": lambda: _lead(masks, metric, labels),
        "classic": lambda: _over_classic(masks, metric, trainings),
        "costs": lambda: _costs(masks, labels, trainings),
        "order": lambda: _order(masks, metric, printed, survey),
    }
    return "\n\n".join(text for name in tables if (text := parts[name]())) + "\n"


def _hashes(masks: Masks) -> str:
    hashes = ", ".join(f"{mask} {table.hash[:8]}" for mask, table in masks.items())
    return f"Protocols: {hashes}."


def _means(masks: Masks, metric: str, labels: Sequence[str]) -> str:
    lines = []
    for label in labels:
        cells = []
        for table in masks.values():
            row = rows_of(table).get(label)
            cell = row.cells.get(metric) if row else None
            if cell is None or cell.mean is None:
                cells.append(f"n/a: {(cell and cell.reason) or (row and row.not_applicable) or 'not measured'}")
                continue
            text = number(metric, cell.mean)
            text = f"**{text}**" if cell.best else f"{text} ≈" if cell.tied else text
            text += f" ± {number(metric, cell.deviation)}" if cell.deviation is not None else ""
            cells.append(f"{text} ({cell.n})")
        lines.append([label, *cells])
    rows = [row for table in masks.values() for row in table.rows]
    tied = ", ≈ tied with it" if any(row.cells[metric].tied for row in rows if metric in row.cells) else ""
    words = f"{column(metric)}; **bold** best{tied}, ± deviation between seeds, (images)."
    return f"{words}\n\n{_table(['method', *masks], lines)}"


def _lead(masks: Masks, metric: str, labels: Sequence[str]) -> str:
    if REFERENCE not in labels:
        return f"{REFERENCE} is not measured yet."
    lines = []
    for label in (one for one in labels if one != REFERENCE):
        found = [ahead(table, metric, REFERENCE, label) for table in masks.values()]
        known = [difference for difference in found if difference]
        won, lost = (sum(difference.decided == sign for difference in known) for sign in (1, -1))
        cells = [f"{d.text(metric)}, {d.wins:.0%}" if d else "n/a" for d in found]
        lines.append([label, *cells, f"{won} : {lost}"])
    others = [label for label in labels if label != REFERENCE]
    surveyed = [label for label in others if label in SURVEY]
    unbeaten, leading = (_masks_where(masks, metric, of, least) for of, least in ((others, 0), (surveyed, 1)))
    said = f"Masks under which no method is ahead of {REFERENCE}: {unbeaten}."
    if surveyed:
        said += f" Masks under which it is ahead of each of {', '.join(surveyed)}: {leading}."
    words = (
        f"{REFERENCE}'s lead in {column(metric)}, paired over the images, and the share of images on which it wins; "
        f"**bold**: ahead, *italic*: behind, plain: undecided. Last column: masks won : lost."
    )
    return f"{words}\n\n{_table(['method', *masks, 'won : lost'], lines)}\n\n{said}"


def _masks_where(masks: Masks, metric: str, others: Sequence[str], least: int) -> str:
    """Under which the reference is ahead of all others (``least`` 1) or behind none (0)."""
    found = [
        name for name, table in masks.items()
        if (known := [difference for label in others if (difference := ahead(table, metric, REFERENCE, label))])
        and all(difference.decided >= least for difference in known)
    ]  # fmt: skip
    return f"{len(found)} of {len(masks)}" + (f" ({', '.join(found)})" if found else "")


def _over_classic(masks: Masks, metric: str, trainings: Mapping[str, Trained]) -> str:
    """Whether every method that was trained beats the classic under two masks."""
    elsewhere = {row.label for table in masks.values() for row in table.rows if row.method.outputs is not None}
    hours = {label: trained.core_hours for label, trained in trainings.items()}
    learned = dict.fromkeys(without_seed_mark(label) for label in hours if hours[label] != 0 or label in elsewhere)
    shown = [mask for mask in SHOWN_AGAINST_IT if mask in masks]
    lines: list[list[str]] = []
    others: dict[str, list[str]] = {f"Behind {CLASSIC}": [], "Undecided": [], "Not measured": []}
    behind, undecided, missing = others.values()
    for label in learned:
        found = {mask: ahead(masks[mask], metric, label, CLASSIC) for mask in shown}
        lines.append([label, *(d.text(metric) if d else "n/a" for d in found.values())])
        for mask, d in found.items():
            if d is None or d.decided <= 0:
                (missing if d is None else behind if d.decided else undecided).append(f"{label} under {mask}")
    if not lines or not shown:
        return ""
    said = " ".join(f"{kind}: {', '.join(cells)}." for kind, cells in others.items() if cells)
    said = said or f"Every learned method beats {CLASSIC} in {column(metric)} under {' and '.join(shown)}."
    words = f"The lead of each learned method over {CLASSIC} in {column(metric)}."
    return f"{words}\n\n{_table(['method', *shown], lines)}\n\n{said}"


def _costs(masks: Masks, labels: Sequence[str], trainings: Mapping[str, Trained]) -> str:
    lines = []
    for label in labels:
        seeds = [trained for one, trained in trainings.items() if without_seed_mark(one) == label]
        known = [trained.core_hours for trained in seeds if trained.core_hours is not None]
        timed_on = ", ".join(dict.fromkeys(trained.processor for trained in seeds if trained.processor))
        spent = f"{sum(known) / len(known):.2f}" if known else "not measured"
        named = [_span(masks, label, name) for name in ("seconds_per_image", "network_calls", "parameters")]
        lines.append([label, spent, timed_on, *named])
    head = ["method", "core-hours per seed", "processor", "s / image", "calls", "parameters"]
    words = "What each method costs: training, and completing one image (least and most of the masks)."
    return f"{words}\n\n{_table(head, lines)}"


def _span(masks: Masks, label: str, name: str) -> str:
    """A cost under the masks where it is least and where it is most."""
    found = {}
    for table in masks.values():
        row, cost = rows_of(table).get(label), next((cost for cost in table.costs if cost.name == name), None)
        if row and cost and (value := row.cost(cost)) is not None:
            found[value] = cost.write(value)
    return " to ".join(dict.fromkeys((found[min(found)], found[max(found)]))) if found else ""


def _order(masks: Masks, metric: str, printed: Mapping[str, Any], survey: str) -> str:
    """Whether the order of pairs here is that of RePaint's Table 1."""
    lines, sign = [], 1 if higher_is_better(metric) else -1
    for mask, table in masks.items():
        rows = printed.get(mask, {}).get("published", [])
        names = {row["label"]: row["label"].replace("-", "") for row in rows if "Table 1" in row["source"]}
        theirs = {
            names[row["label"]]: sign * float(next(iter(row["metrics"].values())))
            for row in rows if names.get(row["label"]) in SURVEY
        }  # fmt: skip
        same, reversed_here, undecided = 0, [], 0
        for one, other in combinations(theirs, 2):
            found = ahead(table, metric, one, other)
            if found is None or theirs[one] == theirs[other]:
                continue
            if not found.decided:
                undecided += 1
            elif (theirs[one] > theirs[other]) == (found.decided > 0):
                same += 1
            else:
                reversed_here.append(" before ".join((one, other) if found.decided > 0 else (other, one)))
        places = [sorted(name for name in theirs if theirs[name] == value) for value in set(theirs.values())]
        places.sort(key=lambda tied: theirs[tied[0]], reverse=True)
        order = ", ".join(" = ".join(tied) for tied in places)
        lines.append([mask, order, str(same), "; ".join(reversed_here) or "none", str(undecided)])
    head = ["mask", "order in RePaint's Table 1, best first", "same order here", "reversed here", "undecided here"]
    words = (
        f"Pairs of systems that RePaint's Table 1 separates in LPIPS (`{survey}`): does the paired interval here put "
        "them in the same order?"
    )
    return f"{words}\n\n{_table(head, lines)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def put_into(text: str, name: str, tables: str) -> str:
    """
    >>> put_into("a <!-- x --> old <!-- end --> b", "x", "new")
    'a <!-- x -->\\n\\nnew\\n<!-- end --> b'

    Raises:
        ValueError: The text has no such place.
    """
    begin, end = f"<!-- {name} -->", "<!-- end -->"
    before, found, rest = text.partition(begin)
    if not found or end not in rest:
        raise ValueError(f"there is no place for {name}: write {begin} and {end} where its tables belong.")
    return f"{before}{begin}\n\n{tables}\n{end}{rest.partition(end)[2]}".replace("\n\n\n", "\n\n")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="table1", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("--into", type=Path)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES, metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--survey", default="repaint_celebahq256", help="protocol with the rows of RePaint's Table 1")
    a = parser.parse_args(argv)
    try:
        records, trainings = read_units(a.records)
        if not records:
            raise ValueError(f"{a.records} holds no units; commit the folder units/ of a study there.")
        tables = write(records, trainings, a.survey, a.tables)
        if a.into:
            write_text(a.into, put_into(a.into.read_text(encoding="utf-8"), a.records.as_posix(), tables))
        else:
            print(tables)
    except ValueError as error:
        print(f"table1: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
