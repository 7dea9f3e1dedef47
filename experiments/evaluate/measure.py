"""One method under one protocol, image by image, so that a killed evaluation resumes where it stopped.

Every finished batch is one write to a journal: its images' values, times and adaptations. The record is computed from
the journal alone, so an interrupted evaluation ends in the same numbers as an uninterrupted one.
"""

import io
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.evaluation import collate
from experiments.evaluate.job import Job
from experiments.evaluate.protocol import Protocol
from experiments.evaluate.summarise import describe, summarise, versions
from experiments.files.write import below, key_of, write_bytes, write_png
from experiments.records.files import NewerFormatError, read_record, write_record
from experiments.records.record import Record
from experiments.run.journal import Journal, Row
from lit_inpaint.load import load_method
from lit_inpaint.memory import peak_bytes, reset_peak
from lit_inpaint.metrics import Features, metric, round_to_8_bits
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch, erase, to_pixels


def finished(job: Job) -> Record | None:
    """The record of a job that is done and has numbers; a failed one is tried again."""
    if not job.record_path.is_file() or len(Journal(job).rows) < len(job.protocol.images):
        return None
    try:
        record = read_record(job.record_path)
    except NewerFormatError:
        raise
    except ValueError as error:
        print(f"lit-inpaint: {job.record_path} is written again from its journal: {error}", file=sys.stderr)
        return None
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
    reset_peak(device)
    start = time.perf_counter()
    samples = complete(module, image, mask, names, protocol)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = (time.perf_counter() - start) / len(names)
    memory = peak_bytes(device)
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
    measured = {name: metric(name) for name in protocol.metrics if name not in left_out}
    for name, function in measured.items():
        if function.features or (function.of_samples and not module.diverse):
            continue
        try:
            values = function(samples if function.of_samples else samples[0], target, mask).tolist()
        except ValueError as error:  # this metric has no number for these images; the others have
            values = [math.nan] * len(rows)
            for row in rows:
                row["errors"][name] = str(error)
        for row, value in zip(rows, values, strict=True):
            row["values"][name] = value if math.isfinite(value) else None
    for features in dict.fromkeys(function.features for function in measured.values()):
        if features:
            _keep_features(job, features, samples[0], target, indices)
    erased = erase(target, mask)
    for i, row in enumerate(rows):
        for kind, picture in {"_truth": target[i], "_input": erased[i], "_mask": mask[i] * 2 - 1}.items():
            if not below(job.pictures(kind), name := f"{row['image']}.png").is_file():
                save_png(picture, job.pictures(kind), name)
        save_png(samples[0][i], job.pictures(job.label), f"{row['image']}.png")
    return rows


def complete(module: InpaintingModule, image: Tensor, mask: Tensor, names: list[str], protocol: Protocol) -> Tensor:
    """Completions (n, B, 3, H, W); the first is what ``validate`` and ``test`` would measure."""
    if protocol.measured == "composite":
        if protocol.samples > 1:
            return module.sample(image, mask, protocol.samples, protocol.seed, names)
        return module.complete_unchecked(image, mask, **module.draws(protocol.seed, names))[None]
    height, width = image.shape[-2:]
    if not module.takes(height, width):
        raise ValueError(f"raw output of {width}x{height} images cannot be measured: the network adapts their size.")
    draws = [module.draws(protocol.seed, names, number) for number in range(protocol.samples)]
    return torch.stack([module.predict(image, mask, **keyed).clamp(-1, 1) for keyed in draws])


def _keep_features(job: Job, features: Features, prediction: Tensor, target: Tensor, indices: range) -> None:
    """Features of each image, once; those of the truth serve every method."""
    own, truth = job.features_folder(features), job.truth_features_folder(features)
    missing = [i for i, index in enumerate(indices) if not (truth / f"{index}.npy").is_file()]
    found = features.extract(torch.cat([prediction, target[missing]])).cpu().numpy()
    for i, index in enumerate(indices):
        _save_array(found[i], own / f"{index}.npy")
    for place, i in enumerate(missing):
        _save_array(found[len(indices) + place], truth / f"{indices[i]}.npy")


def _save_array(array: np.ndarray, path: Path) -> None:
    content = io.BytesIO()
    np.save(content, array)
    write_bytes(path, content.getvalue())


def save_png(image: Tensor, folder: Path, name: str) -> None:
    """(C, H, W) in [-1, 1], rounded to 8 bits."""
    pixels = to_pixels(image)
    write_png(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels, folder, name, compress_level=1)
