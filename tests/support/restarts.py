"""Commands that are killed just before one of the moments at which they change what lies on the disk."""

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import datamodules
from datamodules import celebahq
from datamodules.published import NamedSplit
from experiments import cli
from experiments.run.journal import Journal
from tests.support import processes


def call(argv: Sequence[str], at: int | None = None) -> None:
    """``lit-inpaint``, killed before the ``at``-th file takes its name, is removed, or gets a line of a journal."""
    moments = 0

    def watched(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def first_die(owner: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal moments
            moments += isinstance(owner, Journal) or os.path.lexists(owner)
            if moments == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(owner, *args, **kwargs)

        return first_die

    for cls, name in ((Path, "replace"), (Path, "rename"), (Path, "unlink"), (Journal, "_write")):
        setattr(cls, name, watched(getattr(cls, name)))
    celebahq.IMAGES = 3
    datamodules.CelebAHQ.SPLITS = {"official": NamedSplit("three images", {"train": 1, "val": 1, "test": 1})}
    cli.main(list(argv))


def ended(folder: Path, argv: Sequence[str], at: int | None = None) -> int:
    """Exit code of a process of its own in ``folder``."""
    process = processes.start(call, argv, at, folder=folder)
    process.join()
    return int(process.exitcode)


def trial(inputs: Path, folder: Path, argv: Sequence[str], at: int) -> bool:
    """Kill a command in a copy of ``inputs``; False if it ended before that moment."""
    shutil.copytree(inputs, folder, copy_function=shutil.copy2)
    code = ended(folder, argv, at)
    assert code in (0, -signal.SIGKILL), (folder / "log.txt").read_text()[-2000:]
    return code != 0
