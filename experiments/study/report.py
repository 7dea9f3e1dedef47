"""What a study would do (`--dry-run`) and does (`--status`), as text."""

import json
import subprocess
import time
from collections.abc import Sequence
from statistics import median

from experiments.files.find import newest_first
from experiments.files.read import read_json
from experiments.study.cost import Cost, images_of, measure
from experiments.study.file import Method, protocol_name
from experiments.study.page import reason_of, votes_under
from experiments.study.plan import Step, Study
from experiments.study.step import argv, facts_of, is_done, is_running
from experiments.study.units import changed, refuse_missing
from lit_inpaint import plugins

_HEAD = (
    "method",
    "graph",
    "seeds",
    "jobs",
    "done",
    "images trained",
    "FLOPs",
    "images evaluated",
    "hours",
    "hours left",
)


def dry_run(study: Study) -> str:
    """The graph, a row per method, with its cost and what is done."""
    costs, missing = measure(study)
    rows = [_row(study, name, method, costs) for name, method in study.file.methods.items()]
    steps = list(study.steps.values())
    total = ["total", "", "", *_counts(study, steps), *_sums(study, steps, costs)]
    lines = [f"Study {study.name} in {study.out}. {study.file.about}".strip()]
    lines += [f"Protocol {study.file.protocol}; masks: {', '.join(filter(None, study.masks)) or 'its own'}.", ""]
    lines += [*_table([_HEAD, *rows, total]), ""]
    lines.append(
        "Hours of one core of this machine, or of its GPU, from the first steps of each training and the first image "
        "of each method; with the start of the processes and the metrics, without data loading and validations."
    )
    lines += [f"Not measured: {reason}" for reason in dict.fromkeys(missing.values())]
    return "\n".join([*lines, *_changed(study), *_failures(study)])


def _changed(study: Study) -> list[str]:
    try:
        refuse_missing(study)
    except ValueError:  # asked from another folder
        return []
    labels = [unit.label for unit in changed(study)]
    return [f"To run again, because a file that they name has changed: {', '.join(labels)}."] if labels else []


def _row(study: Study, name: str, method: Method, costs: dict[str, Cost]) -> list[str]:
    seeds = study.seeds_of(method)
    steps = [step for seed in seeds for step in study.jobs_of(name, method, seed)]
    before = [f"fit {stage}" for stage in method.stages] + ["assemble"] * bool(method.stages)
    before += ["fit"] * bool(method.fit) + ["import"] * bool(method.weights) + [f"({method.of})"] * bool(method.of)
    graph = " > ".join([*before, f"benchmark x {len(study.masks)}"])
    shown = " ".join(str(seed) for seed in seeds if seed is not None) or "-"
    return [name, graph, shown, *_counts(study, steps), *_sums(study, steps, costs)]


def _counts(study: Study, steps: Sequence[Step]) -> list[str]:
    return [str(len(steps)), str(sum(is_done(study, step) for step in steps))]


def _sums(study: Study, steps: Sequence[Step], costs: dict[str, Cost]) -> list[str]:
    """Images trained, FLOPs, images evaluated, hours, hours left; with a + where some job was not measured."""
    known = [(step, costs[step.name]) for step in steps if step.name in costs]
    fits = [cost for step, cost in known if step.kind == "fit"]
    left = [cost for step, cost in known if not is_done(study, step)]
    more = "+" if len(known) < len(steps) else ""
    return [
        f"{sum(cost.images for cost in fits):,}{more}",
        f"{sum(cost.flops for cost in fits):.2e}{more}",
        f"{sum(cost.images for step, cost in known if step.cell):,}{more}",
        f"{sum(cost.seconds for _, cost in known) / 3600:.2f}{more}",
        f"{sum(cost.seconds for cost in left) / 3600:.2f}{more}",
    ]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def status(study: Study) -> str:
    """What runs, since when, with time left; what failed and why; how much is done."""
    steps = list(study.steps.values())
    running = [step for step in steps if is_running(study, step)]
    done = [step for step in steps if step not in running and is_done(study, step)]
    failed = [step for step in steps if step not in running and reason_of(study, step)]
    waiting = len(steps) - len(running) - len(done) - len(failed)
    lines = [
        f"{study.name}: {len(done)} of {len(steps)} jobs done, {len(running)} running, "
        f"{len(failed)} failed, {waiting} to do."
    ]
    speeds = _speeds(study) if any(step.kind == "fit" for step in running) else {}
    lines += [f"  {_running(study, step, speeds)}" for step in running]
    page = study.out / "page.html"
    asked = [votes for mask in study.masks if (votes := votes_under(study, mask))]
    lines += [f"Votes: {plugins.command('vote', *words)}" for words in asked]
    return "\n".join([*lines, *_changed(study), *_failures(study), *([f"Page: {page}"] if page.is_file() else [])])


def _failures(study: Study) -> list[str]:
    """Each failed job once, with what it keeps from running."""
    reasons = [
        reason for step in study.steps.values() if not is_running(study, step) and (reason := reason_of(study, step))
    ]
    waiting = {reason: reasons.count(reason) - 1 for reason in reasons}
    return [f"  {reason}" + (f" ({jobs} jobs wait for it)" if jobs else "") for reason, jobs in waiting.items()]


def _speeds(study: Study) -> dict[str, dict[str, float | None]]:
    """What `lit-inpaint runs` says of every run, by its folder."""
    listed = subprocess.run(argv(["runs", str(study.out / "runs"), "--json"]), capture_output=True, text=True)
    return {line["folder"]: line for line in json.loads(listed.stdout)} if listed.returncode == 0 else {}


def _running(study: Study, step: Step, speeds: dict[str, dict[str, float | None]]) -> str:
    started = (facts_of(study, step, "running.json") or {}).get("started", time.time())
    since = f"{step.name} since {time.strftime('%d %b %H:%M:%S', time.localtime(started))}"
    if step.kind == "fit" and step.makes and (step.makes / "status.json").is_file():
        facts, speed = read_json(step.makes / "status.json"), speeds.get(str(step.makes), {})
        at, seen, rate = facts["step"], speed.get("images_seen"), speed.get("images_per_second")
        of = facts.get("last_step") or facts["max_steps"]
        since += f", step {at} of {of}" if of > 0 else f", step {at}"
        if at and of > 0 and seen and rate:
            return f"{since}, {_duration((of - at) * seen / at / rate)} left"
    if step.cell:
        label, mask = step.cell
        rows = [row for row in _journal(study, label, mask) if "index" in row]
        try:
            images = images_of(study, step)
        except ValueError:  # its first cell
            return f"{since}, {len(rows)} images"
        since += f", image {len(rows)} of {images}"
        if seconds := [row["seconds"] for row in rows if row.get("seconds")]:
            return f"{since}, {_duration((images - len(rows)) * median(seconds))} left"
    return since


def _journal(study: Study, label: str, mask: str) -> list[dict[str, float]]:
    """The rows of a cell so far; a line that is being written is not there yet."""
    found = []
    paths = study.out.glob(f"benchmark/journal/{protocol_name(study.file, mask)}-????????/{label}/journal.jsonl")
    newest = newest_first(paths)[:1]  # others are of an earlier protocol
    for line in newest[0].read_text(encoding="utf-8", errors="replace").splitlines() if newest else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def _duration(seconds: float) -> str:
    """
    >>> _duration(42), _duration(4000)
    ('42 s', '1 h 07 min')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
