"""A tiny fit in this process that a signal stops at a chosen point, and the same fit to its end."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

import datamodules
import lit_inpaint
from datamodules import DrawnFaces
from experiments.run import Run
from experiments.run.loggers import SegmentedCSVLogger
from experiments.run.newest import newest_whole
from lit_inpaint.callbacks import EMA, Health, Restart, Throughput
from lit_inpaint.callbacks.signals import SIGNALS
from lit_inpaint.checkpoint_io import AtomicCheckpointIO
from lit_inpaint.stage import Stage
from masks import RandomRectangle
from masks.convention import InpaintingBatch
from tests.support import killing

WATCHED = tuple(str(Path(package.__path__[0])) for package in (L, lit_inpaint, datamodules, torch.optim))


class TwoNetworks(Stage):
    """A GAN of two linear maps whose step draws numbers: in a microsecond what a real one does."""

    def __init__(self, accumulate: int = 1) -> None:
        super().__init__(accumulate=accumulate)
        self.save_hyperparameters()
        self.generator, self.discriminator = nn.Linear(3, 3), nn.Linear(3, 1)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.Adam(network.parameters(), 0.01) for network in (self.generator, self.discriminator)]

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        optimizer_g, optimizer_d = self.optimizers()  # type: ignore[attr-defined]
        known = (batch.image * (1 - batch.mask)).mean((2, 3))
        completed = self.generator(known + torch.rand_like(known))
        with self.optimise(optimizer_d) as minimise:
            real, fake = self.discriminator(known), self.discriminator(completed.detach())
            discriminator_loss = (1 - real + fake).relu().mean()
            self.note_margin(real, fake)
            minimise(discriminator_loss)
        with self.optimise(optimizer_g) as minimise:
            generator_loss = (completed - known).abs().mean() - self.discriminator(completed).mean()
            minimise(generator_loss)
        self.log_dict({"train/generator_loss": generator_loss, "train/discriminator_loss": discriminator_loss})

    def validation_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        self.log("val/loss", self.generator(batch.image.mean((2, 3))).mean(), batch_size=len(batch.image))


@dataclass(frozen=True)
class Fit:
    """How long a run is and what happens when: in batches. ``module`` makes its method; ``ranks`` share a batch."""

    module: Callable[[], Stage] = TwoNetworks
    epoch: int = 3
    steps: int = 7
    validate: int = 2
    save: int = 3
    size: int = 16
    ranks: int = 1
    epochs: int = -1
    more: Callable[[], list[L.Callback]] = list  # callbacks besides the usual ones

    def run(self, folder: Path) -> int:
        """From the newest checkpoint of ``folder``, as ``--ckpt_path auto``; the exit code."""
        L.seed_everything(0, verbose=False)
        data = DrawnFaces(
            RandomRectangle(), self.size, train=2 * self.epoch, val=2 * self.ranks, batch_size=2 // self.ranks,
            eval_batch_size=1, num_workers=0,
        )  # fmt: skip
        saved = ModelCheckpoint(
            folder / "run/checkpoints", "{step}", every_n_train_steps=self.save, save_top_k=-1, save_last=True
        )
        trainer = L.Trainer(
            default_root_dir=folder / "run", max_steps=self.steps, max_epochs=self.epochs, devices=self.ranks,
            accelerator="cpu", strategy="ddp_find_unused_parameters_true" if self.ranks > 1 else "auto",
            log_every_n_steps=1, val_check_interval=self.validate, check_val_every_n_epoch=None, num_sanity_val_steps=0,
            enable_model_summary=False, enable_progress_bar=False, inference_mode=False, use_distributed_sampler=False,
            logger=SegmentedCSVLogger(str(folder / "run")), plugins=[AtomicCheckpointIO()],
            callbacks=[*self.more(), Throughput(), Health(), EMA(0.9), saved, Restart()],
        )  # fmt: skip
        checkpoint, damaged = newest_whole(Run(folder / "run").checkpoints)
        assert not damaged
        try:
            trainer.fit(self.module(), datamodule=data, ckpt_path=checkpoint)
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            if self.ranks > 1:
                torch.distributed.barrier()  # rank 0 has written what the next start reads
        return 0

    def stopped(self, folder: Path, *stops: int) -> list[str]:
        """Stopped once in each of as many starts, at a check for signals (from 1), then run to its end; where."""
        where = []
        for stop in stops:
            with checks(stop) as passed:
                code = self.run(folder)
            assert code == 128 + signal.SIGTERM or len(passed) < stop
            where += passed[-1:]
        assert self.run(folder) == 0
        return where


def stop_rank(fits: dict[str, tuple[Fit, dict[int, str]]]) -> None:
    """The body of one rank: each run whole, and stopped at its places."""
    for what, (fit, places) in fits.items():
        assert fit.run(Path(what, "whole")) == 0
        where = fit.stopped(Path(what, "stopped"), *places)
        assert where == [*places.values()], f"{what}: {where}"


@contextmanager
def checks(stop: int | None = None) -> Iterator[list[str]]:
    """The moments at which a run looks for a signal, into which it falls whenever it was sent; SIGTERM at one.

    One rank of several gets it.
    """
    passed: list[str] = []
    look = Restart._stop_if_told

    def told(restart: Restart, trainer: L.Trainer) -> None:
        validating = "in a validation " if trainer.validating else ""
        passed.append(f"{validating}after step {trainer.global_step}")
        if len(passed) == stop and trainer.global_rank == stop % trainer.world_size:
            os.kill(os.getpid(), signal.SIGTERM)
        look(restart, trainer)

    Restart._stop_if_told = told  # type: ignore[method-assign]
    try:
        with restored_handlers():
            yield passed
    finally:
        Restart._stop_if_told = look  # type: ignore[method-assign]


@contextmanager
def restored_handlers() -> Iterator[None]:
    """A process that has saved keeps its handlers until it ends; this one does not end."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class Lines:
    """Counts the lines of the watched packages that a fit runs while it listens; at one, the process gets SIGTERM."""

    stop: int | None = None
    places: list[tuple[str, int]] = field(default_factory=list)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "call":
            return self._trace if frame.f_code.co_filename.startswith(WATCHED) else None
        if event == "line" and signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            self.places.append((frame.f_code.co_filename, frame.f_lineno))
            if len(self.places) == self.stop:
                os.kill(os.getpid(), signal.SIGTERM)
        return self._trace

    def run(self, fit: Fit, folder: Path) -> None:
        with restored_handlers():
            sys.settrace(self._trace)
            try:
                code = fit.run(folder)
            finally:
                sys.settrace(None)
        # Before the first batch there is nothing to save, and a run that saves its last step ends by itself.
        assert code in (0, 128 + signal.SIGTERM)


@contextmanager
def snapshots(folder: Path, into: Path) -> Iterator[list[Path]]:
    """Copies of a run after each of its writes: what a kill -9 can leave."""
    taken: list[Path] = []
    replace = Path.replace

    def renamed(path: Path, target: Any) -> Any:
        out = replace(path, target)
        if str(target).startswith(str(folder)):
            taken.append(into / str(len(taken)))
            shutil.copytree(folder, taken[-1])
        return out

    Path.replace = renamed  # type: ignore[method-assign]
    try:
        yield taken
    finally:
        Path.replace = replace  # type: ignore[method-assign]


def result(folder: Path) -> dict[str, Any]:
    """All that two equal runs have in common."""
    return killing.state(folder) | killing.curves(folder)


def differing(folder: Path, whole: dict[str, Any]) -> list[str]:
    mine = result(folder)
    return [key for key in {**whole, **mine} if mine.get(key) != whole.get(key)]
