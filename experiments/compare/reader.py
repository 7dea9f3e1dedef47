"""Read what runs and benchmarks left on disk: records, the pictures beside them, training curves."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.records import record as records_on_disk
from experiments.run import Run
from experiments.run.curves import History
from experiments.run.names import METRICS


@dataclass(frozen=True)
class Record:
    """One method under one protocol, as ``benchmark`` wrote it, and the folder whose ``images/`` belongs to it."""

    data: dict[str, Any]
    path: Path | None = None

    @property
    def label(self) -> str:
        return str(self.data["method"].get("label") or self.data["method"]["name"])

    @property
    def protocol(self) -> dict[str, Any]:
        return self.data["protocol"]

    @property
    def hash(self) -> str:
        return str(self.protocol["hash"])

    @property
    def note(self) -> str | None:
        """What the record says of itself, without what its cells say already ('fid left out: ...')."""
        parts = str(self.data.get("note") or "").split("; ")
        told = tuple(f"{name} left out:" for name in self.data["metrics"])
        return "; ".join(part for part in parts if not part.startswith(told)) or None

    @property
    def source(self) -> str:
        return str(self.path) if self.path else str(self.data["method"].get("run") or self.label)

    @property
    def votes_path(self) -> Path:
        """Where `lit-inpaint vote --result` leaves what people said of this method."""
        assert self.path is not None
        return self.path.parents[2] / "votes" / self.path.parent.name / self.path.name

    def picture_folder(self, kind: str | None = None) -> Path | None:
        """OUT/images/<protocol>/<label>, or the shared ``_truth``, ``_mask``, ``_input``; None if not kept."""
        if self.path is None:
            return None
        folder = self.path.parents[2] / "images" / self.path.parent.name / (kind or self.path.stem)
        return folder if folder.is_dir() else None


def read_folders(folders: Iterable[Path]) -> tuple[list[Record], list[History]]:
    """Every record and every training run at or under ``folders``; a folder given twice counts once.

    Raises:
        ValueError: If a folder is missing, holds neither, or holds a file that is not what its name says.
    """
    records: dict[Path, Record] = {}
    runs: dict[Path, History] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder; give the output folder of a benchmark or of a training run.")
        found = 0
        for place, children, files in os.walk(folder.resolve(), followlinks=True):
            children[:] = sorted(
                c for c in children if c not in {"images", "journal", "wandb", "checkpoints", "panels", "votes"}
            )
            here = Path(place)
            if here.parent.name == "records":
                for name in sorted(f for f in files if f.endswith(".json")):
                    records[here / name] = read_record(here / name)
                    found += 1
            if METRICS.among(files):
                runs[here] = Run(here).history
                found += 1
        if not found:
            raise ValueError(f"{folder} holds no records/*/*.json and no metrics.csv; run `lit-inpaint benchmark`.")
    return list(records.values()), list(runs.values())


def read_record(path: Path) -> Record:
    """A record, with the column of votes where there is one."""
    record = Record(asdict(records_on_disk.read_record(path)), path)
    if record.votes_path.is_file():
        record.data["metrics"]["votes"] = asdict(records_on_disk.read_column(record.votes_path))
    return record


def without_seed(config: dict[str, Any]) -> str:
    """A config as text, without the seed and without where it logs: equal texts differ in nothing but the seed."""
    forgotten = {
        "seed",
        "seed_everything",
        "logger",
        "default_root_dir",
        "ckpt_path",
        "dirpath",
        "save_dir",
        "config",
        "group",
    }

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(k): strip(v) for k, v in value.items() if k not in forgotten}
        return [strip(v) for v in value] if isinstance(value, list) else value

    return json.dumps(strip(config), sort_keys=True, default=str)
