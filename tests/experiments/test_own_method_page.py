"""docs/own_method.md, typed in a copy of examples/own_method beside a lab's own masks.py and experiments/."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from experiments.run import Run
from lit_inpaint.load import read_checkpoint
from tests.support.lab import write_lab

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/own_method.md").read_text(encoding="utf-8")
TYPED = [line for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}


def start(folder: Path, line: str) -> subprocess.Popen[str]:
    program, *words = shlex.split(line)
    assert program == "lit-inpaint"
    command = [sys.executable, "-P", "-m", "experiments", *words]
    with (folder / "log.txt").open("w") as log:
        return subprocess.Popen(
            command, cwd=folder, env=ENVIRONMENT, stdout=log, stderr=log, text=True, start_new_session=True
        )


def typed(folder: Path, line: str) -> str:
    code = start(folder, line).wait(400)
    said = (folder / "log.txt").read_text()
    assert code == 0, f"{line}: {said[-3000:]}"
    return said


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_page_goes_from_an_empty_folder_to_a_row_in_a_table(tmp_path: Path):
    folder = tmp_path / "lab"
    shutil.copytree(ROOT / "examples/own_method", folder, ignore=shutil.ignore_patterns("__pycache__", "runs"))
    write_lab(folder)
    photo = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    hole = np.zeros((48, 64), np.uint8)
    hole[16:32, 20:40] = 255
    assert cv2.imwrite(str(folder / "photo.png"), photo) and cv2.imwrite(str(folder / "hole.png"), hole)
    for name, content in re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        (folder / name).write_text(content)
    fit, resume, *rest = TYPED

    run, last = start(folder, fit), folder / "runs/own/checkpoints/last.ckpt"
    end = time.monotonic() + 400
    while not (folder / "runs/own/metrics.csv").exists() and run.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGTERM)
    assert run.wait(200) != 0, "it ended before it was stopped"
    assert 0 < read_checkpoint(last)["global_step"] < 200
    printed = Run(folder / "runs/own").command
    assert printed is not None and printed.replace(f"{folder}/", "") == resume
    typed(folder, resume)
    assert read_checkpoint(last)["global_step"] == 200

    for line in rest:
        typed(folder, line)
    records = [json.loads(path.read_text()) for path in (folder / "out/records").rglob("*.json")]
    assert {record["method"]["name"] for record in records} == {"Telea", "Residual"}
    filled = cv2.imread(str(folder / "filled.png"))
    assert (filled[hole == 0] == photo[hole == 0]).all() and (filled[hole == 255] != photo[hole == 255]).any()
    trials = list((folder / "runs/sweeps/sweep/trials").glob("*/config.yaml"))
    assert len(trials) == 3 and all("import:\n- own_method\n" in trial.read_text() for trial in trials)
    assert "Residual" in (folder / "table.html").read_text()
    (mine,) = (folder / "mine/records").glob("*/Telea.json")
    assert json.loads(mine.read_text())["metrics"]["my_metrics.gradient_hole"]["mean"] > 0
    assert "Gradient (hole)" in (folder / "mine.html").read_text()
