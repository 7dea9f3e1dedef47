"""The journal from which a killed job resumes, without repeating finished work."""

import argparse
import fcntl
import json
import logging
import os
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from io import RawIOBase
from pathlib import Path
from typing import Any
from typing import Protocol as Structural

from lit_inpaint import zoo
from lit_inpaint.backbones import sha256
from lit_inpaint.load import own_sources, recipe_identity
from lit_inpaint.plugins import with_file
from lit_inpaint.recipes import is_recipe

logger = logging.getLogger(__name__)
FORMAT = 1  # of the journal's lines
Row = dict[str, Any]


def settings_of(arguments: argparse.Namespace, may_change: Collection[str]) -> dict[str, object]:
    """All parsed arguments except those that may change when a job resumes.

    New flags count until they are added to the list: a forgotten one costs time but never gives a wrong result.
    """
    unknown = set(may_change) - set(vars(arguments))
    assert not unknown, f"no such arguments: {unknown}"
    return {name: value for name, value in vars(arguments).items() if name not in may_change}


def content_of(method: str) -> str:
    """A method's name, or the sha256 of its checkpoint or of its tensors in the zoo, or both of a network with weights
    in a file; of a YAML, the method's arguments and what they name. The sources of a class that is not ours follow."""
    sources = own_sources(method)
    return f"{_content_of(method)} {json.dumps(sources)}" if sources else _content_of(method)


def _content_of(method: str) -> str:
    if is_recipe(Path(method)):
        return recipe_identity(Path(method))
    if (name := zoo.entry(method)) is not None:
        return zoo.card_of(name).file_sha256
    if found := with_file(method):
        return f"{found[0]}:{_content_of(str(found[1]))}"
    return sha256(Path(method)) if Path(method).is_file() else method


def identity_in(folder: Path) -> tuple[Row, int]:
    """What the job whose journals lie in a folder was identified by, and how many items it has finished."""
    found: tuple[Row, int] = {}, 0
    for path in sorted(folder.glob("journal*.jsonl")):
        first, *rows = path.read_bytes().splitlines() or [b""]
        found = (found[0] or _parsed(first) or {}), found[1] + len(rows)
    return found


class Journaled(Structural):
    """Whatever can resume where it stopped: a folder for its journal, and what tells it from another job."""

    @property
    def journal_folder(self) -> Path: ...

    def identity(self) -> dict[str, object]: ...


def written(identity: Mapping[str, object]) -> Row:
    """An identity as the first line of a journal holds it."""
    plain: Row = json.loads(json.dumps(identity, default=str))
    return {"format": FORMAT} | plain


class BusyError(ValueError):
    """Another process is writing the journal."""


class Journal:
    """Lines of JSON: the identity of the job, then one line per image. Only complete batches count.

    Each line carries its checksum. A torn end, a torn line in the middle, a block of NULs or a flipped bit affects only
    the lines that it touches: they are reported, dropped when the file is next written, and their images redone.

    Args:
        number: Which journal is written here, if several processes write one each for the job; ``rows`` are those
            of all of them.
    """

    def __init__(self, job: Journaled, number: int = 0) -> None:
        self.path = job.journal_folder / (f"journal-{number}.jsonl" if number else "journal.jsonl")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.identity = written(job.identity())
        self.rows: dict[Any, Row] = {}  # by index: a number, or a name
        self._read()

    def _read(self) -> None:
        self._ours, self._own, self._damaged = self._content(self.path)
        self.rows = {}
        for path in self._others():
            self.rows |= self._content(path)[1]
        self.rows |= self._own

    def _others(self) -> list[Path]:
        return sorted(path for path in self.path.parent.glob("journal*.jsonl") if path != self.path)

    def _content(self, path: Path) -> tuple[bool, dict[Any, Row], list[int]]:
        """Whether a file is of this job, its rows if it is, and its damaged lines."""
        content = path.read_bytes() if path.is_file() else b""
        *lines, tail = content.split(b"\n")
        found = [_parsed(line) for line in lines]
        damaged = [number for number, row in enumerate(found, 1) if row is None] + [len(found) + 1] * bool(tail)
        head = (found[0] or {}) if found else {}
        if isinstance(newer := head.get("format"), int) and newer > FORMAT:
            raise ValueError(f"{path} has format {newer}, of a newer lit-inpaint; this one reads {FORMAT}. Update it.")
        ours = head == self.identity
        return ours, {row["index"]: row for row in found[1:] if row and "index" in row} if ours else {}, damaged

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the journal. Damaged lines and those of another job are discarded.

        Raises:
            BusyError: Another process is writing it.
        """
        with ExitStack() as stack:
            self._file = stack.enter_context(_locked(self.path))
            self._read()  # another process may have written meanwhile
            if self._damaged:
                self._tell_damage()
            if self._damaged or not self._ours:
                part = self.path.with_suffix(".part")
                part.unlink(missing_ok=True)
                self._file = stack.enter_context(_locked(part))
                self._write([self.identity, *self._own.values()])
                part.replace(self.path)
            self._discard_others()
            yield

    def _discard_others(self) -> None:
        """Empty the other journals of an earlier job: if its identity returned, so would rows whose pictures and
        features have been overwritten since."""
        for path in self._others():
            if path.stat().st_size and not self._content(path)[0]:
                with suppress(BusyError), _locked(path) as file:
                    if not self._content(path)[0]:
                        file.truncate(0)

    def _tell_damage(self) -> None:
        shown, more = self._damaged[:5], len(self._damaged) - 5
        lines = f"line{'s' * (len(self._damaged) > 1)} {', '.join(map(str, shown))}{f' and {more} more' * (more > 0)}"
        lost = "the lost items will be redone" if self._ours else "it starts over"
        logger.warning("%s: %s damaged and skipped; %s.", self.path, lines, lost)

    def append(self, rows: list[Row]) -> None:
        self._write(rows)
        self.rows.update({row["index"]: row for row in rows})

    def _write(self, lines: Iterable[Mapping[str, object]]) -> None:
        content = memoryview(b"".join(map(_line, lines)))
        try:
            while content:
                content = content[self._file.write(content) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}; finished work is kept", str(self.path)) from None


def _line(row: Mapping[str, object]) -> bytes:
    text = json.dumps(row, allow_nan=False)
    return f'{text[:-1]}, "crc32": {zlib.crc32(text.encode())}}}\n'.encode()


def _parsed(line: bytes) -> Row | None:
    """Parse a line; None if it is damaged."""
    try:
        row = json.loads(line)
        crc = row.pop("crc32", None)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return row if crc in (None, zlib.crc32(json.dumps(row).encode())) else None  # none: of a version before


@contextmanager
def _locked(path: Path) -> Iterator[RawIOBase]:
    """A file opened for exclusive appending.

    Raises:
        BusyError: Another process is writing to it.
    """
    with open(path, "ab", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another process is writing {path}; wait, or give another --out.") from None
        if os.fstat(file.fileno()).st_ino != path.stat().st_ino:
            raise BusyError(f"another process has just written {path}; run the command again.")
        yield file
