"""Runs under signals, full disks and unwritable folders, in separate processes."""

import contextlib
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lit_inpaint.checkpoint_io import AtomicCheckpointIO
from lit_inpaint.load import read_checkpoint
from tests.support import killing, processes
from tests.support.runs import LAST, step_of, wait_for

DEEPFILL = {"class_path": "DeepFillV2", "init_args": {"width": 8, "discriminator_width": 4}}


def config(folder: Path, **trainer: Any) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    settings = killing.settings(DEEPFILL, workers=trainer.pop("workers", 0), steps=trainer.pop("steps", 8))
    settings["trainer"] |= trainer
    (folder / "fit.yaml").write_text(yaml.safe_dump(settings))
    return ["fit", "--config", "fit.yaml"]


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


def test_every_way_to_stop_a_run_saves_ends_with_its_code_and_prints_the_command(tmp_path: Path):
    # A closing terminal, LSF, a CPU time limit, Ctrl-C: sent to the whole process group, as by the kernel.
    numbers = [signal.SIGHUP, signal.SIGUSR2, signal.SIGXCPU, signal.SIGINT]
    started = []
    for number in numbers:
        folder = tmp_path / number.name
        process = processes.start(killing.command_line, config(folder, workers=1), 0.5, folder=folder)
        wait_for(lambda folder=folder, process=process: step_of(folder) == 2 or not process.is_alive())
        os.killpg(process.pid, number)
        started.append(process)
    for number, process in zip(numbers, started, strict=True):
        process.join(60)
        log = (tmp_path / number.name / "log.txt").read_text()
        assert process.exitcode == 128 + number, log[-3000:]
        step = read_checkpoint(tmp_path / number.name / LAST)["global_step"]
        assert step >= 2 and f"{number.name}: saved step {step}. To resume:\nlit-inpaint fit --config run/" in log
        assert "Traceback" not in log


def test_a_second_signal_waits_for_the_save_and_the_first_says_how_the_run_ends(tmp_path: Path):
    for first, second in ((signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)):
        folder = tmp_path / first.name
        process = processes.start(killing.slow_to_save, config(folder), folder=folder)
        wait_for(lambda folder=folder, process=process: step_of(folder) == 2 or not process.is_alive())
        os.kill(process.pid, first)
        wait_for(lambda folder=folder: (folder / "saving.txt").exists())
        os.kill(process.pid, second)
        process.join(60)
        assert process.exitcode == 128 + first, (folder / "log.txt").read_text()[-3000:]
        assert read_checkpoint(folder / LAST)["global_step"] == 2
        assert not list((folder / LAST).parent.glob(".*.part"))


def test_what_was_ignored_stays_ignored_and_before_the_first_batch_a_run_ends_at_once(tmp_path: Path):
    ignoring, checking = tmp_path / "nohup", tmp_path / "check"
    survivor = processes.start(killing.under_nohup, config(ignoring, steps=4), folder=ignoring)
    wait_for(lambda: step_of(ignoring) == 2 or not survivor.is_alive())
    os.kill(survivor.pid, signal.SIGHUP)
    argv = config(checking, num_sanity_val_steps=2)
    process = processes.start(killing.command_line, argv, 0.0, 0.5, folder=checking)
    wait_for(lambda: (checking / "validating.txt").exists() or not process.is_alive())
    os.kill(process.pid, signal.SIGTERM)
    process.join(60), survivor.join(60)
    assert process.exitcode == 143, (checking / "log.txt").read_text()[-3000:]
    assert not list(checking.rglob("*.ckpt")) and not (checking / "now.txt").exists()
    assert survivor.exitcode == 0, (ignoring / "log.txt").read_text()[-3000:]
    assert read_checkpoint(ignoring / LAST)["global_step"] == 4


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


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_thirty_kills_while_checkpoints_are_written_leave_the_old_or_the_new_one_whole(tmp_path: Path):
    elsewhere, path = tmp_path / "elsewhere", tmp_path / "x.ckpt"
    elsewhere.mkdir()
    rng, newest, unfinished = random.Random(0), 0, 0
    for _ in range(30):
        process = processes.start(killing.write_for_ever, str(path), folder=tmp_path, env={"TMPDIR": str(elsewhere)})
        known = path.stat().st_ino if path.exists() else None
        wait_for(lambda known=known: path.exists() and path.stat().st_ino != known)
        time.sleep(rng.random() * 0.05)
        process.kill()
        process.join()
        unfinished += bool(list(tmp_path.glob(".x.ckpt.*.part")))
        content = torch.load(path, weights_only=True)
        assert content["number"] > newest and len(content["tensors"]) == 100
        assert all((tensor == content["number"]).all() for tensor in content["tensors"])
        newest = content["number"]
    assert unfinished > 3  # kills did fall into writes
    assert not list(elsewhere.iterdir())


def test_a_part_of_a_living_process_is_left_alone_and_that_of_a_dead_one_is_removed(tmp_path: Path):
    other = processes.start(time.sleep, 60, folder=tmp_path)
    parts = [tmp_path / f".x.ckpt.{name}.part" for name in (f"{platform.node()}-{other.pid}", "elsewhere-1")]
    for part in parts:
        part.touch()
    save = AtomicCheckpointIO().save_checkpoint
    save({"number": 1}, tmp_path / "x.ckpt")
    assert all(part.exists() for part in parts)
    other.kill(), other.join()
    save({"number": 2}, tmp_path / "x.ckpt")
    assert [part.exists() for part in parts] == [False, True]


def trained_until_step_3(folder: Path) -> dict[str, Any]:
    process = processes.start(killing.command_line, config(folder, steps=3), folder=folder)
    process.join(90)
    assert process.exitcode == 0, (folder / "log.txt").read_text()[-3000:]
    return killing.state(folder)


def refuses_to_go_on(folder: Path, target: Any, *arguments: Any) -> str:
    """The one line printed by a run that resumes from step 3 and cannot write."""
    process = processes.start(target, [*config(folder), "--ckpt_path", "last"], *arguments, folder=folder, log="2.txt")
    process.join(90)
    said = (folder / "2.txt").read_text()
    assert process.exitcode == 2, said[-3000:]
    (line,) = [line for line in said.splitlines() if line.startswith("lit-inpaint:")]
    return line


def test_a_file_that_may_not_grow_ends_the_run_and_keeps_the_checkpoint_before_it(tmp_path: Path):
    before = trained_until_step_3(tmp_path)
    line = refuses_to_go_on(tmp_path, killing.with_file_limit, 1_000_000)  # a checkpoint has 2.3 MB
    assert "run/checkpoints/step=6.ckpt" in line and "previous checkpoint is intact" in line
    assert killing.state(tmp_path) == before


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_keeps_the_checkpoint_before_it(tmp_path: Path):
    disk = tmp_path / "run"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("no tmpfs may be mounted here")
    try:
        before = trained_until_step_3(tmp_path)
        with (disk / "filler").open("wb") as filler, contextlib.suppress(OSError):
            while os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize > 1_000_000:
                filler.write(b"0" * 100_000)
                filler.flush()
        line = refuses_to_go_on(tmp_path, killing.command_line)
        assert "run/checkpoints/step=6.ckpt" in line and "No space left" in line
        assert killing.state(tmp_path) == before
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_file_closed_to_others_is_found_out_as_the_user_nobody():
    if os.getuid() != 0:
        pytest.skip("only root can become somebody who may not read")
    with tempfile.TemporaryDirectory() as temporary:
        opened, closed = Path(temporary, "opened"), Path(temporary, "closed")
        Path(temporary).chmod(0o755)
        opened.touch(0o644)
        closed.touch(0o600)
        assert killing.closed_to_nobody(str(opened)) is None
        assert killing.closed_to_nobody(str(opened), str(closed)) == str(closed)
        Path(temporary).chmod(0o700)
        assert killing.closed_to_nobody(str(opened)) == str(opened)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody who may not write")
def test_a_folder_that_cannot_be_written_is_one_line_before_the_first_batch():
    if closed := killing.closed_to_nobody(killing.cli.__file__, torch.__file__, os.__file__):
        pytest.skip(f"the user nobody cannot read {closed}: the environment or the checkout is closed to others")
    with tempfile.TemporaryDirectory() as temporary:  # pytest's own folders are closed to others
        folder = Path(temporary)
        folder.chmod(0o755)
        argv = config(folder)
        (folder / "run").mkdir(mode=0o555)
        process = processes.start(killing.as_nobody, argv, folder=folder)
        process.join(90)
        said = (folder / "log.txt").read_text()
        assert process.exitcode == 2, said[-3000:]
        (line,) = [line for line in said.splitlines() if line.startswith("lit-inpaint:")]
        assert "ermission denied" in line and "run" in line
        assert not list((folder / "run").iterdir()) and not (folder / "now.txt").exists()


# ---- several processes -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.xdist_group("ddp")
def test_one_rank_that_fails_ends_all_within_a_minute_and_leaves_no_orphan(tmp_path: Path):
    settings = killing.settings(DEEPFILL, workers=1, ranks=2)
    settings["trainer"]["callbacks"].append({"class_path": "tests.support.killing.FailOnRankOne"})
    (tmp_path / "fit.yaml").write_text(yaml.safe_dump(settings))
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "experiments", "fit", "--config", "fit.yaml"]
    with (tmp_path / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    wait_for(lambda: (tmp_path / "failed.txt").exists() or process.poll() is not None, 200)
    failed = time.monotonic()
    assert process.wait(60) != 0
    wait_for(lambda: not group(process.pid), 60 - (time.monotonic() - failed))
    assert "rank 1 fails" in (tmp_path / "log.txt").read_text()


@pytest.mark.xdist_group("ddp")
def test_a_frozen_rank_ends_the_run_with_its_number(tmp_path: Path):
    settings = killing.settings(DEEPFILL, ranks=2, steps=1000)
    settings["trainer"]["callbacks"] += [
        {"class_path": "lit_inpaint.callbacks.FrozenRank", "init_args": {"seconds": 3}},
        {"class_path": "experiments.train.status.Status"},
    ]
    (tmp_path / "fit.yaml").write_text(yaml.safe_dump(settings))
    port = processes.free_port()
    ranks = [
        processes.start(
            killing.command_line, ["fit", "--config", "fit.yaml"],
            folder=tmp_path, log=f"log-{rank}.txt", env=processes.rank_env(rank, 2, port),
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        wait_for(lambda: step_of(tmp_path) >= 3 or not all(rank.is_alive() for rank in ranks), 200)
        time.sleep(2)  # longer than a beat
        os.kill(ranks[1].pid, signal.SIGSTOP)
        ranks[0].join(60)
        said = (tmp_path / "log-0.txt").read_text()
        assert ranks[0].exitcode == 1, said[-3000:]
        assert "rank 1 has not responded for 3 s" in said
        status = yaml.safe_load((tmp_path / "run/status.json").read_text())
        assert status["state"] == "crashed" and "rank 1" in status["error"]
    finally:
        for rank in ranks:
            rank.kill()
            rank.join()


def group(number: int) -> bool:
    """Whether any process of a session lives."""
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True
