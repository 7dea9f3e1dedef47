"""What the jobs of a study cost, by the first steps of each training and the first image of each method.

Everything runs as in the study, on one core, in ``first_steps/`` of its folder and for the first seed only. What was
measured is kept, and is measured again when the command changes. On a CPU, seconds are those of the core, which hardly
depend on what else the machine does.
"""

import json
import os
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.files.find import find_yaml, newest_first
from experiments.files.read import read_json, read_yaml
from experiments.files.write import write_text
from experiments.records.files import read_record
from experiments.study.plan import Step, Study
from experiments.study.step import argv, reason_in, record_of, refusal
from masks.size import sides

_LOGGER = {"class_path": "experiments.run.loggers.SegmentedCSVLogger"}
_ONE_CORE = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # as Snakemake sets it


@dataclass(frozen=True)
class Cost:
    """``seconds`` include the start of the process; ``flops`` of a benchmark are not counted."""

    images: int = 0
    flops: float = 0.0
    seconds: float = 0.0


def measure(study: Study) -> tuple[dict[str, Cost], dict[str, str]]:
    """The cost of every job by name, and why there is none of the others."""
    measured: dict[str, dict[str, Any]] = {}  # by the job that was run for it; all masks of a method cost the same
    missing: dict[str, str] = {}
    stands_for: dict[str, str] = {}
    for name, method in study.file.methods.items():
        first, *others = [list(study.jobs_of(name, method, seed)) for seed in study.seeds_of(method)]
        cell = next(step.name for step in first if step.cell)
        for place, step in enumerate(first):
            run = cell if step.cell else step.name
            stands_for |= {same[place].name: run for same in (first, *others)}
            if run in measured or run in missing:
                continue
            if reason := next((missing[need] for need in step.needs if need in missing), None):
                missing[run] = reason
                continue
            try:
                measured[run] = _measured(study, step) | ({"cell": images_of(study, step)} if step.cell else {})
            except ValueError as error:
                missing[run] = f"{step.name}: {error}"
    start = min((facts["wall"] for facts in measured.values() if "cell" in facts), default=0.0)
    costs = {name: _cost(study, measured[run], start) for name, run in stands_for.items() if run in measured}
    return costs, {name: missing[run] for name, run in stands_for.items() if run in missing}


def _cost(study: Study, facts: dict[str, Any], start: float) -> Cost:
    """``start``: seconds of the quickest benchmark of one image."""
    if "cell" in facts:
        images = facts["cell"]
        # By the clock, which a busy machine slows; or of the core, which says little of an image that takes none.
        of_image = facts["seconds"] if facts["clock"] else min(facts["seconds"], max(facts["wall"] - start, 0.0))
        return Cost(images, 0.0, facts["wall"] + images * (of_image + _metrics(study)))
    steps, flops, seconds = 0.0, 0.0, 0.0
    for phase in facts.get("phases", []):
        here = phase["steps"]
        if facts["most_seconds"]:
            here = min(here or float("inf"), (facts["most_seconds"] - seconds) / phase["seconds"])
        steps, flops, seconds = steps + here, flops + here * phase["flops"], seconds + here * phase["seconds"]
    return Cost(round(steps * facts.get("images", 0)), flops, facts["wall"] + seconds)


def measured_of(study: Study, step: Step) -> dict[str, Any] | None:
    """What was measured of the beginning of a job, unless its command has changed since."""
    out = study.out / "first_steps" / f"{step.name}.json"
    kept = read_json(out) if out.is_file() else {}
    same = study.portable(kept.get("command", [])) == study.portable(step.command)
    return kept if same and (step.kind != "fit" or "phases" in kept) else None


def _measured(study: Study, step: Step) -> dict[str, Any]:
    """Run the beginning of a job, unless that was done before.

    Raises:
        ValueError: It fails, with its reason.
    """
    if kept := measured_of(study, step):
        return kept
    folder = study.out / "first_steps"
    out, log = folder / f"{step.name}.json", folder / f"{step.name}.txt"
    print(f"measuring {step.name} ...", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    raw = folder / f"{step.name}.raw.json"
    raw.unlink(missing_ok=True)
    code, seconds = _run(_beginning(study, step, folder, raw), log)
    refused = refusal(folder / "benchmark", step, reason_in(log, step, code)) if code == 1 else None
    if code and not refused:
        raise ValueError(f"{reason_in(log, step, code)} [{log}]")
    facts: dict[str, Any] = {"command": study.portable(step.command), "wall": seconds}
    if step.kind == "fit":
        facts |= read_json(raw)
    elif step.cell:
        record = record_of(folder / "benchmark", step)
        assert record is not None
        facts |= {"seconds": record.seconds_per_image or 0.0, "clock": record.device != "cpu"}
    write_text(out, json.dumps(facts, indent=1) + "\n")
    return facts


def _run(command: list[str], log: Path) -> tuple[int, float]:
    """Exit code of one of our commands, and the seconds of a core that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("wb") as file:
        code = subprocess.run(
            argv(command), stdout=file, stderr=file, stdin=subprocess.DEVNULL, env={**_ONE_CORE, **os.environ}
        ).returncode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return code, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _beginning(study: Study, step: Step, folder: Path, raw: Path) -> list[str]:
    """A job's command, writing below ``folder``: six steps of each phase of a fit, one image of a benchmark."""
    moved = {str(study.out / part): str(folder / part) for part in ("runs", "benchmark")}
    command = list(step.command)
    for old, new in moved.items():
        command = [word.replace(old, new) for word in command]
    if step.makes:
        made = Path(str(step.makes).replace(str(study.out), str(folder)))
        shutil.rmtree(made, ignore_errors=True) if step.kind == "fit" else made.unlink(missing_ok=True)
    if step.cell:
        shutil.rmtree(folder / "benchmark", ignore_errors=True)
        return [*command[:-2], "--limit=1", *command[-2:]]
    if step.kind == "fit":
        callback = {"class_path": "experiments.study.first_steps.FirstSteps", "init_args": {"out": str(raw)}}
        root = {"save_dir": "${trainer.default_root_dir}"}
        trainer = {"callbacks+": [callback], "logger": [{**_LOGGER, "init_args": root}], "limit_val_batches": 0}
        config = folder / f"{step.name}.yaml"
        write_text(config, yaml.safe_dump({"trainer": {**trainer, "num_sanity_val_steps": 0}}))
        return [*command[:2], f"--config={config}", *command[2:]]
    return command


def images_of(study: Study, step: Step) -> int:
    """How many images a cell is measured on: --limit, that of the protocol, or those of a record of the study.

    Raises:
        ValueError: It is not known yet.
    """
    protocol = read_yaml(find_yaml(study.file.protocol, "protocols"))
    said = [word.partition("=")[2] for word in step.command if word.startswith("--limit=")]
    limits = [int(number) for number in [*said[-1:], protocol.get("limit")] if number]
    if limits:
        return min(limits)
    for path in newest_first(study.out.glob(f"benchmark/records/{protocol['name']}-*/*.json")):
        if images := len(read_record(path).hole_share):  # one that refuses its holes has none
            return images
    raise ValueError("how many images the protocol has is known from its first cell on; --limit=N says it before")


def _metrics(study: Study) -> float:
    """Seconds of a core in which the protocol's metrics measure an image, once their networks are loaded."""
    protocol = read_yaml(find_yaml(study.file.protocol, "protocols"))
    asked = {"metrics": protocol["metrics"], "size": protocol["size"]}
    out = study.out / "first_steps" / "metrics.json"
    if out.is_file() and (kept := read_json(out))["of"] == asked:
        return float(kept["seconds"])
    import torch

    from lit_inpaint.metrics import metric, unavailable

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    image = torch.rand(2, 1, 3, *sides(protocol["size"], "size")) * 2 - 1  # two completions: some measure those
    mask, seconds = torch.ones_like(image[0, :, :1]), []
    for _ in range(3):
        started = time.process_time()
        with torch.no_grad():
            for function in [metric(name) for name in protocol["metrics"] if not unavailable(name)]:
                if function.features:
                    function.features.extract(image[0])
                else:
                    said = {"prompts": ["a photograph"]} if function.of_prompts else {}
                    function(image if function.of_samples else image[0], image[1], mask, **said)
        seconds.append(time.process_time() - started)
    torch.set_num_threads(threads)
    write_text(out, json.dumps({"of": asked, "seconds": min(seconds)}, indent=1) + "\n")
    return min(seconds)
