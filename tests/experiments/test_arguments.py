"""All argparse spellings are equivalent, and the user's arguments override a checkpoint's."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from experiments import cli
from experiments.train.arguments import prepare_arguments
from lit_inpaint.methods import PartialConv

TELEA = ["--model=Telea", "--data=SamplePhotos", "--data.init_args.mask=CenterRectangle"]


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    with pytest.raises(SystemExit) as end:
        cli.main([*argv, "--print_config"])
    said = capsys.readouterr()
    assert end.value.code == 0, said.err
    return yaml.safe_load(said.out)


def a_run(folder: Path) -> Path:
    """A run folder as ``fit`` leaves it, as far as the command line reads it."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    config = {"trainer": {"max_steps": 7, "callbacks": ["lit_inpaint.callbacks.Throughput"]}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    method = PartialConv(levels=2, width=4)
    content = {"method": "PartialConv", "state_dict": method.state_dict(), "hyper_parameters": dict(method.hparams)}
    torch.save(content | {"global_step": 1, "optimizer_states": []}, folder / "checkpoints/last.ckpt")
    return folder


def test_every_spelling_of_config_finds_an_installed_and_a_saved_configuration(capsys: pytest.CaptureFixture[str]):
    whole = printed(capsys, "fit", "--config", "quickstart")
    for spelling in (["--config=quickstart"], ["-c", "quickstart"], ["-cquickstart"], ["--conf", "quickstart.yaml"]):
        assert printed(capsys, "fit", *spelling) == whole, spelling
    saved = str(a_run(Path("it's a run")) / "config.yaml")
    for spelling in (["--config", saved], [f"--config={saved}"], [f"-c{saved}"]):
        trainer = printed(capsys, "fit", *spelling)["trainer"]
        assert (trainer["default_root_dir"], trainer["max_steps"]) == ("it's a run", 7), spelling
    evaluated = printed(capsys, "test", f"--config={saved}", "--model=Telea", "--data=SamplePhotos")["trainer"]
    assert "Throughput" not in str(evaluated["callbacks"])  # what a training logs is not for its evaluation
    assert "Throughput" in str(printed(capsys, "fit", f"--config={saved}")["trainer"]["callbacks"])


def test_the_order_of_configurations_and_settings_is_kept(capsys: pytest.CaptureFixture[str]):
    for steps in (1, 2):
        Path(f"{steps}.yaml").write_text(yaml.safe_dump({"trainer": {"max_steps": steps}}))
    middle = ["--trainer.max_steps", "5"]
    assert printed(capsys, "fit", "-c1.yaml", *middle, "--config=2.yaml")["trainer"]["max_steps"] == 2
    assert printed(capsys, "fit", "-c1.yaml", "--config=2.yaml", *middle)["trainer"]["max_steps"] == 5


def test_a_checkpoint_comes_before_the_user_in_every_spelling(capsys: pytest.CaptureFixture[str]):
    checkpoint = str(a_run(Path("it's a run")) / "checkpoints/last.ckpt")
    for spelling in (["--ckpt_path", checkpoint], [f"--ckpt_path={checkpoint}"], ["--ckpt", checkpoint]):
        config = printed(capsys, "fit", *spelling, "--model.init_args.width=9", "--data=SamplePhotos")
        assert config["model"]["class_path"].endswith("PartialConv")
        assert (config["model"]["init_args"]["levels"], config["model"]["init_args"]["width"]) == (2, 9)
        assert config["trainer"]["default_root_dir"] == "it's a run"
    both = prepare_arguments(["fit", f"--init_from={checkpoint}", "--ckpt_path", checkpoint])
    run, weights = (json.loads(both[place]) for place in (2, 4))
    assert "trainer" in run and "trainer" not in weights
    assert prepare_arguments(["fit", f"--ckpt_path={checkpoint}", "--ckpt_path", "null"])[1] != "--config"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--config=quikstart"], "Did you mean 'quickstart.yaml'"),
        (["-cquikstart"], "Did you mean 'quickstart.yaml'"),
        (["--data=data/sample_foto.yaml"], "Did you mean 'data/sample_photos.yaml'"),
        (["--ckpt_path=nowhere.ckpt"], "there is no checkpoint nowhere.ckpt"),
        (["--ckpt_pat", "nowhere.ckpt"], "there is no checkpoint nowhere.ckpt"),  # argparse takes abbreviations
        (["--ckpt", "last", *TELEA, "--trainer.max_stepz=1"], "Did you mean 'max_steps'"),
        (["--ckpt_path"], "expected one argument"),
    ],
)
def test_a_mistake_is_one_line_in_every_spelling(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        cli.main(["fit", *argv])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lit-inpaint:")]
    assert end.value.code == 2 and words in line, line


def test_a_trial_of_wandbs_agent_has_a_folder_of_its_own_unless_one_is_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    monkeypatch.setenv("WANDB_RUN_ID", "r")
    own = "--trainer.default_root_dir=runs/sweeps/s/r"
    assert prepare_arguments(["fit", "--x=None"]) == ["fit", "--x=null", own]
    for told in (["--trainer.default_root_dir", "a"], ["--trainer.default_root_dir=a"], ["--trainer.default_root=a"]):
        assert prepare_arguments(["fit", *told]) == ["fit", *told]
    assert prepare_arguments(["fit", "--trainer", "{max_steps: 3}"])[-1] == own
    assert prepare_arguments(["test"]) == ["test"]
