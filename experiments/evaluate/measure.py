"""One method under one protocol, image by image, so that a killed evaluation resumes where it stopped.

Every finished batch is one write to a journal: its images' values, times and adaptations. The record is computed only
from the journal, so an interrupted evaluation gives the same numbers as an uninterrupted one.
"""

import io
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.evaluation import collate
from experiments.evaluate.job import Job
from experiments.evaluate.place import ALONE, Place
from experiments.evaluate.protocol import Protocol
from experiments.evaluate.source import Completion, RefusedError, Source
from experiments.evaluate.summarise import summarise, versions
from experiments.files.write import below, key_of, quick_png, write_bytes
from experiments.records.files import NewerFormatError, forget, read_record, write_record
from experiments.records.record import Record
from experiments.run.journal import BusyError, Journal, Row
from lit_inpaint.metrics import Features, one_per_image, round_to_8_bits
from masks.convention import InpaintingBatch, erase, to_pixels

logger = logging.getLogger(__name__)


def finished(job: Job, journal: Journal) -> Record | None:
    """The record of a finished, successful job; failed ones are retried."""
    if len(journal.rows) < len(job.protocol.images):
        return None
    try:
        record = read_record(job.record_path)
    except NewerFormatError:
        raise
    except ValueError as error:
        logger.warning("%s is rewritten from its journal: %s", job.record_path, error)
        return None
    return None if record.not_applicable else record


def evaluate(job: Job, device: str = "cpu", advance: Callable[[int], None] = lambda done: None) -> Record:
    """Run a job, or the rest of it. A failure becomes a record with its reason, never an exception.

    Args:
        advance: Called with the number of finished images.
    """
    record = evaluate_together(job, device, lambda share, done: advance(done), ALONE)
    assert record is not None, "one process has every share"
    return record


def evaluate_together(job: Job, device: str, advance: Callable[[int, int], None], place: Place) -> Record | None:
    """:func:`evaluate` by one of several processes.

    Args:
        advance: Called with a share of the job and its number of finished images.

    Returns:
        None if other processes are still at it: the last one writes the record.
    """
    journal = Journal(job) if job.record_path.is_file() else None
    if journal and (record := finished(job, journal)):
        for share in place.shares():
            advance(share, sum(map(len, _batches(job, place, share))))
        with suppress(OSError):  # a folder that is read only
            job.record_path.touch()  # the newest record is the one that was asked for last
        return record
    try:
        found = _evaluate(job, torch.device(device), advance, place)
    except Exception as error:  # one failing method must not stop the others
        reason = " ".join(str(error).split()) or type(error).__name__
        said = reason if isinstance(error, ValueError) else f"failed: {type(error).__name__}: {reason}"
        about = (job.protocol.described(), job.source().described())
        found = Record(*about, device=device.partition(":")[0], versions=versions(), not_applicable=said)
        found.refused = isinstance(error, RefusedError) or None
        forget(job.record_path)
    if found:
        write_record(found, job.record_path)
    return found


def _evaluate(job: Job, device: torch.device, advance: Callable[[int, int], None], place: Place) -> Record | None:
    source = job.source()
    opened = cache(lambda: source.open(device))
    for share in place.shares() * min(place.of, 2):  # again: some may have been held for a moment only
        journal = Journal(job, share)
        if place.of > 1 and not any(_missing(job, journal, place, share)):
            advance(share, sum(map(len, _batches(job, place, share))))
            continue
        try:
            with journal.writing():
                missing = list(_missing(job, journal, place, share))
                done = sum(map(len, _batches(job, place, share))) - sum(map(len, missing))
                advance(share, done)
                for indices in missing:
                    opened()
                    _do(job, source, journal, indices, device)
                    done += len(indices)
                    advance(share, done)
        except BusyError:
            if place.of == 1:
                raise
    rows = Journal(job).rows
    if len(rows) < len(job.protocol.images):
        return None
    opened()
    return summarise(job, source, [rows[index] for index in range(len(rows))], device.type)


def _do(job: Job, source: Source, journal: Journal, indices: range, device: torch.device) -> None:
    """Images, method, metrics, journal, for one batch: what is in the journal is complete on the disk."""
    forget(job.record_path)  # of other weights or settings; it must not pass for the new one
    batch = collate([job.protocol.images[index] for index in indices])
    batch = batch._replace(image=batch.image.to(device), mask=batch.mask.to(device))
    completion = source.complete(batch)
    samples, truth = _as_measured(job.protocol, batch, completion)
    rows = _rows(indices, batch, completion)
    prompts = [job.protocol.prompts[str(name)] for name in batch.name] if job.protocol.prompts else []
    _measure(job, source, rows, samples, truth, batch.mask, prompts)
    _keep_all_features(job, samples[0], truth, indices)
    if job.pictures_kept:
        _keep_pictures(job, rows, samples[0], truth, batch.mask, completion.files)
    journal.append(rows)


def _batches(job: Job, place: Place, share: int) -> Iterator[range]:
    return place.batches(share, len(job.protocol.images), job.together)


def _missing(job: Job, journal: Journal, place: Place, share: int) -> Iterator[range]:
    """Batches that the journals do not hold whole, or whose features are damaged: only journals are flushed."""
    kept = [
        folder
        for features in _features_of(job)
        for folder in (job.features_folder(features), job.truth_features_folder(features))
    ]
    for batch in _batches(job, place, share):
        if not all(index in journal.rows and all(_is_whole(folder, index) for folder in kept) for index in batch):
            yield batch


def _as_measured(protocol: Protocol, batch: InpaintingBatch, completion: Completion) -> tuple[Tensor, Tensor]:
    """Completions and truth as the protocol measures them."""
    if not bool(completion.samples.isfinite().all()):
        raise ValueError(f"the output for {batch.name[0]} is not finite; nothing can be measured.")
    if protocol.round_to_8_bits:
        return round_to_8_bits(completion.samples), round_to_8_bits(batch.image)
    return completion.samples.float(), batch.image


def _rows(indices: range, batch: InpaintingBatch, completion: Completion) -> list[Row]:
    """One line of the journal per image, still without values."""
    return [
        {
            "index": index,
            "image": key_of(str(batch.name[i])),
            "values": {},
            "errors": {},
            "hole_share": int(batch.mask[i].count_nonzero()) / batch.mask[i].numel(),
            "seconds": completion.seconds,
            "memory": completion.memory,
            "network_calls": completion.network_calls,
            "adaptation": completion.adaptations[i],
            "known_change": completion.moved[i] if completion.moved else None,
        }
        for i, index in enumerate(indices)
    ]


@torch.no_grad()
def _measure(
    job: Job, source: Source, rows: list[Row], samples: Tensor, truth: Tensor, mask: Tensor, prompts: list[str]
) -> None:
    """Put the value of every metric of single images into the rows."""
    for name, function in job.metrics.items():
        if function.features or (function.of_samples and not source.diverse):
            continue
        try:
            measured = samples if function.of_samples else samples[0]
            said = {"prompts": prompts} if function.of_prompts else {}
            found = function(measured, truth, mask, **said)
        except ValueError as error:  # undefined for these images; the other metrics may still be defined
            found = torch.full((len(rows),), torch.nan)
            for row in rows:
                row["errors"][name] = str(error)
        for row, value in zip(rows, one_per_image(function, found, len(rows)).tolist(), strict=True):
            row["values"][name] = value if math.isfinite(value) else None


def _keep_pictures(
    job: Job, rows: list[Row], completed: Tensor, truth: Tensor, mask: Tensor, files: Sequence[bytes | None]
) -> None:
    """A completion that came from a file with these pixels is copied."""
    for i, (row, content) in enumerate(zip_longest(rows, files)):
        name = f"{row['image']}.png"
        for kind in ("_truth", "_input", "_mask"):
            if not (path := below(job.pictures(kind), name)).is_file():
                erased = {"_truth": truth[i], "_mask": mask[i] * 2 - 1}
                write_bytes(path, _png(erased.get(kind, erase(truth[i], mask[i]))))
        write_bytes(below(job.pictures(job.label), name), content or _png(completed[i]))


@torch.no_grad()
def _keep_all_features(job: Job, completed: Tensor, truth: Tensor, indices: range) -> None:
    for features in _features_of(job):
        _keep_features(job, features, completed, truth, indices)


def _features_of(job: Job) -> list[Features]:
    return list(dict.fromkeys(function.features for function in job.metrics.values() if function.features))


def _keep_features(job: Job, features: Features, prediction: Tensor, target: Tensor, indices: range) -> None:
    """Features of each image, computed once; those of the ground truth are shared by all methods."""
    own, truth = job.features_folder(features), job.truth_features_folder(features)
    for images, folder in ((prediction, own), (target, truth)):
        if folder == own or not all(_is_whole(truth, index) for index in indices):
            # One batch of each, always: the bits of a convolution may depend on what stands beside an image.
            for index, found in zip(indices, features.extract(images).cpu().numpy(), strict=True):
                _save_array(found, folder / f"{index}.npy")


def _is_whole(folder: Path, index: int) -> bool:
    """Whether the features of an image can be read."""
    try:
        return bool(np.load(folder / f"{index}.npy").ndim == 1)
    except (OSError, ValueError, EOFError):
        return False


def _save_array(array: np.ndarray, path: Path) -> None:
    content = io.BytesIO()
    np.save(content, array)
    write_bytes(path, content.getvalue())


def _png(image: Tensor) -> bytes:
    """(C, H, W) in [-1, 1], rounded to 8 bits."""
    return quick_png(to_pixels(image))
