"""One progress bar over the whole run, with the time left; plain lines without a terminal."""

import time
from datetime import timedelta
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar
from rich.progress import TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lit_inpaint.metrics import headline


class StepProgressBar(RichProgressBar):
    """Steps of ``max_steps``, elapsed and remaining time, last metrics; Lightning's bar counts one epoch at a time.

    In a log file (SLURM, CI) one line is written every twentieth of the run.

    >>> StepProgressBar().refresh_rate
    2

    Args:
        refresh_rate: Batches from one update of the bar to the next; 0 shows none.
    """

    def __init__(self, refresh_rate: int = 2) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=True)
        self._begun = (0, 0.0)

    @property
    def total_train_batches(self) -> int | float:
        return self.trainer.max_steps if self.trainer.max_steps > 0 else super().total_train_batches

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
        self._begun = (trainer.global_step, time.perf_counter())

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
        total, step = trainer.max_steps, trainer.global_step
        if total > 0 and step % max(total // 20, 1) == 0:
            elapsed = time.perf_counter() - self._begun[1]
            left = timedelta(seconds=round(elapsed / max(step - self._begun[0], 1) * (total - step)))
            logged = trainer.callback_metrics
            values = {k: v.item() for k, v in logged.items() if k.startswith("train/") or k == headline(logged)}
            shown = " ".join(f"{k} {v:.3g}" for k, v in values.items())
            print(f"step {step}/{total}, {timedelta(seconds=round(elapsed))} elapsed, {left} left  {shown}", flush=True)

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        shown = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)
        return shown
