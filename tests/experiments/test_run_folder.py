"""Runs that are killed and resumed: contents of W&B's folders, output of `lit-inpaint runs`, and no network."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from experiments.compare.reader import read_folders
from experiments.run.curves import read_segments, surviving
from experiments.run.listing import find_runs, main
from tests.support.wandb_files import records

ROOT = Path(__file__).parents[2]
SMALL = [
    "--model", "DeepFillV2", "--model.init_args.width", "8", "--model.init_args.discriminator_width", "4",
    "--data", "SamplePhotos", "--data.init_args.mask", "CenterRectangle", "--data.init_args.image_size", "32",
    "--data.init_args.batch_size", "2", "--data.init_args.num_workers", "0", "--data.init_args.eval_repeats", "1",
    "--trainer.check_val_every_n_epoch", "null", "--trainer.val_check_interval", "10",
    "--trainer.limit_val_batches", "1",
    "--trainer.accelerator", "cpu", "--trainer.enable_model_summary", "false", "--trainer.num_sanity_val_steps", "0",
    "--trainer.log_every_n_steps", "1", "--trainer.default_root_dir", "run",
    "--data.init_args.samples_per_epoch", "4000",
]  # fmt: skip
SAVING = """\
trainer:
  callbacks+:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {dirpath: run/checkpoints, filename: "{step}", every_n_train_steps: 20, save_top_k: -1}
"""


def fit(folder: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
    (folder / "saving.yaml").write_text(SAVING)
    command = [sys.executable, "-m", "experiments", "fit", "--config", "saving.yaml", *SMALL, *more]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", **environment}
    log = (folder / "log").open("a")
    return subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log, text=True)


def last_seen(run: Path) -> float:
    return max((row.get("images_seen", 0) for rows in read_segments(run) for row in rows), default=0)


def kill_at(process: subprocess.Popen[str], run: Path, images: int) -> None:
    end = time.monotonic() + 120
    while not run.is_dir() or last_seen(run) < images:
        assert process.poll() is None and time.monotonic() < end, (run.parent / "log").read_text()[-2000:]
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()


def newest(run: Path) -> Path:
    return max((run / "checkpoints").glob("step=*.ckpt"), key=lambda path: int(path.stem.partition("=")[2]))


def history(path: Path) -> list[dict[str, Any]]:
    items = [record.history.item for record in records(path) if record.HasField("history")]
    return [{i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in row} for row in items]


@pytest.mark.slow
def test_after_two_kills_wandbs_folders_hold_the_surviving_history_and_mark_what_is_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    kill_at(fit(tmp_path, "--trainer.max_steps", "1000"), run, 90)  # 45 steps; saved at 20 and 40
    main([str(tmp_path), "--json"])
    (line,) = json.loads(capsys.readouterr().out)
    assert (line["status"], line["why"]) == ("crashed", "its process was killed")
    assert line["resume"].startswith(f"lit-inpaint fit --config {run}/config.yaml")
    kill_at(fit(tmp_path, "--trainer.max_steps", "1000", "--ckpt_path", str(newest(run))), run, 130)
    done = fit(tmp_path, "--trainer.max_steps", "90", "--ckpt_path", str(newest(run)))
    assert done.wait(120) == 0, (tmp_path / "log").read_text()[-2000:]

    files = sorted(run.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 3 and {path.stem for path in files} == {f"run-{(run / 'wandb_id.txt').read_text().strip()}"}
    end = time.monotonic() + 30  # W&B's service writes on after the process
    while not any(record.HasField("exit") for record in records(files[2])) and time.monotonic() < end:
        time.sleep(0.2)
    rows = [history(path) for path in files]
    kept = surviving(read_segments(run))[0]
    assert [seen for seen, row in kept if "train/discriminator_loss" in row] == list(range(2, 182, 2))
    logged = [row for part in rows for row in part if "images_seen" in row]
    assert {seen for seen, _ in kept} <= {row["images_seen"] for row in logged}
    once = {
        (row["images_seen"], row["train/discriminator_loss"]) for row in logged if "train/discriminator_loss" in row
    }
    assert {(seen, row["train/discriminator_loss"]) for seen, row in kept if "train/discriminator_loss" in row} <= once
    earlier = last_seen_of(run, 0)
    assert all(
        row.get("replayed") == (1 if row["images_seen"] <= earlier else None) for row in rows[1] if "images_seen" in row
    )
    assert not any("replayed" in row for row in rows[0])

    main([str(tmp_path), "--json"])
    (line,) = json.loads(capsys.readouterr().out)
    assert (line["status"], line["images_seen"], line["method"]) == ("finished", 180, "DeepFillV2")
    with (run / "metrics-2.csv").open() as file:
        speeds = [float(row["images_per_second"]) for row in csv.DictReader(file) if row["images_per_second"]]
    assert line["images_per_second"] == speeds[-1]
    values = [row["val/psnr_hole"] for _, row in kept if "val/psnr_hole" in row]
    assert line["best"] == max(values) and len(values) == 9


def last_seen_of(run: Path, segment: int) -> float:
    return max(row.get("images_seen", 0) for row in read_segments(run)[segment])


@pytest.mark.slow
def test_wandb_online_without_a_network_costs_seconds_and_one_warning(tmp_path: Path):
    nowhere = {"WANDB_MODE": "online", "WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    process = fit(tmp_path, "--trainer.max_steps", "3", **nowhere, NO_PROXY="*")
    assert process.wait(200) == 0, (tmp_path / "log").read_text()[-2000:]
    said = (tmp_path / "log").read_text()
    assert said.count("W&B could not be reached") == 1
    assert "wandb sync" in said and "Traceback" not in said
    (path,) = (tmp_path / "run").glob("wandb/offline-run-*/*.wandb")
    assert path.parent.name.startswith("offline-run-")
    assert not list((tmp_path / "run").glob("wandb/run-*"))  # nothing begun elsewhere
    assert [row["images_seen"] for row in history(path) if "train/discriminator_loss" in row] == [2, 4, 6]


def test_runs_says_what_each_folder_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def folder(name: str, **status: Any) -> Path:
        place = tmp_path / name
        (place / "checkpoints").mkdir(parents=True)
        (place / "metrics.csv").write_text(
            "step,images_seen,images_per_second,val/psnr_hole,val/loss\n1,8,2.5,,\n1,8,,20.5,1\n2,16,3.5,,\n2,16,,19.5,2\n"
        )
        (place / "run.json").write_text('{"method": "DeepFillV2", "seed": 3}')
        if status:
            (place / "status.json").write_text(json.dumps({"error": None, **status}))
        return place

    from experiments.run.processes import born, machine

    me = {"machine": machine(), "pid": os.getpid(), "born": born(os.getpid())}
    folder("a", state="running", beat=0, **me)
    saved = folder("b", state="running", beat=time.time(), **{**me, "born": "1"})
    (saved / "checkpoints/last.ckpt").touch()
    folder("c", state="running", beat=time.time() - 3600, **{**me, "machine": "node7/x"})
    folder("d", state="running", beat=time.time() - 60, **{**me, "machine": "node7/x"})
    folder("e", state="crashed", error="ValueError: a disk is full")
    with_space = folder("old runs/f")
    (with_space / "config.yaml").write_text("seed_everything: 3\n")
    (with_space / "checkpoints/last.ckpt").touch()
    assert [path.name for path in find_runs(tmp_path)] == ["a", "b", "c", "d", "e", "f"]
    assert main([str(tmp_path), "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert [(line["status"], line["why"]) for line in lines] == [
        ("running", None), ("crashed", "its process was killed"),
        ("crashed", "silent for 60 minutes on node7; no checkpoint yet, it starts over"),
        ("running", None), ("crashed", "ValueError: a disk is full; no checkpoint yet, it starts over"),
        ("unknown", None),
    ]  # fmt: skip
    f = lines[-1]
    assert (f["images_seen"], f["images_per_second"], f["best"], f["best_at"], f["seed"]) == (16, 3.5, 20.5, 8, 3)
    assert f["resume"] == f"lit-inpaint fit --config '{with_space}/config.yaml' --ckpt_path auto"
    assert main([str(tmp_path), "--json", "--metric", "val/loss"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["best"] == 1
    assert main([str(tmp_path)]) == 0
    assert (
        "a  running  DeepFillV2  seed 3  16 images  3.5 images/s  best val/psnr_hole 20.5 at 8"
        in capsys.readouterr().out
    )


def test_runs_names_the_better_end_of_what_is_no_metric_and_no_best_of_what_nothing_defines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "metrics.csv").write_text(
        "step,images_seen,val/accuracy,train/style_loss,val/ssim,val/mystery\n1,8,0.9,3,0.5,1\n2,16,0.7,4,0.6,5\n"
    )
    for key, best in (("val/accuracy", 0.9), ("train/style_loss", 3), ("val/ssim", 0.6), ("val/mystery", None)):
        assert main([str(tmp_path), "--json", "--metric", key]) == 0
        (line,) = json.loads(capsys.readouterr().out)
        assert line["best"] == best, key
    assert main([str(tmp_path), "--metric", "val/mystery"]) == 0
    said = capsys.readouterr().out
    assert "last val/mystery 5" in said and "best" not in said


def test_a_run_that_is_reached_by_links_as_well_is_listed_once(tmp_path: Path):
    for name in ("top/b/run", "apart/run"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "metrics.csv").write_text("images_seen,step,val/psnr\n8,1,15.0\n")
    for link, to in (("top/a", "b"), ("top/b/up", ".."), ("top/b/run/up", "../.."), ("top/z", "../apart")):
        (tmp_path / link).symlink_to(to)
    (tmp_path / "top/b/run/zz").symlink_to("zz")  # endless
    assert [str(path.relative_to(tmp_path)) for path in find_runs(tmp_path / "top")] == ["top/b/run", "top/z/run"]
    _, histories = read_folders([tmp_path / "top", tmp_path / "apart"])
    assert [Path(run.folder).resolve() for run in histories] == [tmp_path / "top/b/run", tmp_path / "apart/run"]
