"""Command-line runs killed with -9 at a given point, resumed, and compared with an uninterrupted one."""

import hashlib
import io
import json
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from lightning.pytorch.core.optimizer import LightningOptimizer

from experiments import cli
from experiments.run import Run
from experiments.run.loggers import SegmentedCSVLogger
from experiments.train import cli as lightning_cli
from lit_inpaint import checkpoint_io
from lit_inpaint.module import InpaintingModule
from lit_inpaint.stage import Stage
from tests.support import processes

BATCHES, STEPS, EVERY = 4, 11, 3  # of an epoch, of a run, between checkpoints and between validations
POINTS = (
    "in a step",
    "between updates",
    "between steps",
    "in a write",
    "after a write",
    "in validation",
    "last batch",
    "epoch end",
)
OF_THE_PROCESS = {"images_per_second", "data_wait", "health/memory_gib"}  # not of the run


@dataclass(frozen=True)
class Kill:
    """Where a run is killed: ``point`` is one of POINTS, ``step`` the batch (from 1), ``share`` the position in it."""

    point: str
    step: int
    share: float = 0.5


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Watch(L.Callback):
    """Records the samples of each batch, and kills its process at the given point."""

    def __init__(self, samples: str, kill: Kill | None) -> None:
        self.samples, self.kill, self.began = samples, kill, time.perf_counter()
        self.step, self.fastest = 0, 0.3
        if kill is None:
            return
        if kill.point in ("in a write", "after a write"):
            self._in_writes(kill)
        elif kill.point in ("between updates", "last batch"):
            stepped = LightningOptimizer.step

            def step(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
                out = stepped(optimizer, *args, **kwargs)
                if self.step == kill.step:
                    die()
                return out

            LightningOptimizer.step = step  # type: ignore[method-assign]

    def _in_writes(self, kill: Kill) -> None:
        """``step`` counts the files written: at every third batch step=<n>.ckpt and then last.ckpt."""
        self.writes = 0
        save, replace = torch.save, Path.replace

        def partial(content: Any, file: Any) -> None:
            self.writes += 1
            if kill.point == "in a write" and self.writes == kill.step:
                whole = io.BytesIO()
                save(content, whole)
                file.write(whole.getvalue()[: int(kill.share * whole.tell())])
                file.flush()
                die()
            save(content, file)

        def renamed(path: Path, target: Any) -> Any:
            out = replace(path, target)
            if kill.point == "after a write" and str(target).endswith(".ckpt") and self.writes == kill.step:
                die()
            return out

        checkpoint_io.torch.save = partial  # type: ignore[assignment]
        Path.replace = renamed  # type: ignore[method-assign]

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.step = trainer.global_step + 1
        data = hashlib.sha256(batch.image.numpy().tobytes() + batch.mask.numpy().tobytes()).hexdigest()
        row = {"step": self.step, "epoch": trainer.current_epoch, "batch": batch_idx, "names": batch.name, "hash": data}
        with open(self.samples, "a") as file:
            file.write(json.dumps(row) + "\n")
        took, self.began = time.perf_counter() - self.began, time.perf_counter()
        self.fastest = min(self.fastest, took)  # not the last, which may have held a validation
        if self.kill and self.kill.point == "in a step" and self.step == self.kill.step:
            timer = threading.Timer(self.kill.share * self.fastest, die)
            timer.daemon = True
            timer.start()

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if self.kill and self.kill.point == "between steps" and self.step == self.kill.step:
            die()

    def on_validation_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if (
            self.kill
            and self.kill.point == "in validation"
            and self.step >= self.kill.step
            and not trainer.sanity_checking
        ):
            die()

    def on_train_epoch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if self.kill and self.kill.point == "epoch end" and self.step >= self.kill.step:
            die()


class Losses(L.Callback):
    """Writes down what each rank logs of its own share of every batch, beside the samples of the same start."""

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        (watch,) = (c for c in trainer.callbacks if isinstance(c, Watch))  # type: ignore[attr-defined]
        losses = {key: value.item() for key, value in trainer.callback_metrics.items() if key.startswith("train/")}
        with open(watch.samples.replace("samples", "losses"), "a") as file:
            file.write(json.dumps({"step": trainer.global_step, "losses": losses}) + "\n")


class SlowBatches(L.Callback):
    """Batches of a tenth of a second, during which a rank can be killed by the number in its pid file."""

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        Path(f"pid-{trainer.global_rank}").write_text(str(os.getpid()))
        time.sleep(0.1)

    def on_test_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        self.on_train_batch_start(trainer)


class FailOnRankOne(L.Callback):
    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        if trainer.global_rank == 1 and trainer.global_step == 2:
            Path("failed.txt").touch()
            raise RuntimeError("rank 1 fails")


def fit(argv: list[str], samples: str, kill: Kill | None) -> int:
    """The body of one process: ``lit-inpaint fit`` with a Watch."""
    started = L.Trainer._run

    def watched(trainer: L.Trainer, *args: Any, **kwargs: Any) -> Any:  # the command line reads fit's own signature
        trainer.callbacks.insert(0, Watch(samples, kill))  # type: ignore[attr-defined]
        return started(trainer, *args, **kwargs)

    L.Trainer._run = watched  # type: ignore[method-assign, assignment]
    return lightning_cli.main(argv)


def command_line(argv: list[str], in_batch: float = 0.0, in_validation: float = 0.0) -> None:
    """``lit-inpaint`` with pauses (seconds), so that a signal can be sent into a step or into a validation.

    It writes the step in progress into now.txt, and validating.txt once it validates.
    """
    batch, validation = Stage.on_train_batch_start, InpaintingModule.validation_step

    def slow_batch(module: Any, *args: Any) -> None:
        batch(module, *args)
        Path("now.txt").write_text(str(module.trainer.global_step))
        pause(in_batch)

    def slow_validation(module: Any, *args: Any) -> Any:
        Path("validating.txt").touch()
        pause(in_validation)
        return validation(module, *args)

    def pause(seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.01)

    Stage.on_train_batch_start, InpaintingModule.validation_step = slow_batch, slow_validation  # type: ignore
    cli.main(argv)


def slow_to_save(argv: list[str], seconds: float = 1.0) -> None:
    """``lit-inpaint`` whose checkpoints take a second each, in the middle of which saving.txt appears."""
    save = torch.save

    def slow(content: Any, file: Any) -> None:
        whole = io.BytesIO()
        save(content, whole)
        file.write(whole.getvalue()[: whole.tell() // 2])
        Path("saving.txt").touch()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.01)
        file.write(whole.getvalue()[whole.tell() // 2 :])

    checkpoint_io.torch.save = slow  # type: ignore[assignment]
    command_line(argv, 0.2)


def under_nohup(argv: list[str]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    command_line(argv, 0.2)


def write_for_ever(path: str) -> None:
    """Checkpoint after checkpoint under one name, each of one number; torch.save writes 2 MB in many small writes."""
    done = int(torch.load(path, weights_only=True)["number"]) if os.path.exists(path) else 0
    for number in range(done + 1, 1_000_000):
        content = {"number": number, "tensors": [torch.full((5000,), float(number)) for _ in range(100)]}
        checkpoint_io.AtomicCheckpointIO().save_checkpoint(content, path)


NOBODY = 65534


def log_for_ever(folder: str) -> None:
    """Rows of metrics.csv; every other one adds a column, for which the whole file is rewritten."""
    logger = SegmentedCSVLogger(folder)
    for step in range(3000):
        logger.experiment.log_metrics({"train/loss": step / 7}, step)
    with open("logged.txt", "w") as said:
        for step in range(3000, 1_000_000):
            logger.log_metrics({"train/loss": step / 7, f"new/{step // 2}": 1.0}, step)
            said.write(f"{step}\n")
            said.flush()


def as_nobody(argv: list[str]) -> None:
    os.setuid(NOBODY)
    cli.main(argv)


def closed_to_nobody(*paths: str) -> str | None:
    """The first of these files that the user ``nobody`` cannot read, checked as that user."""
    for path in paths:
        child = os.fork()
        if child == 0:
            try:
                os.setuid(NOBODY)
                with open(path, "rb"):
                    os._exit(0)
            finally:
                os._exit(1)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            return path
    return None


def with_file_limit(argv: list[str], size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    cli.main(argv)


def settings(model: dict[str, Any], workers: int = 0, ranks: int = 1, steps: int = STEPS) -> dict[str, Any]:
    """A run of some seconds: four batches an epoch, every batch logged, every third validated and saved."""
    data = {
        "mask": {"class_path": "DeepFillV2Mask"}, "image_size": 64, "batch_size": 2 // ranks, "num_workers": workers,
        "samples_per_epoch": 2 * BATCHES, "eval_repeats": 1,
    }  # fmt: skip
    checkpoints = {"dirpath": "run/checkpoints", "filename": "{step}", "every_n_train_steps": EVERY, "save_top_k": -1}
    trainer = {
        "default_root_dir": "run", "max_steps": steps, "devices": ranks, "accelerator": "cpu", "log_every_n_steps": 1,
        "val_check_interval": EVERY, "check_val_every_n_epoch": None, "num_sanity_val_steps": 0,
        "enable_model_summary": False, "enable_progress_bar": False,
        "logger": {"class_path": "experiments.run.loggers.SegmentedCSVLogger", "init_args": {"save_dir": "run"}},
        "callbacks": [
            {"class_path": "lit_inpaint.callbacks.Throughput"},
            {"class_path": "lit_inpaint.callbacks.Health"},
            {"class_path": "lit_inpaint.callbacks.EMA", "init_args": {"decay": 0.9}},
            {"class_path": "experiments.train.config.RunRecord"},
            {
                "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                "init_args": checkpoints | {"save_last": True},
            },
            {"class_path": "lit_inpaint.callbacks.Restart"},
        ],
    }  # fmt: skip
    return {"model": model, "data": {"class_path": "SamplePhotos", "init_args": data}, "trainer": trainer}


def run(
    folder: Path,
    config: dict[str, Any],
    kill: Kill | None = None,
    ranks: int = 1,
    attempt: int = 0,
    more: Sequence[str] = (),
) -> list[int]:
    """Fit ``config`` in ``folder``; the exit code of every rank. If one is killed, the others are, as by torchrun."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fit.yaml").write_text(yaml.safe_dump(config))
    argv, port = ["fit", "--config", "fit.yaml", *more], processes.free_port()
    started = [
        processes.start(
            fit, argv, f"samples-{rank}-{attempt}.jsonl", kill,
            folder=folder, log=f"log-{rank}-{attempt}.txt",
            env=processes.rank_env(rank, ranks, port) if ranks > 1 else {},
        )
        for rank in range(ranks)
    ]  # fmt: skip
    deadline = time.monotonic() + 900
    while any(p.is_alive() for p in started):
        ended = [p for p in started if not p.is_alive()]
        if any(p.exitcode != 0 for p in ended) or time.monotonic() > deadline:
            for process in started:
                process.kill()
        time.sleep(0.01)
    for process in started:
        process.join()
    return [p.exitcode for p in started]


def killed_and_resumed(folder: Path, config: dict[str, Any], kill: Kill, ranks: int = 1) -> int:
    """Kill the run at one point and resume it, or restart it if it has no checkpoint; return the step resumed from."""
    codes = run(folder, config, kill, ranks)
    assert -signal.SIGKILL in codes, f"{kill} did not happen: exit codes {codes}, {folder}"
    newest = Run(folder / "run").checkpoint
    step = torch.load(newest, weights_only=True)["global_step"] if newest else 0
    codes = run(folder, config, None, ranks, attempt=1, more=["--ckpt_path", "auto"])
    assert codes == [0] * ranks, f"could not resume after {kill}: {(folder / 'log-0-1.txt').read_text()[-1500:]}"
    return step


# ---- what must be equal ----------------------------------------------------------------------------------------------


def digest(value: Any) -> str:
    """SHA-256 over every tensor and plain value of a nested structure."""
    sha = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            sha.update(str((value.dtype, tuple(value.shape))).encode() + value.contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            for key in value:
                sha.update(repr(key).encode())
                add(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        else:
            sha.update(repr(value).encode())

    add(value)
    return sha.hexdigest()


def state(folder: Path) -> dict[str, str | int]:
    """Hashes of all training state in the last checkpoint of a run."""
    content = torch.load(folder / "run/checkpoints/last.ckpt", weights_only=True)
    hashed = {name: digest(content[name]) for name in ("state_dict", "ema", "optimizer_states", "lr_schedulers")}
    counted = {name: content[name] for name in ("global_step", "epoch", "generator_updates", "skipped")}
    return hashed | counted | {"images_seen": content["callbacks"]["Throughput"]["images_seen"]}


def curves(folder: Path) -> dict[str, Any]:
    """Curves of a run as read from its segments."""
    return {key: values for key, values in Run(folder / "run").curves.items() if key not in OF_THE_PROCESS}


def samples(folder: Path, ranks: int = 1) -> dict[int, list[Any]]:
    """Samples of each step on every rank; for steps repeated after a restart, the later ones."""
    shown: dict[int, list[Any]] = {}
    for rank in range(ranks):
        rows: dict[int, Any] = {}
        for path in sorted(folder.glob(f"samples-{rank}-*.jsonl")):
            rows |= {row["step"]: row for row in map(json.loads, path.read_text().splitlines())}
        for step, row in rows.items():
            shown.setdefault(step, []).append(row)
    return shown


def differences(folder: Path, whole: Path, ranks: int = 1) -> list[str]:
    """In what a run that was killed differs from the uninterrupted one; empty if in nothing."""
    compared: list[tuple[str, Callable[[Path], dict[Any, Any]]]] = [
        ("state", state), ("curve", curves), ("samples of step", lambda place: samples(place, ranks)),
    ]  # fmt: skip
    found = []
    for what, read in compared:
        mine, theirs = read(folder), read(whole)
        found += [
            f"{what} {key}: {mine.get(key)} != {theirs.get(key)}"
            for key in {**mine, **theirs}
            if mine.get(key) != theirs.get(key)
        ]
    return found
