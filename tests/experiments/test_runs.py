"""Full runs: their logs, and two processes compared with one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import wandb

from experiments.train.cli import main
from lit_inpaint.load import load_method, read_checkpoint
from tests.support.small_fits import METHODS, SMALL_FIT
from tests.support.wandb_files import read


def test_two_methods_log_the_same_keys_and_protocol_to_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    configs, keys = [], []
    for name, width in METHODS.items():
        length = ["--trainer.max_steps", "20", "--trainer.val_check_interval", "10"]
        main(["fit", "--model", name, *width, *SMALL_FIT, *length, "--trainer.default_root_dir", name])
        wandb.finish()
        config, history = read(Path(name))
        configs.append(config)
        keys.append(
            {key for row in history for key in row if not key.startswith(("train/", "health/"))}
        )  # losses and networks are the paper's
        assert max(row["trainer/global_step"] for row in history if "trainer/global_step" in row) == 20
        assert max(row.get("images_seen", 0) for row in history) == 40
    assert (
        keys[0]
        == keys[1]
        >= {"val/psnr", "val/psnr_hole", "val/ssim", "val/l1_hole", "images_seen", "generator_updates"}
    )
    assert configs[0]["val_protocol_hash"] == configs[1]["val_protocol_hash"]
    same = ("dataset", "mask", "seed", "global_batch", "image_size")
    assert all(configs[0][key] == configs[1][key] for key in same)
    assert [config["method"] for config in configs] == list(METHODS)


@pytest.mark.xdist_group("ddp")
def test_two_processes_train_a_checkpoint_that_one_loads(tmp_path: Path):
    root = Path(__file__).parents[2]
    environment = {**os.environ, "WANDB_MODE": "disabled", "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable, "-m", "experiments", "fit", "--model", "DeepFillV2", *METHODS["DeepFillV2"], *SMALL_FIT,
        "--trainer.devices", "2", "--trainer.max_steps", "3", "--trainer.val_check_interval", "3",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    checkpoint = tmp_path / "runs/unnamed/checkpoints/last.ckpt"
    content = read_checkpoint(checkpoint)
    assert content["global_step"] == 3 and content["generator_updates"] == 3
    assert content["callbacks"]["Throughput"]["images_seen"] == 3 * 2 * 2
    method = load_method(checkpoint)
    image = torch.zeros(1, 3, 64, 64)
    assert torch.isfinite(method(image, torch.ones(1, 1, 64, 64))).all()
    assert json.loads((tmp_path / "runs/unnamed/run.json").read_text())["global_batch"] == 4
