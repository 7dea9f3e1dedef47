"""Zip and tar archives read in place, by any number of processes: an index, and reads at an offset."""

import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

SUFFIXES = (".zip", ".tar")
_LOCAL_HEADER = 30  # bytes before the name in a zip
Where = str | os.PathLike[str]


class _Member(NamedTuple):
    name: str
    at: int  # offset of the data in a tar, of the local header in a zip
    packed: int  # bytes in the archive
    size: int
    method: int  # zip's compression
    crc: int  # -1: a tar has none


class Archive:
    """The files in an archive; names are paths in it, with "/".

    No handle is kept, so that forked and spawned workers read the same archive.
    """

    def __init__(self, path: Where) -> None:
        """
        Raises:
            ValueError: Naming the archive: damaged, compressed as a whole, encrypted, or no archive.
        """
        self.path = os.fspath(path)
        try:
            found = dict(_of_zip(self.path) if zipfile.is_zipfile(self.path) else _of_tar(self.path))
        except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
            raise ValueError(
                f"{self.path}: cannot be read in place ({error}). Give a whole .zip, or a .tar that is not compressed."
            ) from error
        members = sorted(_followed(name, found) for name in found)  # of a name that was added again, the last
        self.names = [member.name for member in members]
        self._numbers = np.array([member[1:] for member in members], np.int64).reshape(len(members), 5)
        self._is_zip = zipfile.is_zipfile(self.path)
        self._place: dict[str, int] | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._places()

    def read(self, name: str) -> bytes:
        """
        Raises:
            ValueError: Naming the archive and the file: missing, a link to a file that is, or damaged (a zip's
                checksums are compared).
        """
        if name not in self:
            raise ValueError(f"{self.path}/{name}: no such file in the archive.")
        at, packed, size, method, crc = map(int, self._numbers[self._places()[name]])
        if at < 0:
            raise ValueError(
                f"{self.path}/{name}: a link to no file of the archive. Pack the files themselves (tar -h)."
            )
        with open(self.path, "rb", buffering=0) as file:
            if self._is_zip:
                header = _exactly(file.fileno(), _LOCAL_HEADER, at)
                at += _LOCAL_HEADER + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
            content = _exactly(file.fileno(), packed, at)
        try:
            content = zlib.decompress(content, -15) if method == zipfile.ZIP_DEFLATED else content
        except zlib.error as error:
            raise ValueError(f"{self.path}/{name}: damaged ({error}). Write the archive again.") from error
        if len(content) != size or (crc >= 0 and zlib.crc32(content) != crc):
            raise ValueError(f"{self.path}/{name}: damaged, its checksum differs. Write the archive again.")
        return content

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return int(self._numbers[self._places()[name], 2])

    def _places(self) -> dict[str, int]:
        if self._place is None:
            self._place = {name: place for place, name in enumerate(self.names)}
        return self._place


def _exactly(descriptor: int, count: int, at: int) -> bytes:
    parts: list[bytes] = []
    while count and (part := os.pread(descriptor, count, at)):
        parts.append(part)
        count, at = count - len(part), at + len(part)
    return b"".join(parts)


def _of_zip(path: str) -> Iterable[tuple[str, _Member | str]]:
    """Files and links by name; of a link, the path that it leads to from its own folder."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                how = "encrypted" if entry.flag_bits & 1 else f"compressed by method {entry.compress_type}"
                raise ValueError(f"{path}/{entry.filename}: {how}; zip it with deflate or without compression.")
            numbers = entry.header_offset, entry.compress_size, entry.file_size, entry.compress_type, entry.CRC
            link = stat.S_ISLNK(entry.external_attr >> 16)
            yield entry.filename, os.fsdecode(archive.read(entry)) if link else _Member(entry.filename, *numbers)


def _of_tar(path: str) -> Iterable[tuple[str, _Member | str]]:
    with tarfile.open(path, "r:") as archive:
        for entry in archive:
            name = entry.name.removeprefix("./")
            if entry.islnk():
                yield name, posixpath.relpath(entry.linkname, posixpath.dirname(name))
            elif entry.issym():
                yield name, entry.linkname
            elif entry.isreg() and not entry.issparse():
                yield name, _Member(name, entry.offset_data, entry.size, entry.size, zipfile.ZIP_STORED, -1)


def _followed(name: str, found: Mapping[str, _Member | str]) -> _Member:
    """The file of a name, through links as long as a file system follows them."""
    at = name
    for _ in range(40):
        place = found.get(at)
        if isinstance(place, _Member):
            return place._replace(name=name)
        at = posixpath.normpath(posixpath.join(posixpath.dirname(at), place or ""))
    return _Member(name, -1, 0, 0, zipfile.ZIP_STORED, -1)


@lru_cache(maxsize=16)
def _indexed(path: str, size: int, changed: int) -> Archive:
    return Archive(path)


def archive_at(root: Where) -> Archive | None:
    """The archive at a path, indexed once; None for a folder."""
    if not os.fspath(root).lower().endswith(SUFFIXES) or not os.path.isfile(root):
        return None
    status = os.stat(root)
    return _indexed(os.fspath(root), status.st_size, status.st_mtime_ns)


def holds(root: Where, name: str) -> bool:
    """Whether a folder or an archive has a file of this name."""
    archive = archive_at(root)
    if archive is not None:
        return name in archive
    try:
        return stat.S_ISREG(os.stat(Path(root) / name).st_mode)
    except (OSError, ValueError):
        return False
