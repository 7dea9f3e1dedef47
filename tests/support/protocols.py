"""A protocol in a file, `benchmark` on it, and the records that it wrote."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from experiments.evaluate import benchmark
from experiments.records.files import read_record
from experiments.records.record import Record
from lit_inpaint.metrics import CHEAP


def write_protocol(folder: Path, **changes: Any) -> Path:
    config = {"name": "try", "size": 64, "mask": {"class_path": "masks.Wide"}, "metrics": list(CHEAP), **changes}
    if "masks" in config:
        del config["mask"]
    path = folder / "try.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def run(*arguments: Any) -> int:
    return benchmark.main([str(a) for a in arguments])


def records(out: Path) -> dict[str, Record]:
    return {f"{path.parent.name}/{path.stem}": read_record(path) for path in sorted(out.glob("records/*/*.json"))}


def without_cost(found: dict[str, Record]) -> dict[str, Record]:
    return {key: replace(record, seconds_per_image=None, peak_memory_bytes=None) for key, record in found.items()}
