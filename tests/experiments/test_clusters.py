"""Many machines: the SLURM templates, two launchers that stand for two nodes, and loggers by configuration."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from experiments.files.find import INSTALLED
from experiments.run.curves import read_segments
from experiments.train.cli import main
from lit_inpaint.load import read_checkpoint

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((INSTALLED / "launch").glob("*.sbatch"))
STUBS = {  # what a template calls, as a script that writes down its arguments
    "srun": 'printf "%s\\n" "$@" > words',
    "lit-inpaint": 'printf "%s\\n" lit-inpaint "$@" > words; printf "%s" "${SLURM_NTASKS:-unset}" > tasks',
}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_slurm_template_runs_a_command_that_the_command_line_takes(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert subprocess.run(["bash", "-n", path]).returncode == 0
    assert "#SBATCH --requeue" in path.read_text()
    for name, script in STUBS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / name).chmod(0o755)
    nodes = next(line.split("=")[1].split()[0] for line in path.read_text().splitlines() if "SBATCH --nodes=" in line)
    slurm = {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": nodes, "SLURM_JOB_NAME": "x"}
    slurm["SLURM_ARRAY_TASK_ID"] = "2"
    environment = {**os.environ, **slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", path], cwd=tmp_path, env=environment, check=True)
    first = (tmp_path / "words").read_text().splitlines()
    if "sweep" in path.stem:
        assert (tmp_path / "tasks").read_text() == "unset"  # a trial is not one task of the job
        assert first[:3] == ["lit-inpaint", "sweep", "narrow_vs_wide"]
        return
    assert first[:2] == ["lit-inpaint", "fit"]
    assert first[-2:] == ["--ckpt_path", "auto"]  # the same command begins, and resumes when it is queued again
    with pytest.raises(SystemExit) as end:
        main([*first[1:], "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    assert end.value.code == 0
    published = 16
    devices = int(config["trainer"]["devices"]) * config["trainer"]["num_nodes"]
    assert devices * config["data"]["init_args"]["batch_size"] == published


@pytest.mark.parametrize(("name", "cls"), [("tensorboard", "TensorBoardLogger"), ("mlflow", "MLFlowLogger")])
def test_another_logger_is_a_configuration(name: str, cls: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        main(["fit", "--config", "quickstart", "--config", f"loggers/{name}", "--trainer.default_root_dir", "runs/x",
              "--print_config"])  # fmt: skip
    assert end.value.code == 0
    loggers = yaml.safe_load(capsys.readouterr().out)["trainer"]["logger"]
    assert [logger["class_path"].rpartition(".")[2] for logger in loggers] == [
        "SegmentedCSVLogger", "RunWandbLogger", cls,
    ]  # fmt: skip
    assert loggers[2]["init_args"]["save_dir"].startswith("runs/x")


@pytest.mark.slow
@pytest.mark.xdist_group("ddp")
def test_two_launchers_on_loopback_train_validate_and_save_once(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "WANDB_MODE": "disabled", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    small = [
        "fit", "--model=DeepFillV2", "--model.init_args.width=8", "--model.init_args.discriminator_width=4",
        "--data=SamplePhotos", "--data.init_args.mask=CenterRectangle", "--data.init_args.image_size=32",
        "--data.init_args.batch_size=2", "--data.init_args.num_workers=0", "--data.init_args.eval_repeats=1",
        "--trainer.check_val_every_n_epoch=null", "--trainer.val_check_interval=2", "--trainer.max_steps=4",
        "--trainer.accelerator=cpu", "--trainer.num_sanity_val_steps=0", "--trainer.log_every_n_steps=1",
        "--trainer.num_nodes=2", "--trainer.devices=1", "--trainer.default_root_dir=run",
        "--data.init_args.samples_per_epoch=100",
    ]  # fmt: skip
    launchers = []
    for node in (0, 1):
        launch = [
            sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", f"--node-rank={node}",
            "--master-addr=127.0.0.1", f"--master-port={port}", "-m", "experiments", *small,
        ]  # fmt: skip
        log = (tmp_path / f"log{node}").open("w")
        launchers.append(subprocess.Popen(launch, cwd=tmp_path, env=environment, stdout=log, stderr=log))
    codes = [launcher.wait(240) for launcher in launchers]
    assert codes == [0, 0], (tmp_path / "log0").read_text()[-2000:] + (tmp_path / "log1").read_text()[-2000:]
    content = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")
    assert content["global_step"] == 4 and content["callbacks"]["Throughput"]["images_seen"] == 4 * 2 * 2
    assert [path.name for path in (tmp_path / "run").glob("run*.json")] == ["run.json"]
    assert [path.name for path in (tmp_path / "run").glob("config*.yaml")] == ["config.yaml"]
    (rows,) = read_segments(tmp_path / "run")
    assert [row["images_seen"] for row in rows if "train/discriminator_loss" in row] == [4, 8, 12, 16]
    assert [row["images_seen"] for row in rows if "val/psnr_hole" in row] == [8, 16]
