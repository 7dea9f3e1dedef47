"""The recipes of experiments/configs/launch: their commands are ours, and their files are those of the engines."""

import importlib.util
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.files.find import INSTALLED
from experiments.train.cli import main

LAUNCH = INSTALLED / "launch"
PUBLISHED = 16  # global batch of DeepFillV2
TORCHRUN = '#!/bin/bash\nprintf "%s\\0" "$@" > words\n'


def words_of(script: str, folder: Path, *arguments: str, **more: str) -> list[str]:
    """What ``script`` gives to torchrun."""
    (folder / "torchrun").write_text(TORCHRUN)
    (folder / "torchrun").chmod(0o755)
    environment = {**os.environ, **more, "PATH": f"{folder}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-euc", script, "bash", *arguments], cwd=folder, env=environment, check=True)
    return (folder / "words").read_text().split("\0")[:-1]


def recipe(name: str) -> Any:
    return yaml.safe_load((LAUNCH / name).read_text())


def fitted(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The configuration that our parser reads from what comes after ``-m experiments``."""
    argv = words[words.index("experiments") + 1 :]
    assert argv[0] == "fit" and "--ckpt_path=auto" in "=".join(argv[-2:])
    with pytest.raises(SystemExit) as end:
        main([*argv, "--print_config"])
    said = capsys.readouterr()
    assert end.value.code == 0, said.err
    config: dict[str, Any] = yaml.safe_load(said.out)
    return config


def global_batch(config: dict[str, Any]) -> int:
    trainer = config["trainer"]
    return int(trainer["devices"]) * int(trainer["num_nodes"]) * int(config["data"]["init_args"]["batch_size"])


def test_torchrun_and_skypilot_start_a_command_that_the_command_line_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    script = (LAUNCH / "torchrun.sh").read_text()
    words = words_of(script, tmp_path, GPUS="4", RUN="runs/a run")
    config = fitted(words, capsys)
    assert global_batch(config) == PUBLISHED and config["trainer"]["default_root_dir"] == "runs/a run"
    assert words[: words.index("-m")] == ["--standalone", "--max-restarts", "3", "--nproc-per-node", "4"]
    own = words_of(script, tmp_path, "--config", "quickstart", GPUS="2")
    assert own[own.index("fit") + 1 :][:2] == ["--config", "quickstart"] and "deepfillv2/places2" not in own

    words = words_of(recipe("skypilot.yaml")["run"], tmp_path, SKYPILOT_NUM_GPUS_PER_NODE="4")
    assert global_batch(fitted(words, capsys)) == PUBLISHED


def test_a_train_job_starts_a_command_that_the_command_line_takes(capsys: pytest.CaptureFixture[str]):
    trainer = recipe("trainjob.yaml")["spec"]["trainer"]
    config = fitted([*trainer["command"], *trainer["args"]], capsys)
    assert global_batch(config) == PUBLISHED
    assert (config["trainer"]["num_nodes"], config["trainer"]["devices"]) == (
        trainer["numNodes"], str(trainer["numProcPerNode"]),
    )  # fmt: skip


def needs(package: str, name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"needs `pip install {name}`")


@needs("sky", "skypilot")
def test_skypilot_takes_its_recipe_and_refuses_a_misspelt_one():
    import sky

    config = recipe("skypilot.yaml")
    task = sky.Task.from_yaml_config(config)
    assert task.num_nodes == 1 and next(iter(task.resources)).use_spot
    with pytest.raises(ValueError, match="num_nodes"):
        sky.Task.from_yaml_config(config | {"num_node": 2})


@needs("kubeflow_trainer_api", "kubeflow-trainer-api")
def test_kubeflow_takes_its_recipe_and_keeps_all_of_it():
    from kubeflow_trainer_api import models

    job = recipe("trainjob.yaml")
    assert models.TrainerV1alpha1TrainJob.from_dict(job).to_dict() == job
    job["spec"]["trainer"]["numNode"] = job["spec"]["trainer"].pop("numNodes")
    assert models.TrainerV1alpha1TrainJob.from_dict(job).to_dict() != job


@needs("simple_slurm", "simple-slurm")
@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.sbatch")), ids=lambda path: path.stem)
def test_sbatch_has_the_options_of_a_recipe(path: Path):
    from simple_slurm import Slurm

    options = [
        line.split("#")[1].removeprefix("SBATCH --").split()
        for line in path.read_text().splitlines()
        if "#SBATCH" in line
    ]
    assert len(options) > 5
    for option in options:
        name, _, value = option[0].partition("=")
        slurm = Slurm(**{name.replace("-", "_"): value or True})
        assert f"#SBATCH --{name}" in str(slurm)
        with pytest.raises((SystemExit, ValueError, KeyError)):
            Slurm(**{f"{name.replace('-', '_')}x": value or True})
