"""A study of seconds: three methods, one of them of three stages, two seeds, two masks, and a method that fails."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pytest
import yaml
from torch import Tensor

from experiments.study import page, step
from experiments.study.plan import Study
from lit_inpaint.methods import Telea
from tests.support import killing, processes
from tests.support.contract import STAGES

PROGRAM = "LIT_INPAINT_SNAKEMAKE"
STEPS = 6
FAILS = "--model.init_args.width=-1"
_TRAINER = {
    "max_steps": STEPS, "accelerator": "cpu", "devices": 1, "log_every_n_steps": 1, "num_sanity_val_steps": 0,
    "enable_model_summary": False, "limit_val_batches": 0,
    "logger": {
        "class_path": "experiments.run.loggers.SegmentedCSVLogger",
        "init_args": {"save_dir": "${trainer.default_root_dir}"},
    },
    "callbacks+": [{
        "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
        "init_args": {
            "dirpath": "${trainer.default_root_dir}/checkpoints", "filename": "{step}", "every_n_train_steps": 2,
            "save_top_k": -1, "save_last": True,
        },
    }, {"class_path": "tests.support.killing.SlowBatches"}],
}  # fmt: skip
_DATA = {
    "class_path": "DrawnFaces",
    "init_args": {
        "mask": {"class_path": "CenterRectangle", "init_args": {"height": 0.4375, "width": 0.4375}},
        "image_size": 64, "batch_size": 2, "num_workers": 0, "train": 24,
    },
}  # fmt: skip
_DSI: dict[str, Any] = dict(STAGES)
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "context": ("ContextEncoder", {"size": 64, "overlap": 2, "width": 8, "bottleneck": 16}),
    "partial": ("PartialConv", {"levels": 4, "width": 8, "perceptual_weight": 0, "style_weight": 0}),
    "vqvae": ("DSIVQVAE", _DSI["DSIVQVAE"]),
    "structure": ("DSIStructure", _DSI["DSIStructure"]),
    "texture": ("DSITexture", _DSI["DSITexture"]),
}
STUDY: dict[str, Any] = {
    "about": "Networks of seconds.",
    "protocol": "protocol.yaml",
    "seeds": [0, 1],
    "methods": {
        "Context": {"fit": "context.yaml"},
        "Partial": {"fit": "partial.yaml"},
        "Broken": {"fit": "context.yaml", "arguments": [FAILS], "seeds": [0]},
        "DSI": {
            "stages": {
                "vqvae": {"fit": "vqvae.yaml"},
                "structure": {"fit": "structure.yaml", "arguments": ["--model.init_args.vqvae=${vqvae}"]},
                "texture": {"fit": "texture.yaml", "arguments": ["--model.init_args.vqvae=${vqvae}"]},
            },
            "assemble": "DSI",
        },
    },
}
PROTOCOL = {
    "name": "tiny", "data": {"class_path": "DrawnFaces"}, "split": "test", "size": 64, "limit": 3, "mask_seed": 0,
    "metrics": ["psnr_hole", "ssim"],
    "masks": {
        "center": {"class_path": "masks.CenterRectangle", "init_args": {"height": 0.4375, "width": 0.4375}},
        "small": {"class_path": "masks.CenterRectangle", "init_args": {"height": 0.25, "width": 0.25}},
    },
}  # fmt: skip


class Picky(Telea):
    """Takes small holes only."""

    def fill(self, erased: Tensor, mask: Tensor, **draws: Any) -> Tensor:
        if mask.mean() > 0.1:
            raise ValueError("the hole is too large")
        return super().fill(erased, mask, **draws)


class Broken(Telea):
    def fill(self, erased: Tensor, mask: Tensor, **draws: Any) -> Tensor:
        raise RuntimeError("it is broken")


def write(folder: Path, study: dict[str, Any] | None = None) -> Path:
    """The study's file, with what it names beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (model, arguments) in MODELS.items():
        config = {"model": {"class_path": model, "init_args": arguments}, "data": _DATA, "trainer": _TRAINER}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    (folder / "protocol.yaml").write_text(yaml.safe_dump(PROTOCOL))
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(study or STUDY, sort_keys=False))
    return path


def snakemake() -> str:
    """The program, or skip: it forces an old ``packaging`` and is no part of our environment."""
    program = shutil.which(os.environ.get(PROGRAM, "snakemake"))
    if program is None:
        pytest.skip(f"no snakemake on PATH and none in {PROGRAM}")
    return program


def start(study: Path, log: str, *more: str, out: str = "out") -> "subprocess.Popen[bytes]":
    """``lit-inpaint study``, which becomes snakemake, in a session of its own."""
    command = [sys.executable, "-P", "-m", "experiments", "study", study.name, "--out", out, "--", *more]
    own = {"PYTHONPATH": str(processes.ROOT), "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
    environment = {**os.environ, PROGRAM: snakemake(), **own}
    with (study.parent / log).open("ab") as file:
        return subprocess.Popen(
            command, cwd=study.parent, stdout=file, stderr=file, env=environment, start_new_session=True
        )


def uninterrupted(study: Study) -> None:
    """Every job of the study in turn, by the code that its workflow runs, as forks; then its page."""

    def forked(command: Sequence[str], log: Path, lock: IO[bytes]) -> int:
        process = processes.start(
            killing.command_line, [*command], folder=study.path.parent, log=str(log), env={"WANDB_MODE": "disabled"}
        )
        process.join()
        return int(process.exitcode)

    failed: set[str] = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "_run", forked)
        for name, one in study.steps.items():
            if failed & {*one.needs} or step.run_step(study, one):
                failed.add(name)
    assert page.write_page(study, last=True) == 0


def members(session: int) -> list[int]:
    """The processes of a session, whose leader may be gone."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def kill_all(session: int) -> int:
    """SIGKILL for the workflow, its jobs and their commands; how many there were."""
    found = members(session)
    for process in found:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(found)


def interrupted(out: Path) -> dict[Path, int]:
    """Trainings that have saved something and not their last step, with the newest step saved."""
    saved = {
        folder.parent: [int(path.stem.partition("=")[2]) for path in folder.glob("step=*.ckpt")]
        for folder in out.glob("runs/**/checkpoints")
    }
    return {run: max(steps) for run, steps in saved.items() if steps and max(steps) < STEPS}


def first_step(metrics: Path) -> int:
    """The first step in a segment of a run's logs."""
    with metrics.open(newline="", encoding="utf-8") as file:
        return min(int(float(row["step"])) for row in csv.DictReader(file))


def rows(out: Path) -> list[dict[str, str]]:
    """The table, but for times and memory."""
    with (out / "page.csv").open(newline="", encoding="utf-8") as file:
        return [
            {key: value for key, value in row.items() if key not in ("seconds_per_image", "peak_memory_bytes")}
            for row in csv.DictReader(file)
        ]
