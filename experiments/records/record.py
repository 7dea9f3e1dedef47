"""The record of one method under one protocol: what ``benchmark`` writes and ``compare`` reads."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NotRequired

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from experiments.files.write import write_text
from experiments.records.intervals import mean_interval
from masks.area import bucket_of, inside

FORMAT = 1
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class NewerFormatError(ValueError):
    """A file is not damaged, but of a version that is not known here: it must not be written over."""


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
    __pydantic_config__: ClassVar = _STRICT


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
    __pydantic_config__: ClassVar = _STRICT

    def check(self) -> None:
        """Refuse a record that contradicts itself; called before it is written and after it is read."""
        if self.format != FORMAT:
            raise ValueError(f"record has format {self.format!r}; this version reads {FORMAT}. Benchmark it again.")
        _PROTOCOL.validate_python(self.protocol, strict=True)
        _METHOD.validate_python(self.method, strict=True)
        if (found := hash_of(self.protocol["definition"])) != self.protocol["hash"]:
            raise ValueError(f"its hash is {self.protocol['hash'][:8]}, that of its definition {found[:8]}")
        for name, metric in self.metrics.items():
            self._check_metric(name, metric)

    def _check_metric(self, name: str, metric: MetricResult) -> None:
        """Count, mean, interval and buckets are those of the values, where there are values of single images."""
        if not metric.values:
            return
        defined = [v for v in metric.values.values() if v is not None]
        if len(defined) != metric.n or len(metric.values) != metric.n + metric.left_out:
            raise ValueError(f"{name} says {metric.n} + {metric.left_out} images, its values {len(metric.values)}.")
        if set(metric.values) != set(self.hole_share or metric.values):
            raise ValueError(f"the images of {name} are not those of hole_share.")
        if not _close(metric.mean, math.fsum(defined) / len(defined) if defined else None):
            raise ValueError(f"the mean of {name}, {metric.mean}, is not that of its values.")
        low, high = mean_interval(defined) or (None, None)
        # Another numpy may draw other resamples.
        same = self.versions.get("numpy") == np.__version__ or low is None or high is None
        slack = 0.0 if same else 0.1 * (high - low)  # type: ignore[operator]
        if not all(_close(*pair, slack) for pair in zip(metric.interval or (None, None), (low, high), strict=True)):
            raise ValueError(f"the interval of {name}, {metric.interval}, is not that of its values.")
        for bucket, said in metric.buckets.items():
            area = bucket_of(bucket)
            values = [v for k, v in metric.values.items() if v is not None and inside(self.hole_share[k], area)]
            mean = math.fsum(values) / len(values) if values else None
            if said["n"] != len(values) or not _close(said["mean"], mean):
                raise ValueError(f"the mean of {name} at {bucket} of hole, {said['mean']}, is not that of its values.")


class _PublishedRow(TypedDict):
    label: NotRequired[str]
    metrics: dict[str, Any]
    source: str


class _ProtocolKeys(TypedDict):
    name: str
    hash: str
    definition: dict[str, Any]
    about: NotRequired[str]
    mask: NotRequired[str]
    published: NotRequired[list[_PublishedRow]]


class _MethodKeys(TypedDict):
    name: str
    label: str
    weights: str
    parameters: dict[str, int] | None
    checkpoint: NotRequired[str | None]
    run: NotRequired[str | None]


_PROTOCOL, _METHOD = TypeAdapter(_ProtocolKeys), TypeAdapter(_MethodKeys)


def _close(a: float | None, b: float | None, slack: float = 0.0) -> bool:
    return a is b if a is None or b is None else math.isclose(a, b, rel_tol=1e-9, abs_tol=slack + 1e-12)


def hash_of(value: Any) -> str:
    """sha256 of plain values, independent of the order of keys.

    >>> hash_of({"a": 1, "b": [2]}) == hash_of({"b": [2], "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_record(record: Record, path: Path) -> None:
    """Write it beside its place, flush it to the disk, then rename: a kill leaves the old record or the new one."""
    record.check()
    write_text(path, json.dumps(asdict(record), indent=1, allow_nan=False) + "\n")


def read_record(path: Path) -> Record:
    """A checked record: its hash is recomputed from its definition, its means and intervals from its values.

    Raises:
        NewerFormatError: It was written by a newer version.
        ValueError: The file is no record, of another format, or contradicts itself.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text)
        newer = data.get("format") if isinstance(data, dict) else None
        if not (isinstance(newer, int) and newer > FORMAT):
            record = _RECORD.validate_json(text)
            record.check()
            return record
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is no record of a benchmark ({_reason(error)}); delete it and run again.") from error
    raise NewerFormatError(f"{path} has format {newer}, of a newer lit-inpaint; this one reads {FORMAT}. Update it.")


def read_column(path: Path) -> MetricResult:
    """The column of votes that `lit-inpaint vote --result` wrote.

    Raises:
        ValueError: The file is no such column, or its mean is not that of its values.
    """
    try:
        metric = _COLUMN.validate_json(path.read_bytes())
        defined = [v for v in metric.values.values() if v is not None]
        if not _close(metric.mean, math.fsum(defined) / len(defined) if defined else None) or metric.n != len(defined):
            raise ValueError(f"the mean of its {metric.n} images, {metric.mean}, is not that of its values")
        return metric
    except ValueError as error:
        raise ValueError(f"{path} is no column of votes ({_reason(error)}); `vote --result` writes it anew.") from error


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error).rstrip(".") or type(error).__name__
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")


_RECORD, _COLUMN = TypeAdapter(Record), TypeAdapter(MetricResult)
