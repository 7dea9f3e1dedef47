"""Read what runs and benchmarks left on disk: records, the pictures beside them, training curves."""

import csv
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from experiments import record as records_on_disk
from experiments.text_files import read_json, read_yaml

Curve = list[tuple[float, float]]  # (images seen, value)


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


@dataclass(frozen=True)
class Run:
    """One training run: its label, run.json (method, seed, val_protocol_hash, ...), config.yaml, its curves."""

    label: str
    folder: str
    facts: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    note: str | None = None

    @property
    def method(self) -> str:
        model = self.config.get("model")
        path = model.get("class_path", "") if isinstance(model, dict) else model or ""
        return str(self.facts.get("method") or path).rpartition(".")[2]

    @property
    def seed(self) -> int | None:
        seed = self.facts.get("seed", self.config.get("seed_everything"))
        return seed if isinstance(seed, int) else None

    @property
    def val_hash(self) -> str:
        return str(self.facts.get("val_protocol_hash") or "unknown")


def read_folders(folders: Iterable[Path]) -> tuple[list[Record], list[Run]]:
    """Every record and every training run at or under ``folders``; a folder given twice counts once.

    Raises:
        ValueError: If a folder is missing, holds neither, or holds a file that is not what its name says.
    """
    records: dict[Path, Record] = {}
    runs: dict[Path, Run] = {}
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
            if any(re.fullmatch(r"metrics(-\d+)?\.csv", name) for name in files):
                runs[here] = read_run(here)
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


# ---- training runs -------------------------------------------------------------------------------------------------


def read_run(folder: Path) -> Run:
    """A run folder of ``fit``: the newest config and the joined segments of its metrics.

    What is damaged is left out and named in the run's note; a run whose config cannot be read still has its curves.
    """
    damage: list[str] = []
    config = _newest(folder, "config", "yaml", read_yaml, damage)
    facts = _newest(folder, "run", "json", read_json, damage)
    curves, note = join_segments(read_segments(folder, damage))
    said = "; ".join([*([note] if note else []), *damage]) or None
    return Run(folder.name, str(folder), facts, config, curves, said)


def _newest(
    folder: Path, stem: str, suffix: str, read: Callable[[Path], dict[str, Any]], damage: list[str]
) -> dict[str, Any]:
    for path in _segments(folder, stem, suffix)[-1:]:
        try:
            return read(path)
        except (ValueError, OSError) as error:
            damage.append(str(error))
    return {}


def read_segments(folder: Path, damage: list[str] | None = None) -> list[list[dict[str, float]]]:
    """The rows that each start of a run logged, in the order of the starts; what is damaged is told in ``damage``."""
    damage = [] if damage is None else damage
    return [_read_csv(path, damage) for path in _segments(folder, "metrics", "csv")]


def _segments(folder: Path, stem: str, suffix: str) -> list[Path]:
    """<stem>.<suffix>, <stem>-1.<suffix>, ...: the order in which the restarts of a run wrote them."""
    found = []
    for path in folder.iterdir():
        match = re.fullmatch(rf"{stem}(?:-(\d+))?\.{suffix}", path.name)
        if match:
            found.append((int(match[1] or 0), path))
    return [path for _, path in sorted(found)]


def _read_csv(path: Path, damage: list[str]) -> list[dict[str, float]]:
    """The rows of one segment, numbers only. A torn last line is no damage: a kill left it, or it is being written."""
    try:
        *lines, last = path.read_bytes().split(b"\n")
    except OSError as error:
        damage.append(str(error))
        return []
    keys, *found = [_cells(line) for line in lines] or [[]]
    if (lines or last) and (not keys or "step" not in keys):
        damage.append(f"{path} has a damaged first line and is left out")
        return []
    rows, bad = [], []
    for number, cells in enumerate(found, 2):
        try:
            values = [math.nan if cell == "" else float(cell) for cell in cells or ("damaged",)]
            rows.append({k: v for k, v in zip(keys or (), values, strict=True) if math.isfinite(v)})
        except ValueError:
            bad.append(number)
    if bad:
        shown = ", ".join(map(str, bad[:5])) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
        damage.append(f"{path}: damaged lines are left out: {shown}")
    return rows


def _cells(line: bytes) -> list[str] | None:
    """The cells of one line, each by itself: a stray quote must not swallow the lines after it."""
    try:
        text = line.decode().rstrip("\r")
        return None if "\0" in text else next(csv.reader([text]), None)
    except (UnicodeDecodeError, csv.Error):
        return None


def join_segments(segments: Sequence[list[dict[str, float]]]) -> tuple[dict[str, Curve], str | None]:
    """One curve a key on images_seen. Where two segments overlap, the later one holds: it is what was trained on.

    >>> first = [{"images_seen": 8, "train/loss": 3.0}, {"images_seen": 16, "train/loss": 2.0}]
    >>> join_segments([first, [{"images_seen": 16, "train/loss": 1.0}]])
    ({'train/loss': [(8, 3.0), (16, 1.0)]}, None)
    """
    joined, lost = surviving(segments)
    curves: dict[str, Curve] = {}
    for seen, row in joined:
        for key, value in row.items():
            if key not in {"images_seen", "step", "epoch"}:
                curves.setdefault(key, []).append((seen, value))
    return curves, "logged no images_seen, so it has no curve" if lost else None


def surviving(segments: Sequence[list[dict[str, float]]]) -> tuple[list[tuple[float, dict[str, float]]], int]:
    """The rows that belong to what was trained on, each with its images_seen, and how many segments had none."""
    joined: list[tuple[float, dict[str, float]]] = []
    lost = 0
    for rows in segments:
        placed = _place_on_images_seen(rows)
        lost += bool(rows) and not placed
        if placed:
            start = min(seen for seen, _ in placed)
            joined = [item for item in joined if item[0] < start] + placed
    return sorted(joined, key=lambda item: item[0]), lost


def _place_on_images_seen(rows: list[dict[str, float]]) -> list[tuple[float, dict[str, float]]]:
    """Rows that log no images_seen of their own (validation) take it from the rows around them, by step."""
    known = sorted({(row["step"], row["images_seen"]) for row in rows if "step" in row and "images_seen" in row})
    steps, seen = [k[0] for k in known], [k[1] for k in known]
    placed = []
    for row in rows:
        if "images_seen" in row:
            placed.append((row["images_seen"], row))
        elif "step" in row and known:
            placed.append((float(np.interp(row["step"], steps, seen)), row))
    return placed


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
