"""The record of one method under one protocol: what ``benchmark`` writes and everything else reads."""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import ConfigDict

from experiments.files.markup import panel, table
from experiments.records.intervals import mean_interval
from masks.area import bucket_of, inside

FORMAT = 1
_PANEL = 4  # images of a record that a notebook shows
NOT_RUN = "outputs, not run here"
NOT_VOTED = "not voted yet"
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_OPEN = ConfigDict(
    strict=True, extra="ignore", allow_inf_nan=False
)  # 0.1 accepted unknown keys here, so they are not damage


@dataclass(kw_only=True)
class PublishedRow:
    """One reference row from a paper, with its published values. It is never ranked with measured ones."""

    label: str = ""
    metrics: dict[str, float | int | str]
    source: str
    __pydantic_config__: ClassVar = _OPEN


@dataclass
class ProtocolFacts:
    """The protocol as stored in a record.

    Args:
        hash: Hash of ``definition``.
        definition: Everything that two comparable numbers share.
        data: Summary of the data set (:func:`datamodules.summary.summarise`); None in records of 0.1.0.
        mask: The mask distribution, as text.
        mask_set: Number and SHA-256 of the mask files of a set, used ones and others; None where masks are drawn.
        published: Reference rows; not part of the hash.
    """

    name: str
    hash: str
    definition: dict[str, object]
    about: str = ""
    data: dict[str, object] | None = None
    mask: str = ""
    published: list[PublishedRow] = field(default_factory=list)
    mask_set: dict[str, int | str] | None = None
    __pydantic_config__: ClassVar = _OPEN

    @property
    def photographs(self) -> int | None:
        """Number of distinct images: a protocol may use several holes per image."""
        listed = self.definition.get("images")
        return (listed["count"] if "sha256" in listed else len(listed)) if isinstance(listed, dict) else None

    def photograph_of(self, images: Iterable[str]) -> dict[str, int]:
        """Which photograph each image of a record shows: further holes of a.png are a-1, a-2, ..."""
        names = [*images]
        count = self.photographs or len(names)
        return {
            name: index % count if name == f"{names[index % count]}-{index // count}" else index
            for index, name in enumerate(names)
        }

    @property
    def mask_files(self) -> str | None:
        """The set of mask files in words."""
        return f"{self.mask_set['files']} files, SHA-256 {str(self.mask_set['sha256'])[:8]}" if self.mask_set else None


@dataclass(kw_only=True)
class MethodFacts:
    """The method as stored in a record.

    Args:
        name: Its class; "outputs" where another program made the completions.
        weights: "raw", "ema" or "none".
        parameters: Number of parameters per network; None if unknown.
        images_seen: Images seen in training.
        run: The folder of the training run.
        outputs: sha256 of every file, where another program made the completions.
        repository: Name of the repository of the Hub that it was loaded from, user/name.
        revision: The repository's commit.
        settings: What the method was made with, where a YAML says so.
        sources: sha256 of the files of a method that is not ours, by module.
        given: The YAML or the folder of outputs that it was given by.
    """

    name: str
    label: str
    checkpoint: str | None = None
    checkpoint_sha256: str | None = None
    weights: str
    parameters: dict[str, int] | None
    seed: int | None = None
    images_seen: int | None = None
    run: str | None = None
    outputs: dict[str, str] | None = None
    repository: str | None = None
    revision: str | None = None
    settings: dict[str, object] | None = None
    sources: dict[str, str] | None = None
    given: str | None = None
    __pydantic_config__: ClassVar = _OPEN


@dataclass
class Bucket:
    """Mean over the ``n`` images whose hole area lies in one range."""

    mean: float | None
    n: int
    __pydantic_config__: ClassVar = _STRICT


@dataclass
class MetricResult:
    """One number of a record.

    Args:
        definition: Name, version and formula.
        values: One value per image, None where undefined; empty for a metric of the whole set.
        mean: Mean of the defined values, or the set's single value; None if there is none.
        interval: 95 % bootstrap interval of the mean; None for fewer than 20 photographs.
        n: Images on which it is defined; a photograph with several holes counts once for each.
        left_out: Images on which it is undefined.
        few: Fewer than 50 photographs.
        reason: Why there is no value.
        buckets: By hole area, "0.1-0.2": above 0.1, at most 0.2.
    """

    definition: str
    values: dict[str, float | None] = field(default_factory=dict)
    mean: float | None = None
    interval: tuple[float, float] | None = None
    n: int = 0
    left_out: int = 0
    few: bool = False
    reason: str | None = None
    buckets: dict[str, Bucket] = field(default_factory=dict)
    __pydantic_config__: ClassVar = _STRICT


@dataclass
class Record:
    """Everything about one row of a table. Images are keyed by their path in the data set, without suffix.

    Args:
        hole_share: Hole area of each image.
        seconds_per_image: Median over the images, without transfers and metrics.
        peak_memory_bytes: Peak of the device, or of the process on a CPU.
        adaptation: How images were adapted to sizes the network accepts.
        not_applicable: Why the method has no values here.
        note: Further notes for readers of the table.
        refused: The method itself does not take these images or holes; None otherwise.
        network_calls: Forward and backward passes per image, for all its completions: the median over the images. None
            in records of 0.1.0.
        known_change: Mean absolute change of the known pixels, in 8-bit levels, before they were pasted back: the mean
            over the images. None for methods that leave them where they are.

    ``path`` is the file it was read from, and is not written.
    """

    protocol: ProtocolFacts
    method: MethodFacts
    metrics: dict[str, MetricResult] = field(default_factory=dict)
    hole_share: dict[str, float] = field(default_factory=dict)
    seconds_per_image: float | None = None
    peak_memory_bytes: int | None = None
    device: str = "cpu"
    versions: dict[str, str] = field(default_factory=dict)
    adaptation: str | None = None
    not_applicable: str | None = None
    note: str | None = None
    network_calls: float | None = None
    refused: bool | None = None
    known_change: float | None = None
    format: int = FORMAT
    path: Path | None = field(default=None, init=False, compare=False, repr=False)
    __pydantic_config__: ClassVar = _STRICT

    @property
    def label(self) -> str:
        return self.method.label or self.method.name

    @property
    def hash(self) -> str:
        return self.protocol.hash

    @property
    def remark(self) -> str | None:
        """The note without what table cells already show ('fid left out: ...')."""
        told = tuple(f"{name} left out:" for name in self.metrics)
        return "; ".join(part for part in (self.note or "").split("; ") if not part.startswith(told)) or None

    @property
    def source(self) -> str:
        return str(self.path or self.method.run or self.label)

    @property
    def votes_path(self) -> Path:
        """Path where `lit-inpaint vote --result` stores the votes on this method."""
        assert self.path is not None
        return votes_of(self.path)

    @property
    def method_hash(self) -> str:
        """Hash of all that makes other pictures of the same protocol: the method, its code if it is not ours, its
        weights and its sampler, wherever its files lie and whatever the table calls it."""
        m = self.method
        sampler = [part for part in (self.note or "").split("; ") if part.startswith("sampled by ")]
        made = [m.name, m.sources, m.settings, m.weights, m.checkpoint_sha256, m.repository, m.revision, m.outputs]
        return hash_of([*made, sampler])

    def picture_folder(self, kind: str | None = None) -> Path | None:
        """OUT/images/<protocol>/<label>, or the shared ``_truth``, ``_mask``, ``_input``; None if not kept."""
        if self.path is None:
            return None
        folder = self.path.parents[2] / "images" / self.path.parent.name / (kind or self.path.stem)
        return folder if folder.is_dir() else None

    def _repr_html_(self) -> str:
        """Metrics with their intervals and the first pictures, for a notebook."""
        from lit_inpaint.metrics import quantity

        rows = []
        for name, metric in self.metrics.items():
            known = quantity(name)
            numbers = [
                f"{v:.{known.decimals if known else 4}f}"
                for v in (metric.mean, *(metric.interval or ()))
                if v is not None
            ]
            mean = numbers[0] if numbers else f"n/a: {escape(metric.reason or '')}"
            rows.append([escape(name), mean, f"[{', '.join(numbers[1:])}]" if numbers[1:] else "", str(metric.n)])
        said = [self.not_applicable, self.adaptation, self.remark]
        folders = {kind: self.picture_folder(kind) for kind in ("_input", None, "_truth")}
        names = {"_input": "input", None: self.label, "_truth": "truth"}
        pictures = {
            names[kind]: [folder / f"{image}.png" for image in [*self.hole_share][:_PANEL]]
            for kind, folder in folders.items()
            if folder
        }
        head = f"<p><b>{escape(self.label)}</b> under {escape(self.protocol.name)} ({self.hash[:8]})</p>"
        notes = "".join(f"<p>{escape(note)}</p>" for note in said if note)
        return head + table(["", "mean", "95 %", "images"], rows) + notes + panel(pictures)

    def check(self) -> None:
        """Reject an inconsistent record; called before writing and after reading."""
        if self.format != FORMAT:
            raise ValueError(f"record has format {self.format!r}; this version reads {FORMAT}. Benchmark it again.")
        if (found := hash_of(self.protocol.definition)) != self.protocol.hash:
            raise ValueError(f"its hash is {self.protocol.hash[:8]}, that of its definition {found[:8]}")
        for name, metric in self.metrics.items():
            if metric.values:
                self._check_metric(name, metric)
                self._check_buckets(name, metric)

    def _check_metric(self, name: str, metric: MetricResult) -> None:
        """Check count, mean and interval against the values."""
        defined = [v for v in metric.values.values() if v is not None]
        if len(defined) != metric.n or len(metric.values) != metric.n + metric.left_out:
            raise ValueError(
                f"{name} states {metric.n} + {metric.left_out} images, but has {len(metric.values)} values."
            )
        if set(metric.values) != set(self.hole_share or metric.values):
            raise ValueError(f"the images of {name} are not those of hole_share.")
        if not close(metric.mean, math.fsum(defined) / len(defined) if defined else None):
            raise ValueError(f"the mean of {name}, {metric.mean}, is not that of its values.")
        photographs = self.protocol.photograph_of(self.hole_share or metric.values)
        of = [photographs[image] for image, v in metric.values.items() if v is not None]
        # Until 0.2.0, several holes of one photograph were drawn as if they were several photographs.
        allowed = [mean_interval(defined, of)] + ([mean_interval(defined)] if len(set(of)) < len(of) else [])
        if not any(self._same(metric.interval, interval) for interval in allowed):
            raise ValueError(f"the interval of {name}, {metric.interval}, is not that of its values.")

    def _same(self, stated: tuple[float, float] | None, found: tuple[float, float] | None) -> bool:
        """Another numpy may draw other resamples."""
        if stated is None or found is None:
            return stated is found
        slack = 0.0 if self.versions.get("numpy") == np.__version__ else 0.1 * (found[1] - found[0])
        return all(close(*pair, slack) for pair in zip(stated, found, strict=True))

    def _check_buckets(self, name: str, metric: MetricResult) -> None:
        for area, bucket in metric.buckets.items():
            limits = bucket_of(area)
            values = [v for k, v in metric.values.items() if v is not None and inside(self.hole_share[k], limits)]
            mean = math.fsum(values) / len(values) if values else None
            if bucket.n != len(values) or not close(bucket.mean, mean):
                raise ValueError(f"the mean of {name} at {area} of hole, {bucket.mean}, is not that of its values.")


def votes_of(record: Path) -> Path:
    """The column of votes that belongs to the file of a record."""
    return record.parents[2] / "votes" / record.parent.name / record.name


def close(a: float | None, b: float | None, slack: float = 0.0) -> bool:
    """Equal up to rounding, or both None."""
    return a is b if a is None or b is None else math.isclose(a, b, rel_tol=1e-9, abs_tol=slack + 1e-12)


def hash_of(value: object) -> str:
    """sha256 of plain values, independent of the order of keys.

    >>> hash_of({"a": 1, "b": [2]}) == hash_of({"b": [2], "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
