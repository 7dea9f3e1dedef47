"""One progress bar over the whole run, with the time left; plain lines without a terminal."""

import math
import time
from datetime import timedelta
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar, Timer
from rich.progress import TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lit_inpaint.epochs import last_step
from lit_inpaint.metrics import headline


class StepProgressBar(RichProgressBar):
    """Steps of the run, elapsed and remaining time, last metrics; Lightning's bar counts one epoch at a time.

    The run ends at the first of ``max_steps``, ``max_epochs`` and, in the lines of a log, ``max_time``. In a log file
    (SLURM, CI) one line is written every twentieth of what this start has to do.

    >>> StepProgressBar().refresh_rate
    2

    Args:
        refresh_rate: Batches from one update of the bar to the next; 0 shows none.
    """

    def __init__(self, refresh_rate: int = 2) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=True)
        self._begun = (0, 0.0)
        self._written = 0  # twentieths

    @property
    def total_train_batches(self) -> int | float:
        return last_step(self.trainer) or math.inf

    def configure_columns(self, trainer: L.Trainer) -> list[Any]:
        counts = TextColumn("{task.completed:.0f}/{task.total:.0f}")
        return [
            *super().configure_columns(trainer)[:2],
            counts,
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        ]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._begun, self._written = (trainer.global_step, time.perf_counter()), 0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lightning resets its bar here; the bar of a run continues."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if self.is_disabled:
            return
        if self._console is not None and not self._console.is_terminal:
            self._write_line(trainer)
            return
        if self.train_progress_bar_id is None:
            self.train_progress_bar_id = self._add_task(self.total_train_batches, "training")
        self._update(self.train_progress_bar_id, trainer.global_step)
        self._update_metrics(trainer, pl_module)

    def _write_line(self, trainer: L.Trainer) -> None:
        end, step = last_step(trainer), trainer.global_step
        elapsed, done = time.perf_counter() - self._begun[1], step - self._begun[0]
        left = elapsed / max(done, 1) * max(end - step, 0) if end else math.inf
        timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
        left = min([left, *(rest for timer in timers if (rest := timer.time_remaining()) is not None)])
        twentieths = int(20 * elapsed / (elapsed + max(left, 0)) + 1e-9)
        if twentieths == self._written:
            return
        self._written = twentieths
        logged = trainer.callback_metrics
        values = {k: v.item() for k, v in logged.items() if k.startswith("train/") or k == headline(logged)}
        shown = " ".join(f"{k} {v:.3g}" for k, v in values.items())
        times = f"{timedelta(seconds=round(elapsed))} elapsed, {timedelta(seconds=round(max(left, 0)))} left"
        print(f"step {step}{f'/{end}' if end else ''}, {times}  {shown}", flush=True)

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        shown = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)
        return shown
