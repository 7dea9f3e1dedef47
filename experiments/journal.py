"""A job, and the journal that lets a killed one go on: what is finished is not done again."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from typing import Protocol as Structural

from experiments.protocol import Protocol
from lit_inpaint.metrics import unavailable
from lit_inpaint.metrics.inception import refusal
from lit_inpaint.weights import sha256

INCEPTION = ("fid", "p_ids", "u_ids")  # metrics that stand on kept features, not on one value an image
Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What one process does: a method (class name or checkpoint) under a protocol, into an output folder."""

    method: str
    label: str
    protocol: Protocol
    out: Path
    weights: Literal["ema", "raw"] = "ema"
    batch_size: int = 1

    @property
    def record_path(self) -> Path:
        return self.out / "records" / self.protocol.folder / f"{self.label}.json"

    @property
    def journal_folder(self) -> Path:
        return self.out / "journal" / self.protocol.folder / self.label

    @property
    def features_folder(self) -> Path:
        return self.journal_folder / "features"

    @property
    def truth_features_folder(self) -> Path:
        """Of the images themselves: they serve every method."""
        return self.journal_folder.parent / "_truth_features"

    def pictures(self, kind: str) -> Path:
        return self.out / "images" / self.protocol.folder / kind

    def left_out(self) -> dict[str, str]:
        """Metrics of the protocol that cannot be computed here, and why."""
        count = len(self.protocol.images)
        reasons = {name: unavailable(name) for name in self.protocol.metrics}
        reasons |= {n: refusal(n, count) for n in self.protocol.metrics if n in INCEPTION and not reasons[n]}
        return {name: reason for name, reason in reasons.items() if reason}

    def identity(self) -> dict[str, Any]:
        """A journal with another identity belongs to something else and is begun anew."""
        path = Path(self.method)
        return {
            "protocol": self.protocol.hash,
            "method": self.method if not path.is_file() else sha256(path),
            "weights": self.weights,
            "batch_size": self.batch_size,
            "left_out": sorted(self.left_out()),
        }


class Journaled(Structural):
    """Whatever can go on where it stopped: a folder for its journal, and what tells it from another job."""

    @property
    def journal_folder(self) -> Path: ...

    def identity(self) -> dict[str, Any]: ...


class Journal:
    """Lines of JSON: the identity of the job, then one line an image. Only whole batches count."""

    def __init__(self, job: Journaled) -> None:
        self.path = job.journal_folder / "journal.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.identity = job.identity()
        self.rows: dict[Any, Row] = {}  # by index: a number, or a name
        self._valid = 0  # bytes of whole lines that belong to this job
        content = self.path.read_bytes() if self.path.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        lines = [json.loads(line) for line in whole.splitlines()]
        if lines and lines[0] == self.identity:
            self._valid = len(whole)
            self.rows = {row["index"]: row for row in lines[1:]}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the journal alone; what a kill left of a last line is cut off."""
        with open(self.path, "a", encoding="utf-8") as self._file:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"another process is writing {self.path}; wait or give another --out.") from None
            self._file.truncate(self._valid)
            if not self._valid:
                self._write([self.identity])
            yield

    def append(self, rows: list[Row]) -> None:
        self._write(rows)
        self.rows.update({row["index"]: row for row in rows})

    def _write(self, lines: list[dict[str, Any]]) -> None:
        self._file.write("".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))
        self._file.flush()
        os.fsync(self._file.fileno())
