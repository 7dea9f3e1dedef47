"""``lit-inpaint runs DIR``: every run below a folder, its status, and the command that resumes it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from experiments.run import Run, options
from experiments.run.names import CHECKPOINTS, FACTS, METRICS, STATUS
from lit_inpaint import renamed
from lit_inpaint.metrics import headline, higher_is_better
from masks.walk import folders_below

_SKIPPED = {"wandb", CHECKPOINTS, "panels", "images", "journal"}


@dataclass(frozen=True)
class Line:
    """One run. ``last``, ``best``, ``best_at`` are of ``metric``; ``best`` is None if the direction of the
    metric is undefined. ``resume`` is None while it runs or without a config."""

    folder: str
    status: str
    why: str | None
    method: str
    seed: int | None
    images_seen: int
    images_per_second: float | None
    metric: str | None
    last: float | None
    best: float | None
    best_at: int | None
    resume: str | None


def main(argv: list[str]) -> int:
    arguments = options.runs().parse_args(argv)
    if not arguments.folder.is_dir():
        raise ValueError(f"{arguments.folder} is not a folder; give the folder that holds the runs.")
    lines = [describe(folder, arguments.metric) for folder in find_runs(arguments.folder)]
    if arguments.json:
        print(json.dumps([asdict(line) for line in lines], indent=1))
    elif not lines:
        print(f"There is no run below {arguments.folder}.")
    for line in [] if arguments.json else lines:
        print(text(line))
    return 0


def find_runs(folder: Path) -> Iterator[Path]:
    """Folders that a ``fit`` wrote, in order of their names."""
    for below, files in folders_below(folder, _SKIPPED.__contains__, strict=False):
        if {FACTS.name, METRICS.name, STATUS} & set(files):
            yield folder / below


def describe(folder: Path, metric: str | None = None) -> Line:
    run = Run(folder)
    history = run.history
    try:
        status, why = run.status
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:  # one bad folder hides no other
        status, why = "unreadable", f"{STATUS}: {' '.join(str(error).split())[:200]}"
    unsaved = None if status in ("running", "finished") or run.checkpoints else "no checkpoint yet, it starts over"
    why = "; ".join(filter(None, [why, history.note, unsaved])) or None
    shown = renamed.logged(metric, history.method) if metric else headline(history.curves)
    curve = history.curves.get(shown, []) if shown else []
    higher = higher_is_better(shown) if shown else None
    ranked = sorted(curve, key=lambda point: -point[1] if higher else point[1])[:1] if higher is not None else []
    best_at, best = ranked[0] if ranked else (None, None)
    speed = history.curves.get("images_per_second", [])
    return Line(
        folder=str(folder),
        status=status,
        why=why,
        method=history.method,
        seed=history.seed,
        images_seen=round(max((points[-1][0] for points in history.curves.values()), default=0)),
        images_per_second=speed[-1][1] if speed else None,
        metric=shown,
        last=curve[-1][1] if curve else None,
        best=best,
        best_at=None if best_at is None else round(best_at),
        resume=None if status == "running" else run.command,
    )


def text(line: Line) -> str:
    """One line, or two if the run can be resumed."""
    parts = [f"{line.folder}  {line.status}" + (f" ({line.why})" if line.why else ""), line.method]
    parts += [f"seed {line.seed}"] if line.seed is not None else []
    parts += [f"{line.images_seen} images"]
    parts += [f"{line.images_per_second:.3g} images/s"] if line.images_per_second is not None else []
    if line.best is not None:
        parts.append(f"best {line.metric} {line.best:.4g} at {line.best_at}")
    elif line.last is not None:
        parts.append(f"last {line.metric} {line.last:.4g}")
    resumes = f"\n    {line.resume}" if line.resume and line.status != "finished" else ""
    return "  ".join(parts) + resumes
