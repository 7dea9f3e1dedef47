"""``experiments.evaluate(...)``: `benchmark` of one method, as a function."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from experiments.evaluate import options
from experiments.evaluate.benchmark import jobs_of
from experiments.evaluate.measure import evaluate as measured
from experiments.records.record import Record


def evaluate(
    method: str | Path,
    protocol: str | Path,
    out: str | Path,
    *,
    images: str | Path | None = None,
    limit: int | None = None,
    mask: str | None = None,
    weights: Literal["ema", "raw"] = "ema",
    batch_size: int = 1,
    device: str = "cpu",
    overwrite: bool = False,
    advance: Callable[[int], None] = lambda done: None,
) -> Record:
    """Evaluate a method under a protocol. The record, the pictures and the journal are those of ``lit-inpaint
    benchmark`` with the same arguments: what either has finished, the other does not do again.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as out:
    ...     record = evaluate("Harmonic", "quickstart", out, limit=1)
    >>> record.method.name, record.metrics["psnr_hole"].n, len(record.hash)
    ('Harmonic', 1, 64)

    Args:
        method: As the command takes it, ``LABEL=`` in front of it too: a class name, a checkpoint, package.module.Name
            or outputs:FOLDER.
        protocol: Name of a built-in protocol, or a YAML file.
        out: Folder for records and pictures; may contain earlier ones.
        images: Folder of images to use instead of the protocol's data.
        limit: Use only the first N images; changes the protocol's hash.
        mask: Which mask of a protocol that has several.
        weights: EMA or raw weights of a checkpoint.
        overwrite: Replace what ``out`` holds of another method by this label.
        advance: Called with the number of finished images.

    Returns:
        A method that fails gives a record as well, with the reason in ``not_applicable``. A notebook shows the record
        as a table with its first pictures.

    Raises:
        ValueError: There is no such method or protocol, or the arguments contradict each other.
    """
    given = {"images": images, "limit": limit, "masks": mask, "weights": weights, "batch-size": batch_size}
    flags = [word for name, value in given.items() if value is not None for word in (f"--{name}", str(value))]
    flags += ["--overwrite"] if overwrite else []
    jobs = jobs_of(options.benchmark().parse_args([str(protocol), "--methods", str(method), "--out", str(out), *flags]))
    if len(jobs) > 1:
        masks = [job.protocol.mask_name for job in jobs]
        raise ValueError(f"protocol {protocol} has {len(jobs)} masks, {', '.join(masks)}; give one: mask='{masks[0]}'.")
    record = measured(jobs[0], device, advance)
    record.path = jobs[0].record_path
    return record
