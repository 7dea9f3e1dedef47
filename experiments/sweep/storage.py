"""Where a sweep's trials are kept: a database, or Optuna's journal file, which here survives a torn line.

Optuna's own journal fails on every later open once a line is torn, and appends after the torn line.
"""

import json
import os
import sys
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from experiments.files.write import write_bytes
from masks.atomic import whole

CREATE_STUDY, CREATE_TRIAL = 0, 4  # op_code of Optuna's journal
DAMAGED = "its entry in the journal is damaged"


def open_storage(place: str, study: str, maximize: bool) -> optuna.storages.BaseStorage:
    """A database URL, or the path of a journal file: any folder that all workers see."""
    if "://" in place:
        return optuna.storages.RDBStorage(place)
    backend = _WholeLines(place)
    backend.repair(study, maximize)
    return optuna.storages.JournalStorage(backend)


class _WholeLines(JournalFileBackend):
    """A journal of complete lines: a torn end is cut off before appending."""

    def __init__(self, place: str) -> None:
        self._place, self._own_lock = Path(place), JournalFileSymlinkLock(place, grace_period=10)
        super().__init__(place, lock_obj=self._own_lock)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        content = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        self._own_lock.acquire()
        try:
            with self._place.open("rb+", buffering=0) as file:
                end = _end_of_lines(file)
                file.truncate(end)
                try:
                    left = memoryview(content)
                    file.seek(end)
                    while left:
                        left = left[file.write(left) :]
                    os.fsync(file.fileno())
                except OSError as error:
                    file.truncate(end)  # a full disk leaves the journal as it was
                    raise OSError(error.errno, error.strerror, str(self._place)) from None
        finally:
            self._own_lock.release()

    def repair(self, study: str, maximize: bool) -> None:
        """Drop and report damaged lines, and keep the original file beside the repaired one.

        Trials are numbered by their order in the file: a lost one keeps its place, so that references
        to it and to later ones stay valid. The work of a lost line is redone.
        """
        self._own_lock.acquire()
        try:
            content = self._place.read_bytes()
            found = [(line, _operation(line)) for line in content.split(b"\n")]
            tail = found.pop()[0]
            damaged = [number for number, (_, operation) in enumerate(found, 1) if operation is None]
            if damaged:
                lines = _with_places(found, {"study_name": study, "directions": [2 if maximize else 1]}, self._place)
                kept = self._place.with_name(f"{self._place.name}.damaged")
                write_bytes(kept, content)
                with whole(self._place, flush=True) as part:
                    part.write_bytes(b"".join(line + b"\n" for line in lines))
                told = ", ".join(map(str, damaged[:5])) + (f" and {len(damaged) - 5} more" * (len(damaged) > 5))
                print(f"lit-inpaint: {self._place}: damaged lines skipped: {told}; kept in {kept}.", file=sys.stderr)
            elif tail:
                os.truncate(self._place, len(content) - len(tail))
                print(f"lit-inpaint: {self._place}: a torn last line was cut off.", file=sys.stderr)
        finally:
            self._own_lock.release()


def _end_of_lines(file: FileIO) -> int:
    """End of the last complete line."""
    end: int = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 65536)
        file.seek(start)
        if (newline := file.read(end - start).rfind(b"\n")) >= 0:
            return int(start + newline + 1)
        end = start
    return 0


def _operation(line: bytes) -> dict[str, Any] | None:
    try:
        operation = json.loads(line)
        return operation if isinstance(operation["op_code"], int) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _with_places(found: list[tuple[bytes, dict[str, Any] | None]], study: dict[str, Any], path: Path) -> list[bytes]:
    """The intact lines, with the study and the trials that later lines require in place of lost ones."""
    lines: list[bytes] = []
    spot: int | None = None  # where the last damaged line stood
    trials, studied = 0, False
    for line, operation in found:
        if operation is None:
            spot = len(lines)
            continue
        code = operation["op_code"]
        presupposed = int(operation.get("trial_id", -1)) + 1
        if (code != CREATE_STUDY and not studied) or presupposed > trials:
            if spot is None:
                raise ValueError(f"{path} is missing its beginning; move {path.parent} away to start the sweep over.")
            lost = [] if studied else [{"op_code": CREATE_STUDY, **study}]
            began = datetime.now(UTC).isoformat()
            lost += [{"op_code": CREATE_TRIAL, "study_id": 0, "datetime_start": began}] * (presupposed - trials)
            lines[spot:spot] = [json.dumps({"worker_id": "", **one}).encode() for one in lost]
            trials, studied = max(trials, presupposed), True
        studied = True
        trials += code == CREATE_TRIAL
        lines.append(line)
    return lines
