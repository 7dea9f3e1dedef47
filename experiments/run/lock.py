"""A run folder has one writer: a second start of the same run is rejected."""

import fcntl
import json
import os
import sys
import time
from pathlib import Path

from experiments.files.read import Plain
from experiments.run.names import LOCK
from experiments.run.processes import born, machine

_HELD: set[int] = set()


def _let_go_in_child() -> None:
    """A DataLoader worker outlives a killed run by seconds; if it inherited the descriptor, it would keep the lock."""
    for descriptor in _HELD:
        os.close(descriptor)
    _HELD.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


class Lock:
    """An advisory lock (flock) on ``.lock`` of a run folder: the kernel releases it when its process ends.

    The file records its holder and its folder, which distinguishes a copied folder from a renamed one.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path) -> tuple["Lock", Plain]:
        """The lock, and the previous content of its file.

        Raises:
            ValueError: If a living process holds it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / LOCK
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        before = _read(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            holder = _holder(path)
            raise ValueError(
                f"{holder} is writing into {folder}. Wait until it ends, or give another --trainer.default_root_dir."
            ) from None
        except OSError as error:
            print(
                f"{folder} cannot be locked ({error.strerror}): make sure not to start it twice.",
                file=sys.stderr,
                flush=True,
            )
        _HELD.add(descriptor)
        process = {"machine": machine(), "pid": os.getpid(), "born": born(os.getpid())}
        said = json.dumps(process | {"folder": str(folder.resolve()), "inode": cls.inode(folder)}) + "\n"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, said.encode(), 0)
        return cls(descriptor), before

    @staticmethod
    def inode(folder: Path) -> list[int]:
        """Properties that a rename keeps and a copy does not."""
        status = folder.stat()
        return [status.st_dev, status.st_ino]

    def release(self) -> None:
        if self._descriptor in _HELD:
            _HELD.discard(self._descriptor)
            os.close(self._descriptor)


def _holder(path: Path) -> str:
    """Holder of a lock. It writes its number just after acquiring it; until then the file names nobody or the previous
    holder."""
    for _ in range(20):
        said = _read(path)
        number, here = said.get("pid"), said.get("machine") == machine()
        if here and isinstance(number, int) and born(number) == said.get("born") is not None:
            break
        time.sleep(0.05)
    else:
        if here or not number:
            return "another process"
    return f"process {number} on {str(said.get('machine')).split('/')[0]}"


def _read(path: Path) -> Plain:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return said if isinstance(said, dict) else {}
    except ValueError:  # new, or torn by a kill
        return {}
