"""The temporary folder for photographs, removed together with its process."""

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "lit-inpaint-app-"
KEPT = 6 * 3600  # lifetime of a file in seconds
_ENDS = [
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)
]


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A temporary folder, removed on every exit but SIGKILL; the next start removes leftovers of a killed process.

    A running process holds a lock (flock) on its folder, which the kernel releases with it.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        _remove_if_left(left)
    for number in _ENDS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup leaves SIGHUP
            signal.signal(number, _exit_on)
    folder, descriptor = _make()
    try:
        yield folder
    finally:
        finish()
        remove(folder)
        os.close(descriptor)


def _exit_on(number: int, frame: object) -> None:
    sys.exit(128 + number)


def finish() -> None:
    """From here on, no signal interrupts the cleanup."""
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)


def remove(folder: Path, seconds: float = 5) -> None:
    """Again until it is gone: a thread of a closed server may write its last file while the folder is emptied."""
    end = time.monotonic() + seconds
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
        if time.monotonic() > end:
            return
        time.sleep(0.02)


def _make() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if folder.is_dir():  # else another start took it for left behind, between two lines here
            return folder, descriptor
        os.close(descriptor)


def _remove_if_left(folder: Path) -> None:
    with contextlib.suppress(OSError):  # another user's, or in use
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(descriptor).st_uid == os.getuid():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(folder, 0)
        finally:
            os.close(descriptor)


def used(folder: Path) -> int:
    """Total bytes after removing expired files."""
    total, now = 0, time.time()
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # removed meanwhile
                path = Path(place) / name
                said = path.stat()
                if now - said.st_mtime > KEPT:
                    path.unlink()
                else:
                    total += said.st_size
    return total
