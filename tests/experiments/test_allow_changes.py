"""``--allow-changes``: a run resumed with another global batch."""

import json
import os
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from datamodules.sampler import TrainingSampler
from experiments.cli import main
from experiments.run import Run
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


def test_the_command_of_a_run_that_was_killed_before_it_saved_under_other_settings_resumes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("fit.yaml").write_text(yaml.safe_dump(killing.settings(model("PartialConv"), steps=4)))
    run, checkpoints = Run(Path("run")), Path("run/checkpoints")
    assert fit("--trainer.max_steps", "2") == 0
    assert run.command == "lit-inpaint fit --config run/config.yaml --ckpt_path auto"
    shutil.copytree(checkpoints, "before")
    assert fit("--model.init_args.learning_rate", "0.001", "--allow-changes") == 0
    shutil.rmtree(checkpoints)
    Path("before").rename(checkpoints)
    for start in (1, 2):  # the second resumes what the first has saved
        assert run.command == f"lit-inpaint fit --config run/config-{start}.yaml --ckpt_path auto --allow-changes"
        with pytest.raises(SystemExit) as end:
            main(shlex.split(run.command)[1:])
        assert not end.value.code
    assert read_checkpoint(checkpoints / "last.ckpt")["global_step"] == 4
    assert run.command == "lit-inpaint fit --config run/config-3.yaml --ckpt_path auto"


@pytest.mark.slow
@pytest.mark.xdist_group("ddp")
def test_two_processes_resume_with_another_global_batch_and_show_the_rest_of_the_epoch_once(tmp_path: Path):
    config = killing.settings(model("PartialConv"), ranks=2, steps=4)
    data = {key: config["data"]["init_args"][key] for key in ("mask", "image_size", "num_workers")}
    faces = {"train": 30, "val": 2, "test": 2, "batch_size": 2}
    config["data"] = {"class_path": "DrawnFaces", "init_args": data | faces}
    assert killing.run(tmp_path, config, ranks=2) == [0, 0]
    config["data"]["init_args"]["batch_size"], config["trainer"]["max_steps"] = 3, 6
    more = ["--ckpt_path", "auto"]
    assert 0 not in killing.run(tmp_path, config, ranks=2, attempt=1, more=more)
    said = "".join((tmp_path / f"log-{rank}-1.txt").read_text() for rank in (0, 1))  # the first ends the other
    assert "images a step was 4 and is 6" in said
    assert killing.run(tmp_path, config, ranks=2, attempt=2, more=[*more, "--allow-changes"]) == [0, 0]
    rows = [row for step in killing.samples(tmp_path, 2).values() for row in step]
    assert {row["epoch"] for row in rows} == {0} and [len(row["names"]) for row in rows] == [2] * 8 + [3] * 4
    shown = sorted(name for row in rows for name in row["names"])
    first = [index for _, index in TrainingSampler(30, 28, seed=0)][:28]
    assert shown == sorted(f"v1/0/train/{index:08}.png" for index in first)  # none twice, none left out
