"""Printed commands can be pasted into a shell, even for folders with a space and a quote in the name."""

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml

from datamodules import Places2
from experiments import cli
from experiments.files.find import INSTALLED
from experiments.run import Run
from experiments.run.listing import describe
from experiments.sweep.command import _worker_command, page_command
from experiments.sweep.command import parser as sweep_parser
from lit_inpaint.load import read_checkpoint
from masks import CenterRectangle

SMALL = [
    "fit", "--model", "DeepFillV2", "--model.init_args.width", "4", "--model.init_args.discriminator_width", "4",
    "--data", "SamplePhotos", "--data.init_args.mask", "CenterRectangle", "--data.init_args.image_size", "32",
    "--data.init_args.batch_size", "2", "--data.init_args.num_workers", "0", "--trainer.limit_val_batches", "0",
    "--trainer.accelerator", "cpu", "--trainer.enable_model_summary", "false", "--trainer.logger", "false",
]  # fmt: skip
NAME = 'it\'s a "run" $HOME'


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")


def words_in_bash(command: str) -> list[str]:
    said = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, text=True, check=True)
    return said.stdout.split("\0")[:-1]


def test_status_listing_and_folder_give_one_command_that_a_shell_takes():
    run = Run(Path(NAME))
    (run.folder / "checkpoints").mkdir(parents=True)
    (run.folder / "config.yaml").write_text("{}")
    torch.save({"global_step": 1, "optimizer_states": []}, run.folder / "checkpoints/last.ckpt")
    run.keep_status("stopped", "SIGTERM")
    command = run.command
    assert command is not None
    assert command == json.loads((run.folder / "status.json").read_text())["command"] == describe(run.folder).resume
    expected = ["--config", f"{NAME}/config.yaml", "--ckpt_path", "auto"]
    assert words_in_bash(command) == ["lit-inpaint", "fit", *expected]


class Stop(L.Callback):
    def on_train_batch_end(self, trainer: L.Trainer, *arguments: Any) -> None:
        if trainer.global_step == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def test_what_a_stopped_run_prints_resumes_it(capsys: pytest.CaptureFixture[str]):
    Path("stop.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks+": {"class_path": f"{__name__}.Stop"}}}))
    argv = [*SMALL, "--config", "stop.yaml", "--trainer.max_steps", "4", "--trainer.default_root_dir", NAME]
    with pytest.raises(SystemExit) as end:
        cli.main(argv)
    assert end.value.code == 128 + signal.SIGTERM
    (command,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lit-inpaint fit")]
    assert command == Run(Path(NAME)).command
    with pytest.raises(SystemExit) as end:
        cli.main(words_in_bash(command)[1:])
    assert end.value.code == 0
    assert read_checkpoint(Path(NAME, "checkpoints/last.ckpt"))["global_step"] == 4


@pytest.mark.parametrize("template", ["one_node", "several_nodes", "sweep_workers"])
def test_a_slurm_template_passes_the_folder_whole(template: str, tmp_path: Path):
    for name in ("srun", "lit-inpaint"):
        (tmp_path / name).write_text('#!/bin/bash\nprintf "%s\\0" "$@" > words\n')
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "1", "RUN": NAME, "OUT": NAME}
    path = INSTALLED / "launch" / f"{template}.sbatch"
    subprocess.run(["bash", path], env={**os.environ, **slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True)
    assert NAME in (tmp_path / "words").read_text().split("\0")


def test_commands_about_sweeps_and_lists_are_quoted_as_well():
    database = "postgresql://lab/a b"
    words = words_in_bash(page_command(_worker_command(Path("a sweep.yaml"), Path(NAME), 9, database)))
    assert words[:2] == ["lit-inpaint", "sweep"]
    arguments = sweep_parser().parse_args(words[2:])
    assert (arguments.sweep, arguments.out, arguments.workers) == ("a sweep.yaml", Path(NAME), 0)
    assert (arguments.trials, arguments.storage, arguments.work) == (9, database, False)
    Path(NAME).mkdir()
    Path("lists").mkdir()
    with pytest.raises(ValueError, match="Write them first") as refused:
        Places2(root=NAME, mask=CenterRectangle(), lists="lists").find("train")
    assert shlex.split(str(refused.value).rpartition("first: ")[2])[4] == NAME
