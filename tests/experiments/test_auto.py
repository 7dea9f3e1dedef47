"""``--ckpt_path auto``: one command that begins a run, resumes it, and passes over what a disk has damaged."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import wandb
import yaml

from experiments.cli import main
from experiments.run import Run
from experiments.run.newest import newest_whole
from lit_inpaint.load import read_checkpoint
from tests.support import killing, processes
from tests.support.runs import flipped, model

CHECKPOINTS = Path("run/checkpoints")
ARGV = ["fit", "--config", "fit.yaml", "--ckpt_path", "auto"]


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    settings = killing.settings(model("DeepFillV2"), steps=9)  # step=3, step=6 and step=9.ckpt, and last.ckpt
    Path("fit.yaml").write_text(yaml.safe_dump(settings))
    yield
    wandb.finish()


def fit(*more: str, argv: list[str] = ARGV) -> int:
    with pytest.raises(SystemExit) as end:
        main([*argv, *more])
    return int(end.value.code or 0)


def starts() -> list[str]:
    return sorted(path.name for path in Path("run").glob("config*.yaml"))


def damage(name: str, share: float) -> bytes:
    """Cut a checkpoint off, or (``share`` 1) flip one bit in its middle."""
    path = CHECKPOINTS / name
    content = path.read_bytes()
    path.write_bytes(flipped(content, 4 * len(content)) if share == 1 else content[: int(share * len(content))])
    return path.read_bytes()


def test_one_command_begins_resumes_past_damaged_checkpoints_and_ends(capsys: pytest.CaptureFixture[str]):
    assert fit() == 0
    whole = killing.state(Path())
    capsys.readouterr()
    assert fit() == 0  # nothing is left to train
    assert "damaged" not in capsys.readouterr().err and killing.state(Path()) == whole

    damage("last.ckpt", 1)  # only its checksum tells
    damage("step=9.ckpt", 0.5)
    damage("step=6.ckpt", 0)
    assert fit() == 0
    said = capsys.readouterr().err
    for name in ("last.ckpt", "step=9.ckpt", "step=6.ckpt"):
        assert f"{CHECKPOINTS / name} is damaged (" in said, said
    assert f"The newest whole checkpoint is {CHECKPOINTS / 'step=3.ckpt'}." in said
    assert killing.state(Path()) == whole and starts() == ["config-1.yaml", "config-2.yaml", "config.yaml"]
    assert len(killing.curves(Path())["train/discriminator_loss"]) == 9

    checkpoint = read_checkpoint(CHECKPOINTS / "last.ckpt")  # written anew, by the third start
    assert (checkpoint["run"]["start"], checkpoint["global_step"]) == (2, 9)


def test_a_run_without_a_whole_checkpoint_starts_over_in_its_folder_and_keeps_what_is_there(
    capsys: pytest.CaptureFixture[str],
):
    assert fit() == 0
    whole, curves = killing.state(Path()), killing.curves(Path())
    for path in [*CHECKPOINTS.glob("*.ckpt"), Path("run/status.json")]:
        path.unlink()
    part = CHECKPOINTS / ".last.ckpt.another-machine-1.part"  # all that a kill in the first write leaves
    part.write_bytes(b"PK")
    capsys.readouterr()
    assert fit() == 0
    assert "run holds no whole checkpoint: the run starts over in it." in capsys.readouterr().err
    assert killing.state(Path()) == whole and not part.exists()
    assert killing.curves(Path()) == curves and len(Run(Path("run")).metrics) == 2

    damaged = {path.name: damage(path.name, 0.3) for path in CHECKPOINTS.glob("*.ckpt")}
    assert fit() == 0
    said = capsys.readouterr().err
    assert all(f"{CHECKPOINTS / name} is damaged (" in said for name in damaged) and "starts over" in said
    assert {name: (CHECKPOINTS / name).read_bytes() for name in damaged} == damaged
    newest = Run(Path("run")).checkpoint
    assert newest is not None and newest.name == "last-v1.ckpt" and read_checkpoint(newest)["global_step"] == 9
    assert killing.curves(Path()) == curves


def test_another_run_in_the_folder_is_refused_also_where_it_has_no_checkpoint_yet(capsys: pytest.CaptureFixture[str]):
    assert fit("--trainer.max_steps", "1") == 0
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    other = ["--data.init_args.image_size", "48"]
    assert fit(*other) == 2
    assert "data.init_args.image_size was 64 and is 48" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before
    weights = torch.load(CHECKPOINTS / "last.ckpt", weights_only=True)
    del weights["optimizer_states"]  # as save_weights_only leaves it
    torch.save(weights, "weights.ckpt")
    assert fit(argv=[*ARGV[:-1], "weights.ckpt"]) == 2
    assert "weights.ckpt holds weights alone" in capsys.readouterr().err
    shutil.rmtree(CHECKPOINTS)
    assert fit(*other) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "run holds another run" in said and "data.init_args.image_size was 64 and is 48" in said
    assert starts() == ["config.yaml"] and not list(CHECKPOINTS.glob("*"))
    assert fit("--trainer.max_steps", "2", "--data.init_args.num_workers", "1") == 0  # which may change


def test_the_newest_is_told_by_start_and_step_and_weights_alone_are_no_checkpoint():
    CHECKPOINTS.mkdir(parents=True)
    written = (("best.ckpt", 0, 90), ("last.ckpt", 1, 20), ("step=30.ckpt", 1, 30), ("last-v1.ckpt", 1, 30))
    for name, start, step in written:
        torch.save({"run": {"start": start}, "global_step": step, "optimizer_states": []}, CHECKPOINTS / name)
    torch.save({"state_dict": {}}, CHECKPOINTS / "assembled.ckpt")
    torch.save({"run": {"start": 2}, "global_step": 40, "state_dict": {}}, CHECKPOINTS / "last-weights.ckpt")
    os.utime(CHECKPOINTS / "last-v1.ckpt", (0, 0))
    assert Run(Path("run")).checkpoint == CHECKPOINTS / "last-v1.ckpt"
    (CHECKPOINTS / "last-v1.ckpt").unlink()
    assert Run(Path("run")).checkpoint == CHECKPOINTS / "step=30.ckpt"  # killed before last.ckpt was written
    (CHECKPOINTS / "sharded.ckpt").mkdir()
    newest, said = newest_whole(Run(Path("run")).checkpoints)
    assert newest == CHECKPOINTS / "step=30.ckpt" and len(said) == 1 and "sharded.ckpt" in said[0]


def test_what_evaluates_does_not_begin_with_an_untrained_network(capsys: pytest.CaptureFixture[str]):
    words = ["--model", "PartialConv", "--data", "SamplePhotos", "--data.init_args.mask", "CenterRectangle"]
    assert fit("--ckpt_path", "auto", argv=["test", *words]) == 2
    assert "--ckpt_path auto needs a run" in capsys.readouterr().err
    assert fit("--ckpt_path", "auto", "--trainer.default_root_dir", "run", argv=["test", *words]) == 2
    assert "run holds no whole checkpoint" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.xdist_group("ddp")
def test_processes_that_find_different_checkpoints_do_not_train(tmp_path: Path):
    assert fit("--trainer.max_steps", "4") == 0
    shutil.copytree("run", "stale/run")  # as a network file system may show it to another machine
    shutil.copy("fit.yaml", "stale")
    assert fit("--trainer.max_steps", "6") == 0
    ranks = ["--trainer.devices", "2", "--data.init_args.batch_size", "1"]
    port, started = processes.free_port(), []
    for rank, folder in enumerate((tmp_path, tmp_path / "stale")):
        env = processes.rank_env(rank, 2, port)
        started.append(processes.start(killing.command_line, [*ARGV, *ranks], folder=folder, env=env))
    for process in started:
        process.join(120)
    said = (tmp_path / "stale/log.txt").read_text()
    assert [bool(process.exitcode) for process in started] == [True, True], said[-2000:]
    assert (
        "process 1 found run/checkpoints/last.ckpt (step 4) in run, process 0 run/checkpoints/last.ckpt (step 6)"
        in said
    )
    assert read_checkpoint(CHECKPOINTS / "last.ckpt")["global_step"] == 6
