"""One unchanged command under an engine that starts it again: bits equal those of a run that nothing interrupted."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from experiments.files.find import INSTALLED
from tests.support import killing, processes
from tests.support.processes import ROOT
from tests.support.runs import AUTO, LIMIT, model, wait_for

FIT = ["fit", "--config", "fit.yaml", *AUTO]
STEPS = 30  # of a tenth of a second and more


@pytest.fixture(params=["DeepFillV2", "DDPM"])
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A run of two processes that nothing interrupts; its fit.yaml is that of the others."""
    settings = killing.settings(model(request.param), ranks=2, steps=STEPS)
    settings["trainer"]["callbacks"].append({"class_path": "tests.support.killing.SlowBatches"})
    folder = tmp_path / request.param
    assert killing.run(folder, settings, ranks=2) == [0, 0]
    return folder


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled", **more}


def pids(folder: Path) -> list[str]:
    written = [path.read_text() for path in sorted(folder.glob("pid-*"))]
    return written if all(written) else []


def assert_equal_bits(folder: Path, whole: Path) -> None:
    assert killing.state(folder) == killing.state(whole)
    curves = killing.curves(folder)
    assert curves == killing.curves(whole) and len(curves["val/psnr_hole"]) == STEPS // killing.EVERY


@pytest.mark.slow
@pytest.mark.timeout(3 * LIMIT)
@pytest.mark.xdist_group("ddp")
def test_torchrun_restarts_a_command_whose_ranks_are_killed(whole: Path, tmp_path: Path):
    folder, rng = tmp_path / "killed", random.Random()
    folder.mkdir()
    (folder / "fit.yaml").write_text((whole / "fit.yaml").read_text())
    meeting = f"--master-port={processes.free_port()}" if whole.name == "DDPM" else "--standalone"  # both of its stores
    torchrun = [sys.executable, "-m", "torch.distributed.run", meeting, "--max-restarts=3", "--nproc-per-node=2"]
    with (folder / "log.txt").open("w") as log:
        launcher = subprocess.Popen(
            [*torchrun, "-m", "experiments", *FIT], cwd=folder, env=environment(), stdout=log, stderr=log
        )
    try:
        started: list[str] = []
        for rank in rng.sample([0, 1], 2):
            wait_for(
                lambda started=started: len(set(pids(folder)) - set(started)) == 2 or launcher.poll() is not None, LIMIT
            )
            started = pids(folder)
            time.sleep(2 * rng.random())
            os.kill(int(started[rank]), signal.SIGKILL)
        code = launcher.wait(LIMIT)
    finally:
        launcher.kill()
    said = (folder / "log.txt").read_text()
    assert code == 0, said[-3000:]
    assert not set(pids(folder)) & set(started), "the second kill came after the end"
    assert len(list((folder / "run").glob("config*.yaml"))) == 3, "started three times"
    assert_equal_bits(folder, whole)


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT)
@pytest.mark.xdist_group("ddp")
def test_torchrun_restarts_an_evaluation_whose_rank_is_killed(tmp_path: Path):
    """``test`` meets anew as ``fit`` does; the numbers are those of one process."""
    settings = killing.settings(model("PartialConv"), ranks=2)
    settings["data"]["init_args"] |= {"eval_repeats": 20, "eval_batch_size": 1}
    settings["trainer"] = {
        "devices": 2, "accelerator": "cpu", "logger": False, "strategy": "ddp_find_unused_parameters_true",
        "callbacks": [{"class_path": "tests.support.killing.SlowBatches"}],
    }  # fmt: skip
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(settings))
    argv = ["test", "--config", "test.yaml"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts=2", "--nproc-per-node=2"]
    with (tmp_path / "log.txt").open("w") as log:
        launcher = subprocess.Popen(
            [*torchrun, "-m", "experiments", *argv], cwd=tmp_path, env=environment(), stdout=log, stderr=log
        )
    try:
        for _ in range(2):
            wait_for(lambda: len(pids(tmp_path)) == 2 or launcher.poll() is not None, LIMIT)
            victim = pids(tmp_path)[1]
            for path in tmp_path.glob("pid-*"):
                path.unlink()
            os.kill(int(victim), signal.SIGKILL)
        code = launcher.wait(LIMIT)
    finally:
        launcher.kill()
    said = (tmp_path / "log.txt").read_text()
    assert code == 0, said[-3000:]
    settings["trainer"] |= {"devices": 1, "strategy": "auto", "callbacks": []}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(settings))
    one = processes.start(killing.command_line, argv, folder=tmp_path, log="one.txt")
    one.join()
    assert one.exitcode == 0 and numbers(said) == pytest.approx(numbers((tmp_path / "one.txt").read_text()), rel=1e-5)


def numbers(said: str) -> dict[str, float]:
    """The last table that Lightning has printed."""
    found = {name: float(value) for name, value in re.findall(r"│ +(test/\w+) +│ +(\S+) +│", said)}
    assert len(found) > 3
    return found


@pytest.mark.slow
@pytest.mark.timeout(3 * LIMIT)
@pytest.mark.xdist_group("ddp")
def test_slurm_requeues_a_job_that_saves_before_its_time_limit(whole: Path, tmp_path: Path):
    """Stand-ins for ``srun``, whose tasks are started here, and for ``scontrol``: the script is run again."""
    folder, rng, script = tmp_path / "requeued", random.Random(), INSTALLED / "launch/one_node.sbatch"
    stubs = {
        "srun": 'printf "%s\\0" "$@" > part; mv part words; until [ -s code ]; do sleep 0.05; done; exit $(cat code)',
        "scontrol": 'echo "$@" >> requeued',
    }
    folder.mkdir()
    for name, body in stubs.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    (folder / "fit.yaml").write_text((whole / "fit.yaml").read_text())
    (number,) = re.findall(r"^#SBATCH --signal=(\w+)@", script.read_text(), re.MULTILINE)
    slurm = {
        "SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "lit-inpaint", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NNODES": "1", "SLURM_NODEID": "0", "RUN": "run", "MASTER_ADDR": "127.0.0.1",
        "PATH": f"{folder}:{os.environ['PATH']}",
    }  # fmt: skip
    for start in range(3):
        for path in (folder / "words", folder / "code", *folder.glob("pid-*")):
            path.unlink(missing_ok=True)
        job = subprocess.Popen(["bash", script, "--config", "fit.yaml"], cwd=folder, env=environment(**slurm))
        wait_for((folder / "words").exists)
        argv = (folder / "words").read_text().split("\0")[1:-1]
        port = str(processes.free_port())
        tasks = [
            processes.start(
                killing.command_line, argv, folder=folder, log=f"log-{rank}-{start}.txt",
                env=slurm | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "MASTER_PORT": port},
            )
            for rank in range(2)
        ]  # fmt: skip
        if start < 2:
            wait_for(lambda: len(pids(folder)) == 2, LIMIT)
            time.sleep(rng.random())
            for task in tasks:
                os.killpg(task.pid, signal.Signals[number])
        for task in tasks:
            task.join(LIMIT)
        expected = 128 + signal.SIGUSR1 if start < 2 else 0
        said = (folder / f"log-0-{start}.txt").read_text()
        assert [task.exitcode for task in tasks] == [expected] * 2, said[-3000:]
        (folder / "code").write_text(str(expected))
        assert job.wait(60) == expected
    assert (folder / "requeued").read_text() == "requeue 77\n" * 2
    assert_equal_bits(folder, whole)
