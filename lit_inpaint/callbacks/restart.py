"""Save and exit on a stop signal; on resume, log and validate what the stop prevented."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from lit_inpaint.callbacks import loop
from lit_inpaint.callbacks.signals import SIGNALS, State, requeue, say
from lit_inpaint.checkpoints import check_writable, is_inside
from lit_inpaint.epochs import finish_epoch, reopen_epoch
from lit_inpaint.stage import Stage


class Restart(Checkpoint):
    """Stop on a signal without losing work, and resume seamlessly.

    * SIGTERM, SIGINT (Ctrl-C), SIGHUP, SIGUSR1, SIGUSR2 and SIGXCPU finish the batch, write ``last.ckpt``, print the
      command that resumes, and end the process with 128 + signal (143, 130, ...). A second signal waits for the save.
      Lightning acts inside the handler, in the middle of a step, or ends with 0 or without a checkpoint. All ranks
      stop after the same batch. A signal that was ignored before (SIGHUP under nohup) stays so. Under SLURM, SIGUSR1
      (``#SBATCH --signal=SIGUSR1@90``) also requeues the job.
    * A checkpoint is written before the values of its batch are logged and before the validation that follows.
      Lightning loses both on resume; here they are logged and repeated first, so the curves have no gap.
    * A run that no interval of ModelCheckpoint has saved for ``minutes`` is saved into ``last.ckpt``.
    * The end of a run is saved even if its last step is not a multiple of the interval, and inside its epoch if
      ``max_steps``, ``max_time`` or EarlyStopping breaks one off. ``last.ckpt`` is one file, the newest of its run.
      ``max_time`` limits a single start, not the total.
    * A folder that is not writable is an error before the first batch, not at the first checkpoint.

    ``command`` resumes the run; it is set by the command line.

    >>> Restart(minutes=5).minutes
    5

    Args:
        minutes: Work that a kill may cost at most.
    """

    def __init__(self, minutes: float = 10) -> None:
        if minutes <= 0:
            raise ValueError(f"minutes is {minutes}; expected more than 0.")
        self.minutes = minutes
        self.command: Callable[[], str | None] | None = None
        self._saved_time = 0.0
        self._last: Path | None = None  # the last.ckpt of this start, where no ModelCheckpoint remembers it
        self._signal = 0
        self._state = State.NOT_STARTED
        self._handlers: dict[int, Any] = {}  # those before ours
        self._validating = False
        self._common_batches = 0  # of a validation: every rank has them
        self._saved_at = -1
        self._cut_off: dict[str, Any] = {}  # pending work of the checkpoint that this run resumes

    # ---- stopping ----------------------------------------------------------------------------------------------------

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self._signal, self._state, self._last = 0, State.NOT_STARTED, None
        self._listen(trainer)
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            check_writable(_folder(trainer))

    def on_sanity_check_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._listen(trainer)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._listen(trainer)
        self._state = State.TRAINING
        self._saved_time = time.monotonic()
        finish_epoch(trainer)  # before a stop in the validation that is made up
        self._make_up(trainer)

    def _listen(self, trainer: L.Trainer) -> None:
        """Replace Lightning's handlers, set before the first batch, by ours."""

        def receive(number: int, frame: object) -> None:
            if not self._signal and trainer.strategy.launcher is not None:
                trainer.strategy.launcher.kill(number)  # the processes that this one started
            self._signal = self._signal or number  # the first one determines the exit code
            if self._state is State.NOT_STARTED:
                self._state = State.FINISHING
                sys.exit(128 + number)

        if threading.current_thread() is not threading.main_thread():
            return  # no handler can be set here
        for number in SIGNALS:
            before = self._handlers.setdefault(number, signal.getsignal(number))
            if before is not signal.SIG_IGN:
                signal.signal(number, receive)

    def _stop_listening(self) -> None:
        if self._signal:
            return  # the process ends: a second signal must not end it sooner
        for number, handler in self._handlers.items():
            if threading.current_thread() is threading.main_thread() and handler is not None:
                signal.signal(number, handler)
        self._handlers = {}

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._stop_listening()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._stop_listening()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        self._stop_if_told(trainer)
        if trainer.global_step == trainer.max_steps or loop.stops_early(trainer):
            self._save_end(trainer)  # here, not in on_train_end: a longer run then resumes inside the epoch

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
        loader: int = 0,
    ) -> None:
        if self._state is State.TRAINING and batch_idx < self._common_batches:
            self._stop_if_told(trainer)

    def _stop_if_told(self, trainer: L.Trainer) -> None:
        due = time.monotonic() - self._saved_time > 60 * self.minutes
        told = _over_ranks(trainer, float(self._signal or due / 2), "max")  # the ranks agree on both by one reduction
        number = int(told)
        if told and not number and not self._validating and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._save(trainer)
        if not number:
            return
        self._state = State.FINISHING
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            sys.exit(128 + number)
        path = self._save(trainer)
        command = (self.command and self.command()) or f"trainer.fit(..., ckpt_path={str(path)!r})"
        say(f"{signal.Signals(number).name}: saved step {trainer.global_step}. To resume:\n{command}")
        if number == signal.SIGUSR1:
            requeue()
        sys.exit(128 + number)

    def _save(self, trainer: L.Trainer) -> Path:
        folder = _folder(trainer)
        names = (f"last-v{n}.ckpt" if n else "last.ckpt" for n in count())  # as ModelCheckpoint counts them
        path = self._last or next(p for p in map(folder.joinpath, names) if not p.exists())  # else another run's
        for keeper in _keepers(trainer)[:1]:
            if keeper.last_model_path:
                path = Path(keeper.last_model_path)
            # It writes over this one next time, and not in on_train_end, where the epoch already counts as over.
            loop.remember_last(keeper, path)
        self._last = path = Path(trainer.strategy.broadcast(str(path)))
        trainer.save_checkpoint(path)
        return path

    def _save_end(self, trainer: L.Trainer) -> None:
        if self._saved_at != trainer.global_step and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._save(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._state is State.TRAINING and not self._cut_off and loop.stops_early(trainer):
            self._save_end(trainer)  # EarlyStopping has just decided, and the epoch is still open

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._state = State.FINISHING
        self._save_end(trainer)

    # ---- resuming ----------------------------------------------------------------------------------------------------

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._validating = self._state is State.TRAINING
        if self._validating:
            self._common_batches = int(_over_ranks(trainer, sum(trainer.num_val_batches), "min"))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._validating = False

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._saved_at, self._saved_time = trainer.global_step, time.monotonic()
        if trainer.state.fn != "fit":
            return
        reopen_epoch(trainer, checkpoint)
        if self._cut_off:  # no batch since the resume: what that checkpoint cut off is still pending
            checkpoint["restart"] = dict(self._cut_off)
            return
        in_batch = loop.in_batch_end(trainer)
        values = loop.values_to_log(trainer)
        if isinstance(pl_module, Stage):
            values["generator_updates"] = float(pl_module.generator_updates)  # the module logs it after all callbacks
        checkpoint["restart"] = {
            "values": values,
            "log": (in_batch or self._validating) and loop.logs_this_batch(trainer),
            "validate": (in_batch and loop.validation_is_due(trainer)) or self._validating,
            "within_epoch": not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch,
        }

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._cut_off = checkpoint.get("restart", {})
        states = checkpoint.get("callbacks", {})
        for key in [key for key in states if key.startswith("Timer")]:
            del states[key]  # max_time is a budget of this start: with the time of the last one it would train nothing
        path, own = Path(trainer.ckpt_path or ""), Path(trainer.default_root_dir)
        for keeper in _keepers(trainer) if trainer.ckpt_path and is_inside(path, own) else []:
            state = states.get(keeper.state_key)
            if state and keeper.dirpath:
                _renamed(state, str(state.get("dirpath")), str(keeper.dirpath))
                if (
                    path.parent.resolve() == Path(keeper.dirpath).resolve()
                ):  # one last.ckpt: the newest of its run, always
                    name = path.name if path.name.startswith("last") else "last.ckpt"
                    state["last_model_path"] = os.path.join(keeper.dirpath, name)

    def _make_up(self, trainer: L.Trainer) -> None:
        if self._cut_off.get("log"):
            values = {key: value for key, value in self._cut_off["values"].items() if key != "step"}
            for logger in trainer.loggers:
                logger.log_metrics(values, step=trainer.global_step)
                logger.save()
        if self._cut_off.get("validate"):
            validation = trainer.fit_loop.epoch_loop.val_loop
            validation.restarting = False  # all of it, not its rest
            trainer.validating = True
            validation.run()
            trainer.training = True
        self._cut_off |= {"log": False, "validate": False}

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Nothing is left to train; finish what is pending from the last step."""
        self._make_up(trainer)
        if self._state is State.NOT_STARTED and trainer.is_global_zero and trainer.ckpt_path:
            _renew_last(trainer, Path(trainer.ckpt_path))

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Lightning logs the latest value of each key, until the epoch ends: also of keys that this batch lacks."""
        if self._cut_off.get("within_epoch"):
            pl_module.log_dict(self._cut_off["values"], batch_size=1)
        self._cut_off = {}


def _over_ranks(trainer: L.Trainer, value: float, how: str) -> float:
    if trainer.world_size == 1:
        return value
    return trainer.strategy.reduce(torch.tensor(value, device=trainer.strategy.root_device), reduce_op=how).item()


def _keepers(trainer: L.Trainer) -> list[ModelCheckpoint]:
    return [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]


def _folder(trainer: L.Trainer) -> Path:
    named = [keeper.dirpath for keeper in _keepers(trainer) if keeper.dirpath]
    return Path(named[0]) if named else Path(trainer.default_root_dir) / "checkpoints"


def _renew_last(trainer: L.Trainer, end: Path) -> None:
    """A run killed between the last two files that it writes has its end in the first one only."""
    folder, files = _folder(trainer), trainer.strategy.checkpoint_io
    last = folder / "last.ckpt"
    if end.parent.resolve() != folder.resolve():
        return
    if not last.is_file() or files.load_checkpoint(last)["global_step"] < trainer.global_step:
        files.save_checkpoint(files.load_checkpoint(end), last)


def _renamed(state: dict[object, object], old: str, new: str) -> None:
    """Update a ModelCheckpoint's state after its folder was renamed."""

    def moved(value: object) -> object:
        return new + value[len(old) :] if isinstance(value, str) and value.startswith(old) else value

    for key, value in state.items():
        state[key] = {moved(k): v for k, v in value.items()} if isinstance(value, dict) else moved(value)
