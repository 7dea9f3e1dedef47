"""Jobs on one device, by a process per device, or by the processes that a launcher started."""

import logging
import multiprocessing
import os
from collections.abc import Callable
from ctypes import c_longlong
from multiprocessing.connection import Connection
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from experiments.evaluate.job import Job
from experiments.evaluate.measure import evaluate_together, finished
from experiments.evaluate.place import Place, here
from experiments.records.files import read_record
from experiments.records.record import Record
from experiments.run.journal import Journal
from lit_inpaint.options import show_messages

logger = logging.getLogger(__name__)
Told = Callable[[int, int, int], None]  # number of a job, its share, images done of it


def devices_of(given: list[str], count: int | None) -> list[str]:
    """The devices of --device and --devices, one per process to start here.

    Raises:
        ValueError: They contradict each other, or a launcher that has started processes already.
    """
    place, kind = here(), given[0]
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if count is not None and (count < 1 or len(given) > 1):
        raise ValueError(f"--devices {count}: give a number from 1, or name each device with --device, not both.")
    if place.of > 1 and (count or 1) * len(given) > 1:
        raise ValueError(
            f"this is process {place.number} of {place.of} that a launcher started; it uses one device. Leave out "
            "--devices, or start the command once."
        )
    if len(given) > 1:
        return given
    if kind == "cuda" and (count or place.of) > 1:
        seen = max(torch.cuda.device_count(), 1)
        return [f"cuda:{(place.local + number) % seen}" for number in range(count or 1)]
    return [kind] * (count or 1)


def run(jobs: list[Job], devices: list[str], console: Console) -> list[Record | None]:
    """Run all jobs with progress and time left; None for one that is not finished."""
    place = here() if len(devices) == 1 else Place(of=len(devices))
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(
        TextColumn("{task.description}", markup=False), *columns, console=console, disable=place.number > 0
    ) as progress:  # one bar for all processes of a launcher
        task = progress.add_task("images", total=sum(len(job.protocol.images) for job in jobs))
        if len(devices) > 1:
            return run_on_many(jobs, devices, lambda done: progress.update(task, completed=done))
        done: dict[tuple[int, int], int] = {}

        def told(job: int, share: int, images: int) -> None:
            done[job, share] = images
            of = jobs[job]
            progress.update(task, description=f"{of.label} · {of.protocol.name}", completed=sum(done.values()))

        found = _work(jobs, devices[0], place, told)
        return found if place.of == 1 else [_outcome(job) for job in jobs]


def _work(jobs: list[Job], device: str, place: Place, told: Told) -> list[Record | None]:
    """The jobs, as far as they fall to this process."""
    found: list[Record | None] = [None] * len(jobs)
    for number in place.jobs(len(jobs)):

        def advance(share: int, images: int, number: int = number) -> None:
            told(number, share, images)

        found[number] = evaluate_together(jobs[number], device, advance, place)
    return found


def _outcome(job: Job) -> Record | None:
    """What the processes together have made of a job."""
    if not job.record_path.is_file():
        return None
    record = read_record(job.record_path)
    return record if record.not_applicable else finished(job, Journal(job))


def run_on_many(
    jobs: list[Job], devices: list[str], advance: Callable[[int], None], method: str = "spawn"
) -> list[Record | None]:
    """Start a process per device. If one is killed, the others do what it has left, and what nobody does stays None."""
    context: Any = multiprocessing.get_context(method)
    done = context.RawArray(c_longlong, len(jobs) * len(devices))  # without a lock, which a killed process would keep
    started = []
    for number, device in enumerate(devices):
        end, other_end = context.Pipe(duplex=False)
        place = Place(number, len(devices), number)
        process = context.Process(target=_process, args=(jobs, device, place, done, other_end), daemon=True)
        process.start()
        other_end.close()
        started.append((process, end))
    for process, _ in started:
        while process.is_alive():
            process.join(0.2)
            advance(sum(done))
    for process, end in started:
        try:
            if (error := end.recv()) is not None:
                raise error
        except EOFError:
            logger.warning(
                "a process ended with code %s, most likely killed for want of memory; what it finished is kept.",
                process.exitcode,
            )
    return [_outcome(job) for job in jobs]


def _process(jobs: list[Job], device: str, place: Place, done: Any, end: Connection) -> None:
    show_messages()
    torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // place.of)))
    parent = multiprocessing.parent_process()

    def told(job: int, share: int, images: int) -> None:
        done[job * place.of + share] = images
        if parent is not None and not parent.is_alive():
            os._exit(1)  # nobody waits for it; what is done is in the journal

    error = None
    try:
        _work(jobs, device, place, told)
    except Exception as raised:
        error = raised
    end.send(error)
