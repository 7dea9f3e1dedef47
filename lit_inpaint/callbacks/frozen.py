"""End a distributed run when a process freezes, and report its rank."""

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import lightning as L


class FrozenRank(L.Callback):
    """End a distributed run when a process does not respond for ``seconds``.

    A process that is stopped, swapped out, or on a machine that is gone leaves the others inside an all-reduce until
    the process group's timeout, 30 minutes by default, whose message names no rank. Here, each process counts in its
    own file below the run folder, which all must see, and watches the other files from a thread. A process that is busy
    (a long validation) keeps counting; one that hangs inside Python while its threads live is left to that timeout.

    >>> FrozenRank(seconds=60).seconds
    60

    Args:
        seconds: Time from the last heartbeat to the end of the run.
    """

    def __init__(self, seconds: float = 600.0) -> None:
        if seconds <= 0:
            raise ValueError(f"seconds is {seconds:g}; expected more than 0, 600 for most runs.")
        self.seconds = seconds
        self._over = threading.Event()

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.world_size == 1:
            return
        folder = Path(trainer.strategy.broadcast(str(Path(trainer.default_root_dir).absolute()))) / ".ranks"
        self._over = threading.Event()
        threading.Thread(target=self._watch, args=(trainer, pl_module, folder), daemon=True).start()

    def _watch(self, trainer: L.Trainer, module: L.LightningModule, folder: Path) -> None:
        rank, beats, last = trainer.global_rank, 0, time.monotonic()
        others = [folder / str(other) for other in range(trainer.world_size) if other != rank]
        heard: dict[Path, tuple[str, float]] = {}
        while not self._over.wait(min(self.seconds / 5, 5.0)):
            now, beats = time.monotonic(), beats + 1
            if now - last > self.seconds / 2:  # it was this process that slept
                heard = {}
            last = now
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / str(rank)).write_text(f"{os.getpid()} {beats}")
            for path in others:
                said = _read(path)
                if not said:  # not begun, or ended by itself
                    heard.pop(path, None)
                elif path not in heard or heard[path][0] != said:
                    heard[path] = (said, now)
                elif now - heard[path][1] > self.seconds:
                    _end(trainer, module, f"rank {path.name} has not responded for {self.seconds:g} s")
        with contextlib.suppress(OSError):
            (folder / str(rank)).unlink()
            folder.rmdir()

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._over.set()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._over.set()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _end(trainer: L.Trainer, module: L.LightningModule, reason: str) -> None:
    """The main thread is blocked in an all-reduce: report the reason, end this process and its children."""
    print(f"{reason}: the run ends. Its last checkpoint is intact; resume from it.", file=sys.stderr, flush=True)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if hasattr(callback, "on_frozen_rank"):
            callback.on_frozen_rank(trainer, module, reason)
    launcher: Any = trainer.strategy.launcher
    if launcher is not None and hasattr(launcher, "kill"):
        launcher.kill(signal.SIGKILL)
    os._exit(1)
