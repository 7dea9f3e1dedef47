"""Status of a run, written to status.json and read by `lit-inpaint runs`."""

import contextlib
import signal
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping, Timer

from experiments.run import Run
from experiments.run.folder import tell
from lit_inpaint import plugins
from lit_inpaint.epochs import last_step
from lit_inpaint.method import Method

BEAT = 30.0  # seconds between heartbeats


class Status(L.Callback):
    """status.json of the run folder: running, finished, stopped (a signal, a limit) or crashed, and why.

    A run is finished if it reached the requested steps or epochs; any other end is reported with its reason, step and
    resume command. A killed run is detected by its PID or its silence.
    """

    def __init__(self) -> None:
        self._beaten = 0.0
        self._trained = False

    def _write(self, trainer: L.Trainer, state: str, error: str | None = None) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self._beaten = time.monotonic()
        facts = {"step": trainer.global_step, "last_step": last_step(trainer)}
        facts |= {"max_steps": trainer.max_steps, "max_epochs": trainer.max_epochs}
        with contextlib.suppress(OSError):  # a full disk ends a run by its checkpoint, not by this
            Run(Path(trainer.default_root_dir)).keep_status(state, error, **facts)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._trained = False
        self._write(trainer, "running")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._write(trainer, "running")  # again: now it is known at which step the epochs end

    def on_train_batch_end(self, trainer: L.Trainer, *args: object) -> None:
        self._trained = True
        if time.monotonic() - self._beaten > BEAT:
            self._write(trainer, "running")

    def on_validation_batch_end(self, trainer: L.Trainer, *args: object) -> None:
        if trainer.state.fn == "fit" and time.monotonic() - self._beaten > BEAT:
            self._write(trainer, "running")

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        reason = _why_it_ended(trainer)
        self._write(trainer, "stopped" if reason else "finished", reason)
        if trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
            return
        if reason:
            tell(f"Stopped by {reason}. To resume:\n{Run(Path(trainer.default_root_dir)).command}")
        elif self._trained:
            self._show_checkpoint(trainer, pl_module)
        else:
            limits = f"max_steps {trainer.max_steps}, max_epochs {trainer.max_epochs}"
            reached = "max_steps" if -1 < trainer.max_steps <= trainer.global_step else "max_epochs"
            tell(f"Nothing left to train at step {trainer.global_step} ({limits}); raise --trainer.{reached}.")

    def _show_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        folder = trainer.default_root_dir
        if (path := Run(Path(folder)).checkpoint) is None:
            return
        tell(f"Trained to step {trainer.global_step}: {path}")
        if isinstance(pl_module, Method):
            tell("To measure it under a PROTOCOL of `lit-inpaint protocol list`:")
            tell(plugins.command("benchmark", "PROTOCOL", "--methods", str(path), "--out", folder))

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if trainer.state.fn != "fit":
            return
        if isinstance(exception, KeyboardInterrupt | SystemExit):
            code = exception.code if isinstance(exception, SystemExit) else 128 + signal.SIGINT
            known = [one.name for one in signal.Signals if code == 128 + one]
            return self._write(trainer, "stopped", next(iter(known), None))
        reason = f"{type(exception).__name__}: {exception}".strip(": ")
        self._write(trainer, "crashed", " ".join(reason.split())[:300])

    def on_frozen_rank(self, trainer: L.Trainer, pl_module: L.LightningModule, reason: str) -> None:
        self._write(trainer, "crashed", reason)


def _why_it_ended(trainer: L.Trainer) -> str | None:
    """What ended a fit before the requested steps or epochs; None if they were reached."""
    progress: Any = trainer.fit_loop.epoch_progress.current
    epochs, most = progress.processed, trainer.max_epochs
    if -1 < trainer.max_steps <= trainer.global_step or (most is not None and -1 < most <= epochs):
        return None
    where = f"at step {trainer.global_step}" + (f" of {end}" if (end := last_step(trainer)) else "")
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Timer) and (left := callback.time_remaining()) is not None and left <= 0:
            return f"max_time ({callback.time_elapsed() + left:.6g} s) {where}"
        if isinstance(callback, EarlyStopping) and callback.stopping_reason.name != "NOT_STOPPED":
            return f"early stopping on {callback.monitor} {where}"
    if trainer.should_stop:
        return f"should_stop, which a callback or the method set, {where}"
    return f"a training set without batches {where}"
