"""Pictures get their final names only after they are journalled, so that a restart recognises its own files."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from experiments.inpaint.pairing import Pair, shown
from experiments.run.journal import Row


def staged(output: Path) -> Path:
    """Temporary path of a picture until it is journalled; always the same, so that a restart reuses it."""
    digest = hashlib.sha256(os.fsencode(output.name)).hexdigest()  # room beside a name of 255 bytes
    return output.with_name(f".{digest[:32]}.part{output.suffix[:8]}")


@contextmanager
def staging(pairs: Iterable[Pair]) -> Iterator[None]:
    """Remove remaining temporary files at the end, including those of a killed process."""
    try:
        yield
    finally:
        for output in (output for pair in pairs for output in pair.outputs):
            with suppress(OSError):
                staged(output).unlink(missing_ok=True)


def place(pair: Pair) -> None:
    for output in pair.outputs:
        staged(output).replace(output)


def inputs_of(pair: Pair) -> Row:
    """The image, its mask and its guides: their paths, by which two of equal size and time differ, and their states."""
    files = [Path(os.path.realpath(path)) for path in _inputs(pair)]
    return {"inputs": list(map(str, files)), "files": list(states(files))}


def row_of(pair: Pair, inputs: Row | None = None) -> Row:
    """The journal's entry of an image; the image is redone if one of its files is another, changed or missing.

    Args:
        inputs: :func:`inputs_of` before they were read; the outputs are staged. A file keeps its size and time when it
            takes its name: a row that is written before that, in a process that is killed anywhere, describes either
            what is there or nothing.
    """
    outputs = pair.outputs if inputs is None else map(staged, pair.outputs)
    known = inputs_of(pair) if inputs is None else inputs
    return {"index": pair.name, **known, "files": [*known["files"], *states(outputs)]}


def refuse_existing(pairs: Sequence[Pair], overwrite: bool, rows: dict[str, Row] | None = None) -> None:
    """Never replace files unasked, except those that ``rows`` of a journal list as written for the same inputs. What
    lies among the images is the user's unless a row lists it.

    Raises:
        ValueError: Naming the first existing file.
    """
    rows = rows or {}
    for pair in pairs:
        if image := next((file for file in pair.found if not _is_ours(file, pair, rows.get(pair.name))), None):
            raise ValueError(
                f"{shown(image)} is there, perhaps an image of its own, so that {shown(pair.image)} cannot be "
                "completed under this name, nor with --overwrite; give another --out."
            )
    existing = [
        file for pair in pairs for file in pair.outputs
        if os.path.lexists(file) and not (_is_ours(file, pair, rows.get(pair.name)) and _is_of(pair, rows[pair.name]))
    ]  # fmt: skip
    if existing and not overwrite:
        what = "it" if len(existing) == 1 else f"{len(existing)} files"
        raise ValueError(f"{shown(existing[0])} exists; give another --out, or --overwrite to replace {what}.")


def _is_ours(file: Path, pair: Pair, row: Row | None) -> bool:
    """Whether a file is the one that a row lists."""
    listed = row["files"][-len(pair.outputs) :] if row else []
    (state,), place = states([file]), pair.outputs.index(file)
    return state is not None and listed[place : place + 1] == [state]


def _is_of(pair: Pair, row: Row) -> bool:
    """Whether a row is of the same inputs; one of an earlier version lacks their paths, and its image is redone."""
    known = inputs_of(pair)
    listed = {"inputs": row.get("inputs", known["inputs"]), "files": row["files"][: -len(pair.outputs)]}
    return listed == known


def _inputs(pair: Pair) -> list[Path]:
    return [path for path in (pair.image, pair.mask, *pair.guides.values()) if path is not None]


def states(files: Iterable[Path]) -> Iterator[list[int] | None]:
    """Size in bytes and time of change in nanoseconds of each file; None for one that cannot be looked at."""
    for file in files:
        try:
            status = file.stat()
            yield [status.st_size, status.st_mtime_ns]
        except OSError:
            yield None
