"""What a study says of its trainings. Core-hours: seconds of a step, as the dry run measured them, times the steps.

``trainings.json`` in the study's folder tells `compare`. What was measured for the first seed holds for all, as in the
dry run (experiments/study/cost.py); a training without a measurement has no hours.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from experiments.files.find import find_yaml
from experiments.files.read import read_json, read_yaml
from experiments.files.write import write_text
from experiments.study.cost import measured_of
from experiments.study.file import Method
from experiments.study.plan import Step, Study
from experiments.study.step import facts_of


class Trained(NamedTuple):
    """A training, all its stages.

    Args:
        core_hours: 0 where nothing is trained, None where something was not measured.
        processor: On which the steps were timed; None where none was, or that was not kept.
    """

    core_hours: float | None
    processor: str | None


def write_trainings(study: Study) -> Path:
    """What is known of all trainings by now."""
    hours: dict[str, float] = {}
    shared: dict[str, str] = {}
    runs: dict[str, dict[str, Any]] = {}
    for name, method in study.file.methods.items():
        for seed in study.seeds_of(method):
            steps = list(study.jobs_of(name, method, seed))
            label = next(step.cell[0] for step in steps if step.cell)
            if (known := trained(study, name, method, seed).core_hours) is not None:
                hours[label] = known
            if method.of:
                shared[label] = method.of
            for step, measured in _fits(study, name, method, seed):
                stage, done = step.makes.name if step.makes and method.stages else "", _steps(step) or 1
                of_image = measured and _seconds(measured, done) / done / measured["images"]
                runs[str(step.makes and step.makes.resolve())] = {
                    "label": label, "stage": stage, "seconds_per_image": of_image,
                }  # fmt: skip
    path = study.out / "trainings.json"
    said = {"hours": hours, "shared": shared, "runs": runs, "published": _published(study)}
    write_text(path, json.dumps(said, indent=1) + "\n")
    return path


def _published(study: Study) -> dict[str, Any]:
    """By mask, what papers have printed under the masks of another protocol."""
    if study.file.published is None:
        return {}
    masks = read_yaml(find_yaml(study.file.published, "protocols"))["masks"]
    under = f"under {study.file.published}"
    rows = {mask: masks[mask].get("published", []) for mask in study.masks if mask in masks}
    return {mask: [row | {"source": f"{row['source']}, {under}"} for row in of_mask] for mask, of_mask in rows.items()}


def trained(study: Study, name: str, method: Method, seed: int | None) -> Trained:
    """What all stages of one method and seed took."""
    for step in study.jobs_of(name, method, seed):
        if (facts := facts_of(study, step, "json")) is not None and "adopted" in facts:
            return Trained(facts.get("core_hours"), facts.get("processor"))
    fits = list(_fits(study, method.of or name, _own(study, method), seed))
    steps = [_steps(step) for step, _ in fits]
    taken = [
        None if measured is None or done is None else _seconds(measured, done)
        for (_, measured), done in zip(fits, steps, strict=True)
    ]
    timed_on = dict.fromkeys(measured["processor"] for _, measured in fits if measured and "processor" in measured)
    return Trained(None if None in taken else sum(filter(None, taken)) / 3600, ", ".join(timed_on) or None)


def _own(study: Study, method: Method) -> Method:
    return study.file.methods[method.of] if method.of else method


def _fits(study: Study, name: str, method: Method, seed: int | None) -> Iterator[tuple[Step, dict[str, Any] | None]]:
    """The trainings of one method and seed, with what the dry run measured of each."""
    of_first = study.jobs_of(name, method, study.seeds_of(method)[0])
    for step, first in zip(study.jobs_of(name, method, seed), of_first, strict=True):
        if step.kind == "fit":
            yield step, measured_of(study, first)


def _seconds(measured: dict[str, Any], steps: int) -> float:
    """What the first steps of a training take, each at the pace of its phase."""
    *phases, last = measured["phases"]
    seconds = 0.0
    for phase in phases:
        here = min(phase["steps"], steps)
        seconds, steps = seconds + here * phase["seconds"], steps - here
    return seconds + steps * float(last["seconds"])


def _steps(fit: Step) -> int | None:
    """How many a training has made; None if it was not begun, or its folder is gone."""
    assert fit.makes is not None
    try:
        return int(read_json(fit.makes / "status.json")["step"])
    except (OSError, ValueError, KeyError):
        return None
