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
from tests.support.contract import ROWS
from tests.support.small_fits import TRIAL
from tests.support.wandb_server import Server, wandb_server

ROOT = Path(__file__).parents[2]
RATES = [1e-4, 0.1]
COMMON = [word for word in TRIAL[2:] if not word.startswith("--model")]
SMALL = {
    name: {f"model.init_args.{argument}": {"value": value} for argument, value in dict(ROWS)[name].items()}
    for name in ("LaMa", "PartialConv", "DeepFillV2")
}
del SMALL["LaMa"]["model.init_args.blocks"]
SWEEP: dict[str, Any] = {
    "method": "grid",
    "metric": {"name": "val/psnr_hole", "goal": "maximize"},
    "parameters": {"model.init_args.learning_rate": {"values": RATES}},
    "command": [*TRIAL, "--data.init_args.mask=CenterRectangle", "${args}"],
}


METHODS: dict[str, Any] = {  # three, of which one has a parameter of its own
    "method": "grid",
    "metric": {"name": "val/psnr_hole", "goal": "maximize"},
    "parameters": {
        "model": {"parameters": {"class_path": {"values": ["LaMa", "PartialConv", "DeepFillV2"]}}},
        "only": {
            "parameters": {
                "LaMa": {"parameters": {"model.init_args.blocks": {"values": [1, 2]}, **SMALL["LaMa"]}},
                "PartialConv": {"parameters": SMALL["PartialConv"]},
                "DeepFillV2": {"parameters": SMALL["DeepFillV2"]},
            }
        },
    },
    "command": ["lit-inpaint", "fit", *COMMON, "--data.init_args.mask=CenterRectangle", "${args}"],
}


def agent_of_wandb(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Server, str]:
    """What a server got from ``wandb sweep`` and the ``wandb agent`` that it names, and what the agent said."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "lit-inpaint").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m experiments "$@"\n')
    (programs / "lit-inpaint").chmod(0o755)
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name, value in (("PYTHONPATH", str(ROOT)), ("PATH", f"{programs}:{os.environ['PATH']}"), ("HOME", str(folder))):
        monkeypatch.setenv(name, value)
    with wandb_server([]) as server:
        wandb = {
            "BASE_URL": server.address,
            "API_KEY": "0" * 40,
            "ENTITY": "lab",
            "CACHE_DIR": str(folder / "cache"),
            "ERROR_REPORTING": "false",
        }
        environment = os.environ | {f"WANDB_{name}": value for name, value in wandb.items()}

        def run(*words: str) -> str:
            command = [sys.executable, "-m", "wandb", *words]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
            assert done.returncode == 0, done.stdout + done.stderr
            return re.sub(r"\x1b\[\d*m", "", done.stdout + done.stderr)

        said = run("sweep", "--project", "lit-inpaint", str(path))
        (typed,) = re.findall(r"Run sweep agent with: wandb (.+)", said)
        agent = run(*typed.split())
    assert {"UpsertSweep", "SweepWithRuns", "CreateAgent", "Heartbeat"} <= set(server.asked)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return server, agent


def last_values(server: Server, folder: Path) -> list[float]:
    found = []
    for online in server.runs:
        seen = [row["val/psnr_hole"] for row in online["history"] if "val/psnr_hole" in row]
        assert len(seen) == 2 and online["summary"]["val/psnr_hole"] == seen[-1]
        assert (folder / "runs/sweeps/s0" / online["id"] / "checkpoints/last.ckpt").is_file()
        found.append(seen[-1])
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_wandbs_agent_and_our_sweep_train_the_same_trials_of_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    path = tmp_path / "rates.yaml"
    path.write_text(yaml.safe_dump(SWEEP))
    server, agent = agent_of_wandb(path, tmp_path, monkeypatch)
    assert [run["id"] for run in server.runs] == ["s0run0", "s0run1"], agent
    assert {run["sweep"] for run in server.runs} == {"s0"}
    assert [run["config"]["learning_rate"] for run in server.runs] == RATES
    theirs = last_values(server, tmp_path)

    assert sweep([str(path), "--workers", "2"]) == 0
    said = capfd.readouterr().out
    ledger = Ledger(read_sweep(path), str(tmp_path / "runs/sweeps/rates/journal.log"), 2)
    ours = {trial.user_attrs["drawn"]["model.init_args.learning_rate"]: trial.value for trial in ledger.held()}
    assert ours == pytest.approx(dict(zip(RATES, theirs, strict=True))), said
    assert theirs[0] != theirs[1]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_methods_with_a_parameter_of_one_alone_train_alike_under_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """wandb/wandb#1487. W&B knows no conditions: it gives every run every parameter, so each of the methods without
    one of its own is trained twice, and `fit` leaves out what is not its method's."""
    path = tmp_path / "methods.yaml"
    path.write_text(yaml.safe_dump(METHODS, sort_keys=False))
    server, agent = agent_of_wandb(path, tmp_path, monkeypatch)
    facts = [(run["config"]["method"], run["config"].get("blocks")) for run in server.runs]
    lama, rest = [("LaMa", 1), ("LaMa", 2)], [("PartialConv", None)] * 2
    assert facts[:4] == lama + rest and [method for method, _ in facts[4:]] == ["DeepFillV2"] * 2, agent
    theirs = last_values(server, tmp_path)
    assert len(set(theirs)) == 4 and theirs[2] == theirs[3] and theirs[4] == theirs[5]

    assert sweep([str(path)]) == 0
    ledger = Ledger(read_sweep(path), str(tmp_path / "runs/sweeps/methods/journal.log"), 4)
    drawn = [trial.user_attrs["drawn"] for trial in ledger.held()]
    chosen = [(d["model.class_path"], d.get("only.LaMa.model.init_args.blocks")) for d in drawn]
    assert chosen == [*lama, ("PartialConv", None), ("DeepFillV2", None)]
    assert [trial.value for trial in ledger.held()] == pytest.approx([*theirs[:3], theirs[4]])
