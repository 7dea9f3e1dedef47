"""How a run is doing, written by the run itself into status.json, which `lit-inpaint runs` reads."""

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import lightning as L

from experiments.files import write_text
from experiments.processes import born, machine

BEAT = 30.0  # seconds between signs of life


class Status(L.Callback):
    """status.json of the run folder: running, finished, stopped (a signal, Ctrl-C) or crashed, and why.

    A run that is killed cannot say so; its process number or its silence does.
    """

    def __init__(self) -> None:
        self._beaten = 0.0

    def _write(self, trainer: L.Trainer, state: str, error: str | None = None) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self._beaten = time.monotonic()
        facts = {"state": state, "error": error, "step": trainer.global_step, "max_steps": trainer.max_steps}
        process = {"machine": machine(), "pid": os.getpid(), "born": born(os.getpid()), "beat": time.time()}
        with contextlib.suppress(OSError):  # a full disk ends a run by its checkpoint, not by this
            write_text(Path(trainer.default_root_dir) / "status.json", json.dumps(facts | process, indent=1) + "\n")

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._write(trainer, "running")

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if time.monotonic() - self._beaten > BEAT:
            self._write(trainer, "running")

    def on_validation_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if trainer.state.fn == "fit" and time.monotonic() - self._beaten > BEAT:
            self._write(trainer, "running")

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._write(trainer, "finished")

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if trainer.state.fn == "fit":
            asked = isinstance(exception, (KeyboardInterrupt, SystemExit))
            reason = f"{type(exception).__name__}: {exception}".strip(": ")
            self._write(trainer, "stopped" if asked else "crashed", None if asked else " ".join(reason.split())[:300])
