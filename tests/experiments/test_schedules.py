"""Schedules on the command line: killed and resumed, changed when asked, and recorded."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.cli import main
from experiments.run import Run
from lit_inpaint.load import read_checkpoint
from tests.support import killing
from tests.support.killing import Kill
from tests.support.runs import model

COSINE = {"class_path": "torch.optim.lr_scheduler.CosineAnnealingLR", "init_args": {"T_max": 60}}
WARM = {"class_path": "LinearLR", "init_args": {"start_factor": 0.1, "total_iters": 40}}
SGD = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.001, "momentum": 0.9}}


def settings(name: str, steps: int, **arguments: Any) -> dict[str, Any]:
    method = model(name)
    return killing.settings(method | {"init_args": method["init_args"] | arguments}, steps=steps)


@pytest.mark.slow
def test_two_schedules_of_sixty_steps_killed_at_31_equal_the_uninterrupted_run(tmp_path: Path):
    config = settings("DeepFillV2", 60, schedules={"generator": COSINE, "discriminator": WARM})
    config["trainer"] |= {"limit_val_batches": 0}
    assert killing.run(tmp_path / "whole", config) == [0]
    step = killing.killed_and_resumed(tmp_path / "killed", config, Kill("between steps", 31))
    assert step == 30
    assert not killing.differences(tmp_path / "killed", tmp_path / "whole")
    rates = [value for _, value in Run(tmp_path / "killed/run").curve("train/generator_learning_rate")]
    assert len(rates) == 60 and rates[0] == pytest.approx(1e-4) and rates[-1] < 1e-6


def fit(*more: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["fit", "--config", "fit.yaml", "--ckpt_path", "auto", *more])
    return int(end.value.code or 0)


def test_a_learning_rate_and_a_schedule_change_when_asked_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """lightning#12118: the way to another learning rate; what was done is in the run's record."""
    monkeypatch.chdir(tmp_path)
    config = settings("DeepFillV2", 3, optimizers={"discriminator": SGD})
    Path("fit.yaml").write_text(yaml.safe_dump(config))
    assert fit() == 0
    rate, schedule = (
        "--model.init_args.learning_rate=0.5",
        f"--model.init_args.schedules.generator={json.dumps(COSINE)}",
    )
    momentum = json.dumps({"discriminator": SGD | {"init_args": SGD["init_args"] | {"momentum": 0.5}}})
    slower = json.dumps({"discriminator": SGD | {"init_args": SGD["init_args"] | {"lr": 0.0005}}})
    capfd.readouterr()
    for change in (rate, schedule, f"--model.init_args.optimizers={slower}"):
        assert fit(change, "--trainer.max_steps", "4") == 2
        assert "resume with --allow-changes" in capfd.readouterr().err
    for change in (f"--model.init_args.optimizers={momentum}", "--model.init_args.optimizers=null"):
        assert fit(change, "--allow-changes", "--trainer.max_steps", "4") == 2
        said = capfd.readouterr().err
        assert "model.init_args.optimizers" in said and "--allow-changes" not in said
    allowed = ["--allow-changes", "--trainer.max_steps", "4"]
    assert fit(rate, schedule, f"--model.init_args.optimizers={slower}", *allowed) == 0
    changed = "model.init_args.learning_rate was 0.0001 and is 0.5"
    assert f"{changed}, as --allow-changes permits." in capfd.readouterr().err
    said = json.loads(Path("run/run-1.json").read_text())["changes"]
    assert said == [
        changed,
        "model.init_args.optimizers.discriminator.init_args.lr was 0.001 and is 0.0005",
        "model.init_args.schedules.generator was absent and is 'CosineAnnealingLR'",
        "model.init_args.schedules.generator.init_args.T_max was absent and is 60",
    ]
    generator, discriminator = read_checkpoint(Path("run/checkpoints/last.ckpt"))["optimizer_states"]
    assert generator["param_groups"][0]["initial_lr"] == 0.5 and discriminator["param_groups"][0]["lr"] == 0.0005


def test_a_wrong_schedule_is_one_line_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("fit.yaml").write_text(yaml.safe_dump(settings("PartialConv", 3, schedules={"discriminator": COSINE})))
    assert fit() == 2
    said = capfd.readouterr().err
    assert "schedules names the network 'discriminator', which PartialConv does not train" in said
    assert not Path("run").exists()
