"""Read a run folder: facts, configuration, and the joined curves of all starts."""

import contextlib
import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from experiments.files.read import Plain, read_json, read_yaml
from experiments.run.names import CONFIG, FACTS, METRICS, Numbered
from lit_inpaint import renamed

Curve = list[tuple[float, float]]  # (images seen, value)


@dataclass(frozen=True)
class History:
    """One training run as it was logged, in a folder or on W&B: label, run.json (method, seed, val_protocol_hash, ...),
    config.yaml, curves. ``folder`` is the address of a run on W&B."""

    label: str
    folder: str
    facts: Plain = field(default_factory=dict)
    config: Plain = field(default_factory=dict)
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


def read_history(folder: Path) -> History:
    """The newest config of a run folder and the joined segments of its metrics.

    Damaged parts are skipped and reported in the run's note; a run with an unreadable config still has its curves.
    """
    damage: list[str] = []
    config = _newest(folder, CONFIG, _read_config, damage)
    facts = _newest(folder, FACTS, read_json, damage)
    curves, note = join_segments(read_segments(folder, damage))
    said = "; ".join([*([note] if note else []), *damage]) or None
    return History(folder.name, str(folder), facts, config, curves, said)


def _read_config(path: Path) -> Plain:
    try:
        config: Plain = renamed.configuration(read_yaml(path))
    except RecursionError:
        raise ValueError(f"{path} is not a valid configuration: an alias in it (*name) contains itself.") from None
    return config


def _newest(folder: Path, kind: Numbered, read: Callable[[Path], Plain], damage: list[str]) -> Plain:
    for path in kind.all(folder)[-1:]:
        try:
            return read(path)
        except (ValueError, OSError) as error:
            damage.append(str(error))
    return {}


def read_segments(folder: Path, damage: list[str] | None = None) -> list[list[dict[str, float]]]:
    """The rows that each start of a run logged, in the order of the starts; damage is reported in ``damage``."""
    damage = [] if damage is None else damage
    method = _newest(folder, FACTS, read_json, []).get("method")
    return present_keys([_read_csv(path, damage) for path in METRICS.all(folder)], method)


def present_keys(segments: Sequence[list[dict[str, float]]], method: str | None) -> list[list[dict[str, float]]]:
    """Rows under current keys, so that curves continue across a rename."""
    return [[{renamed.logged(key, method): value for key, value in row.items()} for row in rows] for rows in segments]


def _read_csv(path: Path, damage: list[str]) -> list[dict[str, float]]:
    """The rows of one segment, numbers only. A torn last line is not damage: it is from a kill, or being written."""
    try:
        *lines, last = path.read_bytes().split(b"\n")
    except OSError as error:
        damage.append(str(error))
        return []
    keys, *found = [_cells(line) for line in lines] or [[]]
    if (lines or last) and (not keys or "step" not in keys):
        damage.append(f"{path} has a damaged first line and is skipped")
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
        damage.append(f"{path}: damaged lines are skipped: {shown}")
    return rows


def _cells(line: bytes) -> list[str] | None:
    """The cells of one line, parsed separately so that a stray quote cannot swallow later lines."""
    try:
        text = line.decode().rstrip("\r")
        return None if "\0" in text else next(csv.reader([text]), None)
    except (UnicodeDecodeError, csv.Error):
        return None


def last_logged(folder: Path, key: str) -> float | None:
    """The last logged value of the last start, including non-finite ones, which curves omit."""
    present = renamed.logged(key, _newest(folder, FACTS, read_json, []).get("method"))
    for path in reversed(METRICS.all(folder)):
        rows = csv.DictReader(path.read_text(encoding="utf-8", errors="replace").splitlines())
        for cell in filter(None, reversed([row.get(present) or row.get(key) for row in rows])):
            with contextlib.suppress(ValueError):
                return float(cell)
    return None


def join_segments(segments: Sequence[list[dict[str, float]]]) -> tuple[dict[str, Curve], str | None]:
    """One curve per key over images_seen. Where two segments overlap, the later one wins.

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
    """The rows of the final trajectory with their images_seen, and the number of segments without any."""
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
    """Rows without images_seen (validation) take it from neighbouring rows, by step."""
    known = sorted({(row["step"], row["images_seen"]) for row in rows if "step" in row and "images_seen" in row})
    steps, seen = [k[0] for k in known], [k[1] for k in known]
    placed = []
    for row in rows:
        if "images_seen" in row:
            placed.append((row["images_seen"], row))
        elif "step" in row and known:
            placed.append((float(np.interp(row["step"], steps, seen)), row))
    return placed
