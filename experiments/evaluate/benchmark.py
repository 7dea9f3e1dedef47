"""``lit-inpaint benchmark``: evaluate methods and checkpoints under one protocol."""

import argparse
import multiprocessing
import shlex
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from datamodules.bands import reading_settings
from datamodules.summary import lines
from experiments.compare import screen
from experiments.compare.table import plain_table
from experiments.compare.text import report
from experiments.evaluate import options
from experiments.evaluate.job import Job
from experiments.evaluate.measure import evaluate
from experiments.evaluate.outputs import label_sources
from experiments.evaluate.protocol import Protocol, load_protocols
from experiments.files.write import refuse_equal_keys, write_text
from experiments.records.record import Record
from experiments.run.journal import settings_of
from lit_inpaint.metrics import definition
from lit_inpaint.options import show_messages
from masks.nearest import nearest

# The protocol's hash covers the images and the masks; a job names its method; the rest changes no number.
MAY_CHANGE = (
    "protocol", "images", "mask_folder", "masks", "limit", "methods", "weights", "batch_size",
    "out", "device", "baseline", "outputs_are",
)  # fmt: skip


def main(argv: list[str]) -> int:
    a = options.benchmark().parse_args(argv)
    return measure_and_show(jobs_of(a), a.device, a.out, a.baseline)


def jobs_of(a: argparse.Namespace) -> list[Job]:
    """What the parsed arguments ask for; all names and files are checked.

    Raises:
        ValueError: Naming what does not exist or does not fit.
    """
    reading = {"white": a.mask_white, "threshold": a.mask_threshold, "alpha": a.mask_alpha}
    image_reading = reading_settings(a.bands, a.white_level)
    protocols = load_protocols(a.protocol, a.images, a.mask_folder, a.limit, reading, image_reading)
    refuse_equal_keys(map(protocols[0].images.name, range(len(protocols[0].images))))
    if a.masks:
        protocols = only_masks(protocols, a.masks, a.protocol)
    methods = label_sources(a.methods, a.weights)
    settings = settings_of(a, MAY_CHANGE)
    return [
        Job(method, label, protocol, a.out, a.weights, a.batch_size, settings, a.outputs_are)
        for protocol in protocols
        for method, label in methods.items()
    ]


def measure_and_show(jobs: list[Job], devices: list[str], out: Path, baseline: str | None) -> int:
    """Run the jobs, print their tables and write them to ``out``; 1 if any has no numbers."""
    labels, protocols = [job.label for job in jobs], list({id(job.protocol): job.protocol for job in jobs}.values())
    if baseline and baseline not in labels:
        raise ValueError(f"--baseline {baseline} is not one of the methods. {nearest(baseline, labels)}")
    console = Console()
    for line in lines(protocols[0].images.summary):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for name, reason in jobs[0].left_out.items():
        console.print(f"{name} is left out: {reason}", style="yellow", highlight=False, soft_wrap=True)
    if devices == ["auto"]:
        devices = ["cuda" if torch.cuda.is_available() else "cpu"]
    records = run(jobs, devices, console)
    measured = list(zip(jobs, records, strict=True))
    files = [
        _show(protocol, [record for job, record in measured if job.protocol is protocol], out, baseline, console)
        for protocol in protocols
    ]
    failed = [(job, record) for job, record in measured if record.not_applicable]
    for job, record in failed:
        console.print(f"{job.label} under {job.protocol.name}: {record.not_applicable}", style="red", soft_wrap=True)
    console.print(f"Tables: {', '.join(map(str, files))}", soft_wrap=True, highlight=False)
    console.print(f"Page:   {shlex.join(['lit-inpaint', 'compare', str(out)])}", soft_wrap=True, highlight=False)
    return 1 if failed else 0


def only_masks(protocols: list[Protocol], masks: list[str], name: str) -> list[Protocol]:
    """The protocols of these masks, in their order."""
    by_mask = {protocol.name.rpartition("-")[2]: protocol for protocol in protocols}
    for mask in set(masks) - set(by_mask):
        raise ValueError(f"protocol {name} has no mask '{mask}'. {nearest(mask, by_mask)}")
    return [by_mask[mask] for mask in masks]


def _show(protocol: Protocol, records: list[Record], out: Path, baseline: str | None, console: Console) -> Path:
    """The tables of one protocol on the screen and in a file."""
    table = plain_table(records, {name: definition(name) for name in protocol.metrics})
    console.print(screen.results(table, console.width))
    if baseline:
        console.print(screen.gains(table, baseline, console.width))
    file = out / f"{protocol.folder}.md"
    write_text(file, report(table, baseline))
    return file


# ---- running --------------------------------------------------------------------------------------------------------


def run(jobs: list[Job], devices: list[str], console: Console) -> list[Record]:
    """Run all jobs, in order on one device or distributed over one process per device, with progress and time left."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=console) as progress:
        task = progress.add_task("images", total=sum(len(job.protocol.images) for job in jobs))
        if len(devices) == 1:
            records, before = [], 0
            for job in jobs:
                progress.update(task, description=f"{job.label} · {job.protocol.name}")

                def advance(done: int, before: int = before) -> None:
                    progress.update(task, completed=before + done)

                records.append(evaluate(job, devices[0], advance))
                before += len(job.protocol.images)
                advance(0, before)
            return records
        return _run_on_many(jobs, devices, lambda done: progress.update(task, completed=done))


def _run_on_many(
    jobs: list[Job], devices: list[str], advance: Callable[[int], None], method: str = "spawn"
) -> list[Record]:
    context = multiprocessing.get_context(method)
    manager = context.Manager()
    free: Queue[str] = manager.Queue()
    told: Queue[tuple[int, int]] = manager.Queue()
    done = [0] * len(jobs)
    for device in devices:
        free.put(device)
    with ProcessPoolExecutor(len(devices), context, show_messages) as pool:
        futures: list[Future[Record]] = [
            pool.submit(_evaluate_on_free_device, number, job, free, told) for number, job in enumerate(jobs)
        ]
        while not (all(future.done() for future in futures) and told.empty()):
            with suppress(Empty):
                number, images = told.get(timeout=0.5)
                done[number] = images
                advance(sum(done))
        return [future.result() for future in futures]


def _evaluate_on_free_device(number: int, job: Job, free: Queue[str], told: Queue[tuple[int, int]]) -> Record:
    """``told`` hears (number of the job, images done)."""
    device = free.get()
    try:
        return evaluate(job, device, lambda images: told.put((number, images)))
    finally:
        free.put(device)
