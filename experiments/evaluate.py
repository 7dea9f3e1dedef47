"""One method under one protocol, image by image, so that a killed evaluation goes on where it stopped.

Every finished batch is one write to a journal: its images' values, times and adaptations. The record is computed from
the journal alone, so an interrupted evaluation ends in the same numbers as an uninterrupted one.
"""

import fcntl
import io
import json
import math
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datamodules.evaluation import collate
from experiments.intervals import FEW, mean_interval
from experiments.protocol import Protocol
from experiments.record import MetricResult, Record, read_record, write_record
from lit_inpaint.load import load_method
from lit_inpaint.metrics import definition, metric, round_to_8_bits, unavailable
from lit_inpaint.metrics.inception import from_features, inception_features, refusal
from lit_inpaint.module import InpaintingModule, keyed_generators, parameter_counts
from lit_inpaint.weights import sha256
from masks.convention import InpaintingBatch, erase

INCEPTION = ("fid", "p_ids", "u_ids")
BUCKETS = ((0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (0.6, 1.0))  # NVIDIA's, and the rest
Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What one process does: a method (class name or checkpoint) under a protocol, into an output folder."""

    method: str
    label: str
    protocol: Protocol
    out: Path
    weights: Literal["ema", "raw"] = "ema"
    batch_size: int = 1

    @property
    def record_path(self) -> Path:
        return self.out / "records" / self.protocol.folder / f"{self.label}.json"

    @property
    def journal_folder(self) -> Path:
        return self.out / "journal" / self.protocol.folder / self.label

    def pictures(self, kind: str) -> Path:
        return self.out / "images" / self.protocol.folder / kind

    def left_out(self) -> dict[str, str]:
        """Metrics of the protocol that cannot be computed here, and why."""
        count = len(self.protocol.images)
        reasons = {name: unavailable(name) for name in self.protocol.metrics}
        reasons |= {n: refusal(n, count) for n in self.protocol.metrics if n in INCEPTION and not reasons[n]}
        return {name: reason for name, reason in reasons.items() if reason}

    def identity(self) -> dict[str, Any]:
        """A journal with another identity belongs to something else and is begun anew."""
        path = Path(self.method)
        return {
            "protocol": self.protocol.hash,
            "method": self.method if not path.is_file() else sha256(path),
            "weights": self.weights,
            "batch_size": self.batch_size,
            "left_out": sorted(self.left_out()),
        }


def key_of(name: str) -> str:
    """An image's key in records and folders: its path in the data set without suffix."""
    return str(PurePosixPath(name).with_suffix(""))


class Journal:
    """Lines of JSON: the identity of the job, then one line an image. Only whole batches count."""

    def __init__(self, job: Job) -> None:
        self.path = job.journal_folder / "journal.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.identity = job.identity()
        self.rows: dict[int, Row] = {}
        self._valid = 0  # bytes of whole lines that belong to this job
        content = self.path.read_bytes() if self.path.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        lines = [json.loads(line) for line in whole.splitlines()]
        if lines and lines[0] == self.identity:
            self._valid = len(whole)
            self.rows = {row["index"]: row for row in lines[1:]}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the journal alone; what a kill left of a last line is cut off."""
        with open(self.path, "a", encoding="utf-8") as self._file:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"another benchmark is writing {self.path}; wait or give another --out.") from None
            self._file.truncate(self._valid)
            if not self._valid:
                self._write([self.identity])
            yield

    def append(self, rows: list[Row]) -> None:
        self._write(rows)
        self.rows.update({row["index"]: row for row in rows})

    def _write(self, lines: list[dict[str, Any]]) -> None:
        self._file.write("".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))
        self._file.flush()
        os.fsync(self._file.fileno())


def finished(job: Job) -> Record | None:
    """The record of a job that is done and has numbers; a failed one is tried again."""
    if not job.record_path.is_file() or len(Journal(job).rows) < len(job.protocol.images):
        return None
    record = read_record(job.record_path)
    return None if record.not_applicable else record


def evaluate(job: Job, device: str = "cpu", advance: Callable[[int], None] = lambda done: None) -> Record:
    """Run a job, or what is left of it. What fails becomes a record that says why, and never an exception.

    Args:
        advance: Called with the number of images that are done.
    """
    if record := finished(job):
        advance(len(job.protocol.images))
        return record
    try:
        record = _evaluate(job, torch.device(device), advance)
    except Exception as error:  # one failing method must not stop the others
        reason = " ".join(str(error).split()) or type(error).__name__
        said = reason if isinstance(error, ValueError) else f"failed: {type(error).__name__}: {reason}"
        about = (job.protocol.described(), describe(job, None))
        record = Record(*about, device=device, versions=versions(), not_applicable=said)
    write_record(record, job.record_path)
    return record


def _evaluate(job: Job, device: torch.device, advance: Callable[[int], None]) -> Record:
    protocol = job.protocol
    module = load_method(job.method, job.weights, device)
    left_out = job.left_out()
    journal = Journal(job)
    with journal.writing():
        advance(len(journal.rows))
        for start in range(0, len(protocol.images), job.batch_size):
            indices = range(start, min(start + job.batch_size, len(protocol.images)))
            if all(index in journal.rows for index in indices):
                continue
            batch = collate([protocol.images[index] for index in indices])
            journal.append(_measure(job, module, batch, indices, device, left_out))
            advance(len(journal.rows))
    rows = [journal.rows[index] for index in range(len(protocol.images))]
    return summarise(job, module, rows, left_out, str(device))


@torch.no_grad()
def _measure(
    job: Job,
    module: InpaintingModule,
    batch: InpaintingBatch,
    indices: range,
    device: torch.device,
    left_out: dict[str, str],
) -> list[Row]:
    protocol, names = job.protocol, [str(name) for name in batch.name]
    image, mask = batch.image.to(device), batch.mask.to(device)
    _reset_peak_memory(device)
    start = time.perf_counter()
    samples = complete(module, image, mask, names, protocol)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = (time.perf_counter() - start) / len(names)
    memory = _peak_memory(device)
    if not bool(samples.isfinite().all()):
        raise ValueError(f"the output for {names[0]} is not finite; nothing can be measured.")
    if protocol.round_to_8_bits:
        samples, target = round_to_8_bits(samples), round_to_8_bits(image)
    else:
        samples, target = samples.float(), image
    rows: list[Row] = [
        {
            "index": index,
            "image": key_of(name),
            "values": {},
            "errors": {},
            "hole_share": mask[i].mean().item(),
            "seconds": seconds,
            "memory": memory,
            "adaptation": module.adaptation(mask[i]),
        }
        for i, (index, name) in enumerate(zip(indices, names, strict=True))
    ]
    for name in protocol.metrics:
        if name in left_out or name in INCEPTION or (name == "diversity_lpips" and not module.diverse):
            continue
        try:
            values = metric(name)(samples if name == "diversity_lpips" else samples[0], target, mask).tolist()
        except ValueError as error:  # this metric has no number for these images; the others have
            values = [math.nan] * len(rows)
            for row in rows:
                row["errors"][name] = str(error)
        for row, value in zip(rows, values, strict=True):
            row["values"][name] = value if math.isfinite(value) else None
    if any(name in INCEPTION and name not in left_out for name in protocol.metrics):
        _keep_features(job, samples[0], target, indices)
    erased = erase(target, mask)
    for i, row in enumerate(rows):
        for kind, picture in {"_truth": target[i], "_input": erased[i], "_mask": mask[i] * 2 - 1}.items():
            if not (path := job.pictures(kind) / f"{row['image']}.png").is_file():
                save_png(picture, path)
        save_png(samples[0][i], job.pictures(job.label) / f"{row['image']}.png")
    return rows


def complete(module: InpaintingModule, image: Tensor, mask: Tensor, names: list[str], protocol: Protocol) -> Tensor:
    """Completions (n, B, 3, H, W); the first is what ``validate`` and ``test`` would measure."""
    if protocol.measured == "composite":
        if protocol.samples > 1:
            return module.sample(image, mask, protocol.samples, protocol.seed, names)
        guides = {"generators": keyed_generators(protocol.seed, names, 0)} if module.diverse else {}
        return module(image, mask, **guides)[None]
    height, width = image.shape[-2:]
    if height % module.multiple or width % module.multiple or module.fixed_size not in (None, height):
        raise ValueError(f"raw output of {width}x{height} images cannot be measured: the network adapts their size.")
    draws = [keyed_generators(protocol.seed, names, k) if module.diverse else None for k in range(protocol.samples)]
    guided = [{"generators": g} if g is not None else {} for g in draws]
    return torch.stack([module.predict(image, mask, **guides).clamp(-1, 1) for guides in guided])


def _keep_features(job: Job, prediction: Tensor, target: Tensor, indices: range) -> None:
    """Inception features of each image, once; those of the truth serve every method."""
    truth = job.journal_folder.parent / "_truth_features"
    missing = [i for i, index in enumerate(indices) if not (truth / f"{index}.npy").is_file()]
    found = inception_features(torch.cat([prediction, target[missing]])).cpu().numpy()
    for i, index in enumerate(indices):
        _save_array(found[i], job.journal_folder / "features" / f"{index}.npy")
    for place, i in enumerate(missing):
        _save_array(found[len(indices) + place], truth / f"{indices[i]}.npy")


def _save_array(array: np.ndarray, path: Path) -> None:
    content = io.BytesIO()
    np.save(content, array)
    _write_bytes(content.getvalue(), path)


def save_png(image: Tensor, path: Path) -> None:
    """(C, H, W) in [-1, 1], rounded to 8 bits."""
    levels = image.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    content = io.BytesIO()
    picture = Image.fromarray(levels.squeeze(-1) if levels.shape[-1] == 1 else levels)
    picture.save(content, format="PNG", compress_level=1)
    _write_bytes(content.getvalue(), path)


def _write_bytes(content: bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)


# ---- from a journal to a record -----------------------------------------------------------------------------------


def summarise(job: Job, module: InpaintingModule, rows: list[Row], left_out: dict[str, str], device: str) -> Record:
    """The record of a complete journal."""
    adaptations: dict[str, int] = {}
    for row in rows:
        if row["adaptation"]:
            adaptations[row["adaptation"]] = adaptations.get(row["adaptation"], 0) + 1
    said = "; ".join(f"{what} ({count} of {len(rows)} images)" for what, count in adaptations.items())
    record = Record(
        job.protocol.described(),
        describe(job, module),
        {name: _result(name, job, rows, left_out, module.diverse) for name in job.protocol.metrics},
        {row["image"]: row["hole_share"] for row in rows},
        statistics.median(row["seconds"] for row in rows),
        max((row["memory"] for row in rows if row["memory"]), default=None),
        device,
        versions(),
        adaptation=said or None,
    )
    reasons = [f"{name} left out: {metric.reason}" for name, metric in record.metrics.items() if metric.reason]
    record.note = "; ".join(reasons) or None
    return record


def _result(name: str, job: Job, rows: list[Row], left_out: dict[str, str], diverse: bool) -> MetricResult:
    result = MetricResult(definition(name))
    if name in left_out:
        result.reason = left_out[name].partition(":")[0]  # what to do about it was told on the screen
    elif name == "diversity_lpips" and not diverse:
        result.reason = "n/a: the method gives one completion an image"
    else:
        groups = {f"{low:.1f}-{high:.1f}": [r for r in rows if low < r["hole_share"] <= high] for low, high in BUCKETS}
        result.mean, result.n = _number(name, job, rows)
        result.left_out = len(rows) - result.n
        result.few = result.n < FEW
        for bucket, group in groups.items():
            if group:
                mean, n = _number(name, job, group)
                result.buckets[bucket] = {"mean": mean, "n": n}
        if not metric(name).of_set:  # type: ignore[attr-defined]
            result.values = {row["image"]: row["values"][name] for row in rows}
            result.interval = mean_interval([v for v in result.values.values() if v is not None])
        errors = [row["errors"][name] for row in rows if name in row["errors"]]
        result.reason = errors[0] if errors else None if result.mean is not None else "undefined on every image"
    return result


def _number(name: str, job: Job, rows: list[Row]) -> tuple[float | None, int]:
    """The number of a set of rows, and the count of images behind it."""
    if name in INCEPTION:
        if refusal(name, len(rows)):
            return None, 0
        folders = (job.journal_folder / "features", job.journal_folder.parent / "_truth_features")
        fake, real = (np.stack([np.load(folder / f"{row['index']}.npy") for row in rows]) for folder in folders)
        return from_features([name], fake, real)[name], len(rows)
    values = [value for row in rows if (value := row["values"][name]) is not None]
    if not values:
        return None, 0
    mean = math.fsum(values) / len(values)
    if name == "psnr_pooled":
        return (-10 * math.log10(mean) if mean > 0 else None), len(values)
    return mean, len(values)


def describe(job: Job, module: InpaintingModule | None) -> dict[str, Any]:
    """What a record says of its method. ``module`` is None where it could not be loaded."""
    path, said = Path(job.method), {"name": job.method, "label": job.label}
    about: dict[str, Any] = {**said, "checkpoint": None, "checkpoint_sha256": None, "weights": "none"}
    about |= {"parameters": {}, "seed": None, "images_seen": None, "run": None}
    if module is not None:
        about |= {"name": type(module).__name__, "weights": module.loaded_weights}
        about["parameters"] = parameter_counts(module)
    if path.is_file():
        about |= {"checkpoint": str(path), "checkpoint_sha256": sha256(path)}
        with suppress(Exception):  # a foreign file has none of these
            content = torch.load(path, map_location="cpu", weights_only=True)
            about["name"] = content.get("method", about["name"])
            states = [s for key, s in content.get("callbacks", {}).items() if key.startswith("Throughput")]
            about["images_seen"] = states[0]["images_seen"] if states else None
            facts = sorted(path.parents[1].glob("run*.json"), key=lambda p: p.stat().st_mtime)
            if facts:
                about["seed"] = json.loads(facts[-1].read_text()).get("seed")
                about["run"] = str(path.parents[1])
    return about


def versions() -> dict[str, str]:
    found = {}
    for package in ("lit-inpaint", "torch", "torchvision", "torchmetrics", "lpips", "numpy", "opencv-python-headless"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError), open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # Linux: the process's peak starts at what it holds now


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError), open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
