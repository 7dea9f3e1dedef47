"""Open user-supplied files safely: pipes, devices and sockets are rejected before a byte is read."""

import codecs
import os
import stat
from io import BufferedReader

from masks.archives import archive_at

_MOST_TEXT = 2**30  # bytes; the list of ImageNet has 60 million
_KINDS = {
    stat.S_IFDIR: "a folder, not a file",
    stat.S_IFIFO: "a named pipe (FIFO), which has no end",
    stat.S_IFCHR: "a device, not a file",
    stat.S_IFBLK: "a device, not a file",
    stat.S_IFSOCK: "a socket, not a file",
}


def open_regular(path: str | os.PathLike[str], most: int | None = None) -> BufferedReader:
    """Open a regular file for reading; links to one are followed.

    Args:
        path: The file.
        most: Maximum size in bytes; larger files are rejected, including sparse ones.

    Raises:
        ValueError: Naming the file: missing, not allowed, too large, or no regular file at all.
    """
    refuse_irregular(path, most)  # a device may act when it is merely opened
    try:
        # Without O_NONBLOCK, a pipe that has taken the file's place since would wait here for its writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise ValueError(_told(path, error)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{os.fspath(path)}: was replaced while it was opened. Give the path of a file.")
    return os.fdopen(descriptor, "rb")


def refuse_irregular(path: str | os.PathLike[str], most: int | None = None) -> None:
    """The same checks for a file that a library opens by its name (``torch.load``, ``mmap``)."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: the path has a NUL in it
        raise ValueError(_told(path, error)) from error
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
        raise ValueError(f"{os.fspath(path)}: is {kind}. Give the path of a file.")
    if most is not None and status.st_size > most:
        raise ValueError(f"{os.fspath(path)}: has {status.st_size:,} bytes; at most {most:,} are read. Check the path.")


def _told(path: str | os.PathLike[str], error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{os.fspath(path)}: no such file. Check the path."
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{os.fspath(path)}: cannot be opened ({reason}). Check the path."


def read_text(path: str | os.PathLike[str]) -> str:
    """A text file, in a folder or an archive, as people's editors leave it: UTF-8 with or without a byte-order mark, or
    UTF-16 with one, as PowerShell's ``>`` writes. A name that is not UTF-8 keeps its bytes, as Python's own file names
    do.

    Raises:
        ValueError: Naming the file: not to be opened, or no text.
    """
    archive, name = archive_at(os.path.dirname(path)), os.path.basename(path)
    if archive is not None:
        content = archive.read(name)
    else:
        with open_regular(path, most=_MOST_TEXT) as file:
            content = file.read()
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16") if utf16 else content.decode("utf-8-sig", "surrogateescape")
    except UnicodeDecodeError as error:
        raise ValueError(f"{os.fspath(path)}: is not text ({error.reason}). Save it as UTF-8.") from error
    if "\0" in text:
        raise ValueError(f"{os.fspath(path)}: is not text, it contains NUL. Save it as UTF-8.")
    return text
