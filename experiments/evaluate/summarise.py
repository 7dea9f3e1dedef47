"""From the journal of a job to its record."""

import math
import statistics
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from experiments.evaluate.job import Job
from experiments.evaluate.source import Source
from experiments.records.intervals import FEW, mean_interval
from experiments.records.record import NOT_RUN, Bucket, MetricResult, Record
from experiments.run.journal import Row
from lit_inpaint.metrics import definition, metric
from lit_inpaint.metrics.inception import from_features
from lit_inpaint.sampling import sampler_of
from masks.area import RECORDED, inside, name_of

Numbers = dict[str, tuple[float | None, int]]  # of a metric: the number, and the images that it stands on


def summarise(job: Job, source: Source, rows: list[Row], device: str) -> Record:
    """The record of a complete journal."""
    adaptations: dict[str, int] = {}
    for row in rows:
        if row["adaptation"]:
            adaptations[row["adaptation"]] = adaptations.get(row["adaptation"], 0) + 1
    said = "; ".join(f"{what} ({count} of {len(rows)} images)" for what, count in adaptations.items())
    names = [n for n in job.protocol.metrics if n not in job.left_out and (source.diverse or not metric(n).of_samples)]
    groups = {name_of(bucket): [r for r in rows if inside(r["hole_share"], bucket)] for bucket in RECORDED}
    whole = numbers(job, rows, names)
    seconds = [row["seconds"] for row in rows if row["seconds"] is not None]
    calls = [int(row["network_calls"]) for row in rows if row.get("network_calls") is not None]
    moved = [float(row["known_change"]) for row in rows if row.get("known_change") is not None]
    buckets = {bucket: numbers(job, group, names) for bucket, group in groups.items() if group}
    facts = job.protocol.described()
    photographs = facts.photograph_of(row["image"] for row in rows)
    results = {name: _result(name, rows, whole, buckets, job.left_out, photographs) for name in job.protocol.metrics}
    record = Record(
        facts,
        source.described(),
        results,
        {row["image"]: row["hole_share"] for row in rows},
        statistics.median(seconds) if seconds else None,
        max((row["memory"] for row in rows if row["memory"]), default=None),
        device,
        versions(),
        adaptation=said or None,
        network_calls=statistics.median(calls) if len(calls) == len(rows) else None,  # a journal of before has none
        known_change=statistics.fmean(moved) if len(moved) == len(rows) else None,
    )
    reasons = [f"{name} left out: {result.reason}" for name, result in results.items() if result.reason]
    elsewhere = [NOT_RUN] if record.method.outputs is not None else []
    sampled = [f"sampled by {sampler_of(job.sampler)}"] if job.sampler else []
    pasted = " before they were pasted back" if job.protocol.measured == "composite" else ""
    changed = [f"known pixels moved by {statistics.fmean(moved):.2f} of 255{pasted}"] if moved else []
    record.note = "; ".join([*elsewhere, *sampled, *changed, *reasons]) or None
    return record


def _result(
    name: str,
    rows: list[Row],
    whole: Numbers,
    buckets: dict[str, Numbers],
    left_out: dict[str, str],
    photographs: dict[str, int],
) -> MetricResult:
    result = MetricResult(definition(name))
    if name in left_out:
        result.reason = left_out[name].partition(":")[0]  # the remedy was printed on the screen
    elif name not in whole:
        result.reason = "n/a: the method gives one completion per image"
    else:
        result.mean, result.n = whole[name]
        result.left_out = len(rows) - result.n
        of = [photographs[row["image"]] for row in rows if row["values"].get(name, 0) is not None]
        result.few = min(result.n, len(set(of))) < FEW
        result.buckets = {bucket: Bucket(*found[name]) for bucket, found in buckets.items()}
        if not metric(name).of_set:
            result.values = {row["image"]: row["values"][name] for row in rows}
            result.interval = mean_interval([v for v in result.values.values() if v is not None], of)
        errors = [row["errors"][name] for row in rows if name in row["errors"]]
        result.reason = errors[0] if errors else None if result.mean is not None else "undefined on every image"
    return result


def numbers(job: Job, rows: list[Row], names: list[str]) -> Numbers:
    """Set metrics; features are read once for all metrics that use them."""
    out: Numbers = {}
    metrics = [metric(name) for name in names]
    for features in dict.fromkeys(m.features for m in metrics if m.features):
        folders = (job.features_folder(features), job.truth_features_folder(features))
        fake, real = (np.stack([np.load(folder / f"{row['index']}.npy") for row in rows]) for folder in folders)
        given = {name: m for name, m in zip(names, metrics, strict=True) if m.features == features}
        for name, value in zip(given, from_features([*given.values()], fake, real), strict=True):
            out[name] = (None, 0) if math.isnan(value) else (value, len(rows))
    for name, found in zip(names, metrics, strict=True):
        if found.features:
            continue
        values = [value for row in rows if (value := row["values"][name]) is not None]
        mean = math.fsum(values) / len(values) if values else None
        if found.after_mean and mean is not None:
            mean = found.after_mean(mean)
        out[name] = (mean if mean is not None and math.isfinite(mean) else None, len(values))
    return out


def versions() -> dict[str, str]:
    found = {}
    for package in ("lit-inpaint", "torch", "torchvision", "torchmetrics", "lpips", "numpy", "opencv-python-headless"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
