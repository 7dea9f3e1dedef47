"""Read the outputs of runs and benchmarks: records with their votes, training curves."""

from collections.abc import Iterable
from pathlib import Path

from experiments.records.files import read_column, read_record
from experiments.records.record import Record
from experiments.run import Run
from experiments.run.curves import History
from experiments.run.names import METRICS
from masks.walk import folders_below

_SKIPPED = {"images", "journal", "wandb", "checkpoints", "panels", "votes"}


def read_folders(folders: Iterable[Path], votes: bool = True) -> tuple[list[Record], list[History]]:
    """Every record and every training run at or under ``folders``; a folder given twice counts once.

    Args:
        votes: Add the columns of votes to the records.

    Raises:
        ValueError: If a folder is missing, holds neither, or holds an invalid file.
    """
    records: dict[Path, Record] = {}
    runs: dict[Path, History] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder; give the output folder of a benchmark or of a training run.")
        found = 0
        for below, files in folders_below(folder.resolve(), _SKIPPED.__contains__, strict=False):
            place = folder.resolve() / below
            own = place.resolve()  # the same by another folder's link
            if place.parent.name == "records":
                for name in (f for f in files if f.endswith(".json")):
                    records[own / name] = read_record(place / name)
                    found += 1
            if METRICS.among(files):
                runs[own] = Run(place).history
                found += 1
        if not found:
            raise ValueError(f"{folder} holds no records/*/*.json and no metrics.csv; run `lit-inpaint benchmark`.")
    if votes:
        _add_votes(records)
    return list(records.values()), list(runs.values())


def _add_votes(records: dict[Path, Record]) -> None:
    """Give every record its column of votes, if there is one."""
    hashes: dict[Path, dict[str, str]] = {}
    for path, record in records.items():
        hashes.setdefault(path.parent, {})[record.label] = record.method_hash
    for path, record in records.items():
        if record.votes_path.is_file():
            record.metrics["votes"] = read_column(record.votes_path, hashes[path.parent])
