"""One unchanged command under an engine that starts it again: bits equal those of a run that nothing interrupted."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
