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


def row_of(pair: Pair, waiting: bool = False) -> Row:
    """The journal's entry of an image; the image is redone if one of its files is changed or missing.

    Args:
        waiting: Its outputs are staged. A file keeps its size and time when it takes its name: a row that is written
            before that, in a process that is killed anywhere, describes either what is there or nothing.
    """
    outputs = map(staged, pair.outputs) if waiting else pair.outputs
    return {"index": pair.name, "files": [*_states(_inputs(pair)), *_states(outputs)]}


def refuse_existing(pairs: Sequence[Pair], overwrite: bool, rows: dict[str, Row] | None = None) -> None:
    """Never replace files unasked, except those that ``rows`` of a journal list as written for the same inputs.

    Raises:
        ValueError: Naming the first existing file.
    """
    existing = [
        file for pair in pairs for file in pair.outputs
        if os.path.lexists(file) and not _is_ours(file, pair, (rows or {}).get(pair.name))
    ]  # fmt: skip
    if existing and not overwrite:
        what = "it" if len(existing) == 1 else f"{len(existing)} files"
        raise ValueError(f"{shown(existing[0])} exists; give another --out, or --overwrite to replace {what}.")


def _is_ours(file: Path, pair: Pair, row: Row | None) -> bool:
    if row is None:
        return False
    known, inputs, (state,) = row["files"], list(_states(_inputs(pair))), _states([file])
    number = len(inputs) + pair.outputs.index(file)
    return state is not None and known[: len(inputs)] == inputs and known[number : number + 1] == [state]


def _inputs(pair: Pair) -> list[Path]:
    return [path for path in (pair.image, pair.mask, *pair.guides.values()) if path is not None]


def _states(files: Iterable[Path]) -> Iterator[list[int] | None]:
    for file in files:
        try:
            status = file.stat()
            yield [status.st_size, status.st_mtime_ns]
        except OSError:
            yield None
