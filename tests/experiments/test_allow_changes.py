"""``--allow-changes``: a run resumed with another global batch."""

import json
import os
from pathlib import Path

import pytest
import yaml

from experiments.cli import main
from lit_inpaint.load import read_checkpoint
from tests.support import killing
from tests.support.runs import model


def fit(*more: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["fit", "--config", "fit.yaml", "--ckpt_path", "auto", *more])
    return int(end.value.code or 0)


def test_another_global_batch_is_refused_or_recorded_and_said_of_one_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("fit.yaml").write_text(yaml.safe_dump(killing.settings(model("PartialConv"), steps=6)))
    batch = yaml.safe_load(Path("fit.yaml").read_text())["data"]["init_args"]["batch_size"]
    assert fit("--trainer.max_steps", "5") == 0
    other = ["--data.init_args.batch_size", str(batch + 1)]
    assert fit(*other) == 2
    said = capfd.readouterr().err
    assert f"images a step was {batch} and is {batch + 1}" in said and "resume with --allow-changes" in said
    assert fit(*other, "--allow-changes", "--data.init_args.image_size", "48") == 2  # anything else stays refused
    assert "images a step" not in capfd.readouterr().err
    assert fit(*other, "--allow-changes") == 0
    said = capfd.readouterr().err
    assert f"images a step was {batch} and is {batch + 1}, as --allow-changes permits." in said
    assert read_checkpoint(Path("run/checkpoints/last.ckpt"))["global_step"] == 6
    assert json.loads(Path("run/run-1.json").read_text())["changes"] == [
        f"images a step was {batch} and is {batch + 1}"
    ]
    assert all("allow_changes" not in path.read_text() for path in Path("run").glob("config*.yaml"))
    assert os.path.exists("run/metrics-1.csv")
