"""``wandb sweep`` and ``wandb agent`` as docs/sweeps.md types them, against a stand-in for W&B's server."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.sweep.command import main as sweep
from experiments.sweep.ledger import Ledger
from experiments.sweep.space import read_sweep
from tests.support.small_fits import TRIAL
from tests.support.wandb_server import wandb_server

ROOT = Path(__file__).parents[2]
RATES = [1e-4, 0.1]
SWEEP: dict[str, Any] = {
    "method": "grid",
    "metric": {"name": "val/psnr_hole", "goal": "maximize"},
    "parameters": {"model.init_args.learning_rate": {"values": RATES}},
    "command": [*TRIAL, "--data.init_args.mask=CenterRectangle", "${args}"],
}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_wandbs_agent_and_our_sweep_train_the_same_trials_of_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    path, programs = tmp_path / "rates.yaml", tmp_path / "bin"
    path.write_text(yaml.safe_dump(SWEEP))
    programs.mkdir()
    (programs / "lit-inpaint").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m experiments "$@"\n')
    (programs / "lit-inpaint").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    with wandb_server([]) as server:
        wandb = {
            "BASE_URL": server.address,
            "API_KEY": "0" * 40,
            "ENTITY": "lab",
            "CACHE_DIR": str(tmp_path / "cache"),
            "ERROR_REPORTING": "false",
        }
        paths = {"PYTHONPATH": str(ROOT), "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path)}
        environment = os.environ | paths | {f"WANDB_{name}": value for name, value in wandb.items()}

        def run(*words: str) -> str:
            command = [sys.executable, "-m", "wandb", *words]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
            assert done.returncode == 0, done.stdout + done.stderr
            return re.sub(r"\x1b\[\d*m", "", done.stdout + done.stderr)

        said = run("sweep", "--project", "lit-inpaint", str(path))
        (typed,) = re.findall(r"Run sweep agent with: wandb (.+)", said)
        agent = run(*typed.split())

    assert {"UpsertSweep", "SweepWithRuns", "CreateAgent", "Heartbeat"} <= set(server.asked)
    assert [run["id"] for run in server.runs] == ["s0run0", "s0run1"], agent
    assert {run["sweep"] for run in server.runs} == {"s0"}
    assert [run["config"]["learning_rate"] for run in server.runs] == RATES
    theirs = []
    for online in server.runs:
        seen = [row["val/psnr_hole"] for row in online["history"] if "val/psnr_hole" in row]
        assert len(seen) == 2 and online["summary"]["val/psnr_hole"] == seen[-1]
        folder = tmp_path / "runs/sweeps/s0" / online["id"]
        assert (folder / "checkpoints/last.ckpt").is_file()
        theirs.append(seen[-1])

    for name, value in (paths | {"WANDB_MODE": "disabled"}).items():
        monkeypatch.setenv(name, value)
    assert sweep([str(path), "--workers", "2"]) == 0
    said = capfd.readouterr().out
    ledger = Ledger(read_sweep(path), str(tmp_path / "runs/sweeps/rates/journal.log"), 2)
    ours = {trial.user_attrs["drawn"]["model.init_args.learning_rate"]: trial.value for trial in ledger.held()}
    assert ours == pytest.approx(dict(zip(RATES, theirs, strict=True))), said
    assert theirs[0] != theirs[1]
