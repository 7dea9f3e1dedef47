"""What a signal, a full disk or a folder of somebody else's does to a run, in processes of their own."""

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import killing
import processes
import pytest
import yaml

from lit_inpaint.load import read_checkpoint

DEEPFILL = {"class_path": "DeepFillV2", "init_args": {"width": 8, "critic_width": 4}}
LAST = "run/checkpoints/last.ckpt"


def wait_for(condition: Any, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def config(folder: Path, **trainer: Any) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    settings = killing.settings(DEEPFILL, workers=trainer.pop("workers", 0), steps=trainer.pop("steps", 8))
    settings["trainer"] |= trainer
    (folder / "fit.yaml").write_text(yaml.safe_dump(settings))
    return ["fit", "--config", "fit.yaml"]


def step_of(folder: Path) -> int:
    return int((folder / "now.txt").read_text() or 0) if (folder / "now.txt").is_file() else 0


@pytest.mark.parametrize(
    ("number", "code", "workers"),
    [(signal.SIGTERM, 143, 2), pytest.param(signal.SIGUSR1, 138, 0, marks=pytest.mark.slow)],
)
def test_a_signal_saves_after_the_step_in_progress_and_the_printed_command_goes_on(
    number: signal.Signals, code: int, workers: int, tmp_path: Path
):
    run, whole = tmp_path / "run", tmp_path / "whole"
    process = processes.start(killing.command_line, config(run, workers=workers), 0.5, folder=run)
    wait_for(lambda: step_of(run) == 4 or not process.is_alive())
    os.killpg(process.pid, number)  # as SLURM: to the workers as well
    process.join(60)
    log = (run / "log.txt").read_text()
    assert process.exitcode == code, log[-3000:]
    assert read_checkpoint(run / LAST)["global_step"] == 4
    (command,) = re.findall(r"^lit-inpaint (fit --config run/config\.yaml --ckpt_path .*)$", log, re.MULTILINE)
    for folder, argv in ((run, command.split()), (whole, config(whole))):
        process = processes.start(killing.command_line, argv, folder=folder)
        process.join(90)
        assert process.exitcode == 0, (folder / "log.txt").read_text()[-3000:]
    assert killing.state(run) == killing.state(whole)
    assert killing.curves(run) == killing.curves(whole)


@pytest.mark.slow
def test_a_signal_in_validation_saves_at_once_and_all_of_the_validation_is_made_up(tmp_path: Path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    process = processes.start(killing.command_line, config(run), 0.01, 0.3, folder=run)
    wait_for(lambda: (run / "validating.txt").exists() or not process.is_alive())
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == 143, (run / "log.txt").read_text()[-3000:]
    assert read_checkpoint(run / LAST)["restart"]["validate"]
    for folder, argv in ((run, [*config(run), "--ckpt_path", "last"]), (whole, config(whole))):
        processes.start(killing.command_line, argv, folder=folder).join(90)
    assert killing.state(run) == killing.state(whole)
    assert killing.curves(run) == killing.curves(whole)


def test_under_slurm_sigusr1_requeues_the_job(tmp_path: Path):
    stub = tmp_path / "bin" / "scontrol"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\n')
    stub.chmod(0o755)
    slurm = {
        "SLURM_JOB_ID": "77", "SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
        "PATH": f"{stub.parent}:{os.environ['PATH']}",
    }  # fmt: skip
    process = processes.start(killing.command_line, config(tmp_path), 0.5, folder=tmp_path, env=slurm)
    wait_for(lambda: step_of(tmp_path) == 2 or not process.is_alive())
    os.kill(process.pid, signal.SIGUSR1)
    process.join(60)
    assert process.exitcode == 138, (tmp_path / "log.txt").read_text()[-3000:]
    assert (tmp_path / "called").read_text() == "requeue 70_3\n"
    assert read_checkpoint(tmp_path / LAST)["global_step"] == 2
