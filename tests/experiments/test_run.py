"""What belongs to one run: configuration, W&B run, folder and training identity."""

import fcntl
import json
import logging
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import wandb
import yaml
from PIL import Image

from datamodules import SamplePhotos
from experiments.cli import main
from experiments.run import Run, lock
from experiments.run.lock import Lock
from experiments.run.processes import born, machine
from experiments.train.config import validation_hash
from lit_inpaint.load import read_checkpoint
from masks import CenterRectangle
from tests.support import killing, processes

SMALL = [
    "fit", "--model", "DeepFillV2", "--model.init_args.width", "4", "--model.init_args.discriminator_width", "4",
    "--data", "SamplePhotos", "--data.init_args.mask", "CenterRectangle", "--data.init_args.image_size", "32",
    "--data.init_args.batch_size", "2", "--data.init_args.num_workers", "0", "--trainer.limit_val_batches", "0",
    "--trainer.accelerator", "cpu", "--trainer.enable_model_summary", "false", "--trainer.log_every_n_steps", "1",
]  # fmt: skip
NO_WANDB = ["--config", "csv.yaml"]
CSV = {
    "class_path": "experiments.run.loggers.SegmentedCSVLogger",
    "init_args": {"save_dir": "${trainer.default_root_dir}"},
}
DEEPFILL = {"class_path": "DeepFillV2", "init_args": {"width": 8, "discriminator_width": 4}}
LAST = Path("run/checkpoints/last.ckpt")


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    Path("csv.yaml").write_text(yaml.safe_dump({"trainer": {"logger": CSV}}))
    yield
    wandb.finish()


def fit(*argv: str, steps: int = 2, root: str | None = "run", settings: list[str] = SMALL) -> int:
    place = ["--trainer.default_root_dir", root] if root else []
    with pytest.raises(SystemExit) as end:
        main([*settings, "--trainer.max_steps", str(steps), *place, *argv])
    return int(end.value.code or 0)


def step_of(checkpoint: Path) -> int:
    return int(read_checkpoint(checkpoint)["global_step"])


def contents(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and "wandb" not in p.parts}


def saved(folder: str = "run") -> Any:
    return yaml.safe_load(Path(folder, "config.yaml").read_text())


# ---- its place -------------------------------------------------------------------------------------------------------


def test_a_saved_config_names_no_folder_so_another_root_and_a_rename_take_it_along():
    # A folder that a user spells out goes along as well, by whatever spelling.
    best = {"dirpath": str(Path("a/best").absolute()), "monitor": "train/discriminator_loss", "every_n_train_steps": 1}
    more = {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": best}
    more = {"trainer": {"callbacks+": more}}
    Path("more.yaml").write_text(yaml.safe_dump(more))
    assert fit("--config", "more.yaml", *NO_WANDB, root="a") == 0
    assert "default_root_dir" not in saved("a")["trainer"] and "/a/" not in Path("a/config.yaml").read_text()
    before = contents(Path("a"))
    settings = ["fit", "--config", "a/config.yaml", "--seed_everything", "1"]
    assert fit(root="b", settings=settings) == 0
    assert contents(Path("a")) == before
    assert step_of(Path("b/checkpoints/last.ckpt")) == 2 and Path("b/metrics.csv").is_file() and Path("b/best").is_dir()

    Path("a").rename("new folder")
    command = Run(Path("new folder")).command
    assert command == "lit-inpaint fit --config 'new folder/config.yaml' --ckpt_path auto"
    resume = ["fit", "--config", "new folder/config.yaml", "--ckpt_path", "new folder/checkpoints/last.ckpt"]
    assert fit(root=None, settings=resume, steps=4) == 0
    assert not Path("a").exists() and step_of(Path("new folder/checkpoints/last.ckpt")) == 4
    state = torch.load("new folder/checkpoints/last.ckpt", weights_only=True)["callbacks"]
    best = [s["best_model_path"] for name, s in state.items() if "train/discriminator_loss" in name]
    assert best and "new folder" in best[0]  # the best one so far is known by its new name
    assert [p.name for p in Path("new folder/checkpoints").glob("last*")] == ["last.ckpt"]


def test_a_config_of_version_0_1_0_with_its_folder_in_it_resumes_after_a_rename(capsys: pytest.CaptureFixture[str]):
    assert fit(*NO_WANDB) == 0
    config = saved()
    text = yaml.safe_dump(config | {"ckpt_path": "run/checkpoints/step=1.ckpt"})
    config = yaml.safe_load(text.replace("${trainer.default_root_dir}", "run"))
    config["trainer"]["default_root_dir"] = "run"
    Path("run/config.yaml").write_text(yaml.safe_dump(config))
    content = torch.load(LAST, weights_only=True)
    del content["run"]  # which 0.1.0 did not record
    torch.save(content, LAST)
    (Path("run") / ".lock").unlink()
    Path("run").rename("moved")
    capsys.readouterr()
    resume = ["fit", "--config", "moved/config.yaml", "--ckpt_path", "last"]
    assert fit(root=None, settings=resume, steps=3) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "therefore not compared" in line]
    assert "data.init_args.mask" in line and "training images" in line
    assert not Path("run").exists() and step_of(Path("moved/checkpoints/last.ckpt")) == 3
    line = refused("--data.init_args.seed", "5", "--ckpt_path", "moved/checkpoints/step=1.ckpt", root="moved")
    assert line is not None and "no checkpoint" in line


def test_a_keeper_with_a_folder_of_its_own_leaves_the_one_from_which_a_run_resumes():
    best = {"dirpath": "run/best", "monitor": "train/discriminator_loss", "save_last": True}
    entry = {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": best}
    Path("best.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [entry]}}))
    assert fit("--config", "best.yaml", *NO_WANDB) == 0
    assert step_of(Path(LAST)) == 2 and list(Path("run/best").glob("*.ckpt"))
    assert fit("--config", "best.yaml", *NO_WANDB, "--ckpt_path", "auto", steps=3) == 0
    assert step_of(Path(LAST)) == 3 and not Path("run-1").exists()


@pytest.mark.parametrize("root", ["=~/x", "=."])
def test_a_run_in_the_home_folder_or_in_this_one_is_found_again(root: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(Path("home").absolute()))
    place = f"--trainer.default_root_dir{root}"
    for steps in (1, 2):
        assert fit(place, *NO_WANDB, "--ckpt_path", "auto", root=None, steps=steps) == 0
    there = Path("home/x") if "~" in root else Path()
    assert step_of(there / "checkpoints/last.ckpt") == 2 and not Path("~").exists()
    assert fit(place, *NO_WANDB, root=None, steps=1) == 0
    beside = there.absolute()
    assert step_of(beside.with_name(f"{beside.name}-1") / "checkpoints/last.ckpt") == 1


def test_a_run_folder_is_no_url_and_an_interval_is_not_0():
    line = refused(root="s3://bucket/x")
    assert line is not None and "a run folder is a local path" in line and not Path("s3:").exists()
    line = refused("--trainer.val_check_interval", "0")
    assert line is not None and "val_check_interval is 0" in line


def test_a_saved_config_keeps_its_interpolations():
    interpolated = {"data": {"init_args": {"samples_per_epoch": "${data.init_args.image_size}"}}}
    Path("tied.yaml").write_text(yaml.safe_dump(interpolated))
    assert fit("--config", "tied.yaml", *NO_WANDB) == 0
    settings = ["fit", "--config", "run/config.yaml", "--data.init_args.image_size", "48"]
    assert fit(root="larger", settings=settings) == 0
    facts = torch.load("larger/checkpoints/last.ckpt", weights_only=True)["run"]["identity"]
    assert facts["data.init_args.samples_per_epoch"] == 48


def test_a_new_fit_in_a_folder_that_holds_a_run_takes_the_next_free_name(capsys: pytest.CaptureFixture[str]):
    assert fit(*NO_WANDB) == 0
    before = contents(Path("run"))
    assert fit(*NO_WANDB, steps=3) == 0
    said = capsys.readouterr().err
    assert "run already holds a run: this one is written to run-1" in said
    assert "lit-inpaint fit --config run/config.yaml --ckpt_path auto" in said
    assert contents(Path("run")) == before and step_of(Path("run-1/checkpoints/last.ckpt")) == 3
    settings = ["validate", "--config", "run/config.yaml", "--ckpt_path", "last", "--trainer.limit_val_batches", "1"]
    assert fit(root="run", settings=settings) == 0  # "last" is that of the folder for every command
    # From a run's own configuration, without a folder: beside it, not into runs/unnamed or over it.
    assert fit(root=None, settings=["fit", "--config", "run/config.yaml"], steps=1) == 0
    assert step_of(Path("run-2/checkpoints/last.ckpt")) == 1 and contents(Path("run")) == before
    # A checkpoint from outside begins a run of its own.
    assert fit("--ckpt_path", "run/checkpoints/last.ckpt", *NO_WANDB, root="run-1", steps=4) == 0
    assert step_of(Path("run-1/checkpoints/last.ckpt")) == 3 and step_of(Path("run-1-1/checkpoints/last.ckpt")) == 4
    shutil.rmtree("run/checkpoints")
    capsys.readouterr()
    assert fit(*NO_WANDB, steps=1) == 0
    assert "To start over (it has no checkpoint yet) the other:\n" in capsys.readouterr().err


def test_the_newest_is_told_by_start_and_step_not_by_time():
    folder = Path("run/checkpoints")
    folder.mkdir(parents=True)
    for name, start, step in (("last.ckpt", 1, 30), ("last-v1.ckpt", 0, 90), ("last-v2.ckpt", 1, 20)):
        torch.save({"run": {"start": start}, "global_step": step, "optimizer_states": []}, folder / name)
    os.utime(folder / "last.ckpt", (0, 0))
    for number in (2, 10):  # by number, not by name either
        Path(f"run/config-{number}.yaml").touch()
    os.utime("run/config-10.yaml", (0, 0))
    run = Run(Path("run"))
    assert run.checkpoint == folder / "last.ckpt"
    assert run.command == "lit-inpaint fit --config run/config-10.yaml --ckpt_path auto"


# ---- its W&B run -----------------------------------------------------------------------------------------------------


def wandb_runs(folder: str) -> list[str]:
    return [path.name.rpartition("-")[2] for path in Path(folder).glob("wandb/offline-run-*")]


def test_two_fits_in_one_process_are_two_wandb_runs_and_a_copy_gets_its_own(capsys: pytest.CaptureFixture[str]):
    assert fit(root="a") == fit("--seed_everything", "1", root="b") == 0
    ids = {folder: Path(folder, "wandb_id.txt").read_text().strip() for folder in "ab"}
    assert ids["a"] != ids["b"]
    assert wandb_runs("a") == [ids["a"]] and wandb_runs("b") == [ids["b"]]

    shutil.copytree("a", "copy")
    Path("b").rename("renamed")
    capsys.readouterr()
    for folder in ("copy", "renamed"):
        settings = ["fit", "--config", f"{folder}/config.yaml", "--ckpt_path", "last"]
        assert fit(root=None, settings=settings, steps=3) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "W&B run" in line]
    now = Path("copy/wandb_id.txt").read_text().strip()
    assert "copy is a copy of" in line and ids["a"] in line and now in line
    assert now in wandb_runs("copy") and now != ids["a"]
    assert Path("renamed/wandb_id.txt").read_text().strip() == ids["b"]


def test_checkpoints_that_link_to_another_disk_are_those_of_the_run():
    assert fit(*NO_WANDB) == 0
    LAST.parent.rename("scratch")
    LAST.parent.symlink_to("../scratch")
    assert fit(*NO_WANDB, "--ckpt_path", "auto", steps=3) == 0
    assert step_of(LAST) == 3 and not list(LAST.parent.glob("last-v*"))
    assert fit(*NO_WANDB, "--ckpt_path", str(LAST), steps=4) == 0
    assert step_of(LAST) == 4 and not list(LAST.parent.glob("last-v*")) and not Path("run-1").exists()


def test_a_copy_of_a_run_in_a_home_that_is_closed_to_others_resumes(capsys: pytest.CaptureFixture[str]):
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        (theirs := Path(name, "theirs/run")).mkdir(parents=True)
        (mine := Path(name, "mine")).mkdir()
        (theirs / "wandb_id.txt").write_text("abcd1234\n")
        Run.begin(theirs).release()
        shutil.copytree(theirs, mine / "run")
        for path in (mine, *mine.rglob("*")):
            path.chmod(0o777)
        theirs.parent.chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(PermissionError):
                (theirs / "wandb_id.txt").stat()
            Run.resume(mine / "run").release()
        finally:
            os.seteuid(user)
            theirs.parent.chmod(0o755)
        assert f"was {theirs} before: it keeps its W&B run abcd1234" in capsys.readouterr().err


# ---- what it was trained as ------------------------------------------------------------------------------------------


def refused(*argv: str, root: str = "run", settings: list[str] = SMALL) -> str | None:
    """The one line of a fit that exits with 2 and leaves the folder unchanged; None if it does not."""
    from io import StringIO
    from unittest.mock import patch

    before = contents(Path(root))
    with patch("sys.stderr", StringIO()) as said:
        code = fit(*argv, root=root, settings=settings, steps=9)
    if code != 2 or contents(Path(root)) != before:
        return None
    return next(line for line in said.getvalue().splitlines() if line.startswith("lit-inpaint:"))


def test_a_resume_refuses_whatever_changes_training_before_it_writes_a_byte():
    assert fit(*NO_WANDB) == 0
    resume = ["--ckpt_path", str(LAST), *NO_WANDB]
    Path("ema.yaml").write_text("trainer: {callbacks+: {class_path: lit_inpaint.callbacks.EMA}}")
    Path("mixup.yaml").write_text("data: {init_args: {augment: [{class_path: albumentations.ToGray}]}}")
    changes = {
        "data.init_args.mask was 'CenterRectangle'": ["--data.init_args.mask", "DeepFillV2Mask"],
        "data.init_args.mask.init_args.height": ["--data.init_args.mask.init_args.height", "0.25"],
        "data.init_args.image_size was 32 and is 48": ["--data.init_args.image_size", "48"],
        "data.init_args.flip was True": ["--data.init_args.flip", "false"],
        "data.init_args.samples_per_epoch": ["--data.init_args.samples_per_epoch", "64"],
        "data.init_args.augment": ["--config", "mixup.yaml"],
        "images a step was 2 and is 4": ["--data.init_args.batch_size", "4"],
        "trainer.precision was '32-true'": ["--trainer.precision", "bf16-mixed"],
        "trainer.limit_train_batches": ["--trainer.limit_train_batches", "3"],
        "trainer.callbacks.EMA was absent": ["--config", "ema.yaml"],
        "seed_everything was 0 and is 1": ["--seed_everything", "1"],
    }
    for words, argv in changes.items():
        line = refused(*argv, *resume)
        assert line is not None and words in line and "--init_from" in line, (words, line)
    free = [
        "--trainer.val_check_interval",
        "1",
        "--data.init_args.eval_batch_size",
        "1",
        "--data.init_args.eval_seed",
        "4",
    ]
    free += ["--data.init_args.global_batch", "2", "--trainer.num_sanity_val_steps", "0"]
    assert fit(*resume, *free, steps=3) == 0 and step_of(LAST) == 3


def photograph(path: Path, value: int) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((40, 40, 3), value, np.uint8)).save(path)


def test_a_resume_refuses_a_lost_a_renamed_and_a_new_file_but_not_a_moved_folder():
    for number in range(12):
        photograph(Path(f"photos/{number}.png"), number)
    for name in "ab":
        mask = np.zeros((32, 32), np.uint8)
        mask[8:16] = 255
        Path("holes").mkdir(exist_ok=True)
        Image.fromarray(mask).save(f"holes/{name}.png")
    at = SMALL.index("SamplePhotos")
    mask = ["--data.init_args.mask", "MaskFolder", "--data.init_args.mask.init_args.root", "holes"]
    settings = [*SMALL[:at], "ImageFolder", "--data.init_args.root", "photos", *mask, *SMALL[at + 3 :]]
    assert fit(*NO_WANDB, settings=settings) == 0
    resume = ["--ckpt_path", str(LAST), *NO_WANDB]
    for change, undo in (
        (lambda: Path("photos/3.png").rename("gone.png"), lambda: Path("gone.png").rename("photos/3.png")),
        (lambda: Path("photos/3.png").rename("photos/x.png"), lambda: Path("photos/x.png").rename("photos/3.png")),
        (lambda: photograph(Path("photos/new.png"), 5), lambda: Path("photos/new.png").unlink()),
        (lambda: Path("holes/a.png").rename("a.png"), lambda: Path("a.png").rename("holes/a.png")),
    ):
        change()
        line = refused(*resume, settings=settings)
        assert line is not None and ("training images was" in line or "mask files was" in line), line
        undo()
    Path("photos").rename("elsewhere")
    assert fit(*resume, "--data.init_args.root", "elsewhere", settings=settings, steps=3) == 0


# ---- one process at a time -------------------------------------------------------------------------------------------


def test_the_second_start_of_a_run_is_refused_and_a_killed_one_holds_no_lock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    settings = killing.settings(DEEPFILL, workers=2)
    (tmp_path / "fit.yaml").write_text(yaml.safe_dump(settings))
    argv = ["fit", "--config", "fit.yaml", "--ckpt_path", "auto"]
    process = processes.start(killing.command_line, argv, 0.5, folder=tmp_path)
    end = time.monotonic() + 90
    while not (tmp_path / "now.txt").exists():
        assert process.is_alive() and time.monotonic() < end, (tmp_path / "log.txt").read_text()[-2000:]
        time.sleep(0.05)
    (part := tmp_path / "run/checkpoints/.last.ckpt.1.part").parent.mkdir(exist_ok=True)
    part.touch()
    assert fit(root=None, settings=argv) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"process {process.pid}" in line and "is writing into run" in line
    assert len(list((tmp_path / "run").glob("config*"))) == 1 and part.exists()  # nothing is recorded or removed
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    lock, said = Lock.take(tmp_path / "run")  # at once: its workers live for some seconds more
    assert said["pid"] == process.pid
    lock.release()


@pytest.mark.parametrize("before", ["", '{"pid": 4194305, "machine": "HERE", "born": "5"}\n', "{torn"])
def test_a_holder_that_has_not_said_its_number_yet_is_waited_for_and_never_misnamed(
    before: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / ".lock"
    path.write_text(before.replace("HERE", machine()))
    with path.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        monkeypatch.setattr(lock.time, "sleep", lambda seconds: None)
        with pytest.raises(ValueError, match=f"^another process is writing into {tmp_path}"):
            Lock.take(tmp_path)
        said = {"pid": os.getpid(), "machine": machine(), "born": born(os.getpid())}
        monkeypatch.setattr(lock.time, "sleep", lambda seconds: path.write_text(json.dumps(said)))
        with pytest.raises(ValueError, match=f"^process {os.getpid()} on "):
            Lock.take(tmp_path)
    taken, _ = Lock.take(tmp_path)
    taken.release()


# ---- how it ended ----------------------------------------------------------------------------------------------------


def status(folder: str = "run") -> Any:
    return json.loads(Path(folder, "status.json").read_text())


def test_finished_means_that_the_steps_were_reached_and_max_time_is_that_of_one_start(
    capsys: pytest.CaptureFixture[str],
):
    limit = ["--trainer.max_time", "00:00:00:01", *NO_WANDB]
    assert fit(*limit, steps=100_000) == 0
    first = status()
    assert first["state"] == "stopped" and f"at step {first['step']} of 100000" in first["error"]
    assert first["error"].startswith("max_time (1 s)")
    assert first["command"] == "lit-inpaint fit --config run/config.yaml --ckpt_path auto"
    assert first["command"] in capsys.readouterr().err
    logged: list[str] = []
    (handler := logging.Handler()).emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("lightning.pytorch").addHandler(handler)
    assert fit(*limit, "--ckpt_path", "last", steps=100_000) == 0
    logging.getLogger("lightning.pytorch").removeHandler(handler)
    assert f"Resumes at step {first['step']} of 100000 (run/checkpoints/last.ckpt)." in capsys.readouterr().err
    assert logged and not any("Restor" in line for line in logged)
    assert status()["step"] > first["step"]
    last = status()["step"] + 2
    assert fit(*NO_WANDB, "--ckpt_path", "last", steps=last) == 0
    assert status()["state"] == "finished" and status()["step"] == last
    said = capsys.readouterr().err
    assert f"Trained to step {last}: run/checkpoints/last.ckpt\n" in said
    assert "\nlit-inpaint benchmark PROTOCOL --methods run/checkpoints/last.ckpt --out run\n" in said
    assert fit(*NO_WANDB, "--ckpt_path", "last", steps=last) == 0
    assert f"Nothing left to train at step {last}" in capsys.readouterr().err


class Stop(L.Callback):
    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        trainer.should_stop = trainer.global_step == 2


def test_early_stopping_and_should_stop_are_not_finished(monkeypatch: pytest.MonkeyPatch):
    stop = {"class_path": "lightning.pytorch.callbacks.EarlyStopping"}
    stop["init_args"] = {"monitor": "train/discriminator_loss", "mode": "max", "stopping_threshold": -1e9,  # type: ignore[assignment]
                         "check_on_train_epoch_end": True}  # fmt: skip
    Path("early.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks+": stop}}))
    Path("stop.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks+": {"class_path": f"{__name__}.Stop"}}}))
    short = ["--data.init_args.samples_per_epoch", "4"]
    assert fit("--config", "early.yaml", *short, *NO_WANDB, steps=9) == 0
    assert (
        status()["state"] == "stopped" and "early stopping on train/discriminator_loss at step 2" in status()["error"]
    )
    assert fit("--config", "stop.yaml", *NO_WANDB, root="asked", steps=9) == 0
    assert status("asked")["state"] == "stopped" and "should_stop" in status("asked")["error"]
    assert fit("--trainer.max_epochs", "1", *short, *NO_WANDB, root="epochs", steps=9) == 0
    assert (status("epochs")["state"], status("epochs")["step"]) == ("finished", 2)


def test_a_run_of_epochs_knows_its_end(capsys: pytest.CaptureFixture[str]):
    epochs = ["--data.init_args.samples_per_epoch", "4", "--config", "stop.yaml", *NO_WANDB]
    Path("stop.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks+": {"class_path": f"{__name__}.Stop"}}}))
    assert fit("--trainer.max_epochs", "3", *epochs, steps=1000) == 0
    assert status()["error"].endswith("at step 2 of 6") and status()["last_step"] == 6
    capsys.readouterr()
    for _ in range(2):
        assert fit("--trainer.max_epochs", "2", *epochs, "--ckpt_path", "last", steps=1000) == 0
    said = capsys.readouterr()
    assert "Resumes at step 2 of 1000 or epoch 2 (run/checkpoints/last.ckpt)." in said.err
    assert "step 4/4, " in said.out and "raise --trainer.max_epochs." in said.err


@pytest.mark.parametrize("name", ["wandb_id.txt", ".lock", "status.json", "run.json", "metrics.csv"])
def test_a_run_resumes_with_a_file_that_a_full_disk_left_empty(name: str):
    assert fit(steps=1) == 0
    wandb.finish()
    Path("run", name).write_text("")
    assert fit("--ckpt_path", "auto") == 0 and step_of(LAST) == 2
    assert Path("run/wandb_id.txt").read_text().strip()


def test_a_trial_run_leaves_no_trace():
    assert fit("--trainer.fast_dev_run", "2", "--trainer.limit_val_batches", "2") == 0
    assert fit("--trainer.fast_dev_run", "true", "--ckpt_path", "auto") == 0
    assert [path.name for path in Path().rglob("*")] == ["csv.yaml"]


# ---- what it validated on --------------------------------------------------------------------------------------------


def hash_of(**limits: Any) -> tuple[str | None, int]:
    data = SamplePhotos(CenterRectangle(), image_size=32, batch_size=2, num_workers=0, eval_batch_size=1)
    world = limits.pop("world_size", 1)
    trainer = L.Trainer(logger=False, accelerator="cpu", devices=1, enable_checkpointing=False, **limits)
    names = ("limit_val_batches", "overfit_batches")
    return validation_hash(
        SimpleNamespace(datamodule=data, world_size=world, **{n: getattr(trainer, n) for n in names})
    )  # type: ignore[arg-type]


def test_the_hash_of_a_validation_covers_what_was_validated():
    from experiments.evaluate.protocol import protocol_hash
    from lit_inpaint.metrics import CHEAP

    data = SamplePhotos(CenterRectangle(), image_size=32)
    whole, samples = hash_of()
    assert whole == protocol_hash(data, "val", CHEAP)[0] == hash_of(limit_val_batches=samples)[0]
    assert samples == len(data.evaluation_set("val"))
    one, two = hash_of(limit_val_batches=1), hash_of(limit_val_batches=2)
    assert (one[1], two[1]) == (1, 2) and len({one[0], two[0], whole}) == 3
    assert hash_of(limit_val_batches=0.5)[1] == samples // 2 and hash_of(limit_val_batches=0.5)[0] != whole
    assert hash_of(overfit_batches=2) == two
    assert hash_of(limit_val_batches=1, world_size=2) == two  # two ranks, one batch each: the same two samples
    assert hash_of(limit_val_batches=0) == (None, 0)


def test_a_validation_on_a_loader_of_the_users_own_carries_no_hash_of_ours():
    class Own(SamplePhotos):
        def val_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(3)))

    data = Own(CenterRectangle(), image_size=32)
    trainer = SimpleNamespace(datamodule=data, world_size=1, limit_val_batches=1.0, overfit_batches=0.0)
    assert validation_hash(trainer) == (None, 0)  # type: ignore[arg-type]
