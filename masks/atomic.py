"""Atomic file writes, in the lowest package so that all packages share them."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path, overwrite: bool = True, flush: bool = False, part: Path | None = None) -> Iterator[Path]:
    """A temporary file beside ``path``, renamed to it at the end; on failure, ``path`` is unchanged.

    Args:
        path: Its folder is made if it is missing.
        overwrite: False: fail if the file exists by then.
        flush: Wait for the disk, so that a machine that stops leaves the old file or the new one.
        part: What the file is called until then, for who must tell whose it is after a kill.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part or path.with_name(f".{uuid.uuid4().hex}.part{path.suffix[:8]}")  # room beside a name of 255 bytes
    try:
        yield part
        if flush:
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        if not overwrite and os.path.lexists(path):
            raise ValueError(f"{path} was created meanwhile; give another --out, or --overwrite.")
        part.replace(path)
        if flush:
            _flush_names(path.parent)
    except OSError as error:  # a full disk names no file, a folder in the place of the file the one that nobody knows
        if error.errno and error.filename in (None, str(part)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        part.unlink(missing_ok=True)


def next_free(path: Path) -> Path:
    """``path``, or name-1, name-2, ... if it exists.

    >>> next_free(Path("/nowhere/config.yaml")).name
    'config.yaml'
    """
    numbered = (path.with_stem(f"{path.stem}-{n}") for n in range(1, 1_000_000))
    return path if not path.exists() else next(p for p in numbered if not p.exists())


def _flush_names(folder: Path) -> None:
    """A rename is on the disk once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
