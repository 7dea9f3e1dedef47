"""The record of one method under one protocol: what ``benchmark`` writes and ``compare`` reads."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from experiments.files import write_text

FORMAT = 1


@dataclass
class MetricResult:
    """One number of a record.

    Args:
        definition: Name, version and formula.
        values: One value an image, None where undefined; empty for a metric of the whole set.
        mean: Of the defined values, or the number of the set; None if there is none.
        interval: 95 % bootstrap interval of the mean; None under 20 values.
        n: Images that the number stands on.
        left_out: Images on which it is undefined.
        few: Under 50 images.
        reason: Why there is no number.
        buckets: {"0.1-0.2": {"mean", "n"}} by share of hole, lower end excluded.
    """

    definition: str
    values: dict[str, float | None] = field(default_factory=dict)
    mean: float | None = None
    interval: tuple[float, float] | None = None
    n: int = 0
    left_out: int = 0
    few: bool = False
    reason: str | None = None
    buckets: dict[str, dict[str, float | int | None]] = field(default_factory=dict)


@dataclass
class Record:
    """Everything that stands behind one row of a table. Images are keyed by their path in the data set, without suffix.

    Args:
        protocol: name, hash, definition, mask (in words), published (reference rows).
        method: name, label, checkpoint, checkpoint_sha256, weights ("raw" | "ema" | "none"), parameters
            {network: count}, seed, images_seen, run.
        hole_share: Of each image.
        seconds_per_image: Median over the images, transfers and metrics left out.
        peak_memory_bytes: Of the device; of the process where the device is the CPU.
        adaptation: What was done to images that the network cannot take as they are.
        not_applicable: Why the method has no numbers here.
        note: Anything else that a reader of the table must know.
    """

    protocol: dict[str, Any]
    method: dict[str, Any]
    metrics: dict[str, MetricResult] = field(default_factory=dict)
    hole_share: dict[str, float] = field(default_factory=dict)
    seconds_per_image: float | None = None
    peak_memory_bytes: int | None = None
    device: str = "cpu"
    versions: dict[str, str] = field(default_factory=dict)
    adaptation: str | None = None
    not_applicable: str | None = None
    note: str | None = None
    format: int = FORMAT

    def check(self) -> None:
        """Refuse a record that contradicts itself; called before it is written and after it is read."""
        if self.format != FORMAT:
            raise ValueError(f"record has format {self.format!r}; this version reads {FORMAT}. Benchmark it again.")
        for name, metric in self.metrics.items():
            defined = [v for v in metric.values.values() if v is not None]
            if metric.values and (len(defined) != metric.n or len(metric.values) != metric.n + metric.left_out):
                raise ValueError(f"{name} says {metric.n} + {metric.left_out} images, its values {len(metric.values)}.")
            if defined and (metric.mean is None or not math.isclose(math.fsum(defined) / len(defined), metric.mean)):
                raise ValueError(f"the mean of {name}, {metric.mean}, is not that of its values.")


def write_record(record: Record, path: Path) -> None:
    """Write it beside its place, flush it to the disk, then rename: a kill leaves the old record or the new one."""
    record.check()
    write_text(path, json.dumps(asdict(record), indent=1, allow_nan=False) + "\n")


def read_record(path: Path) -> Record:
    """A checked record.

    Raises:
        ValueError: The file is no record, of another format, or contradicts itself.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        metrics = {name: MetricResult(**metric) for name, metric in data.pop("metrics").items()}
        record = Record(metrics=metrics, **data)
        record.check()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no record of a benchmark ({error}); delete it and run again.") from error
    return record
