"""``lit-inpaint benchmark``: evaluate methods and checkpoints under one protocol."""

import argparse
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from datamodules.bands import reading_settings
from datamodules.summary import lines
from experiments.compare import screen
from experiments.compare.table import plain_table
from experiments.compare.text import report
from experiments.evaluate import options
from experiments.evaluate.earlier import refuse_replacing
from experiments.evaluate.job import Job
from experiments.evaluate.outputs import label_sources, refuse_inside
from experiments.evaluate.place import here
from experiments.evaluate.processes import devices_of, run
from experiments.evaluate.protocol import Protocol, load_protocols
from experiments.files.write import refuse_equal_keys, refuse_not_utf8, write_text
from experiments.records.files import read_record
from experiments.records.record import Record
from experiments.run.journal import settings_of
from lit_inpaint import plugins
from lit_inpaint.metrics import definition
from lit_inpaint.sampling import sampler_of
from masks.nearest import nearest

# The protocol's hash covers the images and the masks; a job names its method and sampler; the rest changes no number.
MAY_CHANGE = (
    "protocol", "images", "mask_folder", "masks", "limit", "methods", "weights", "batch_size",
    "out", "device", "devices", "baseline", "outputs_are", "sampler", "no_pictures", "overwrite",
)  # fmt: skip


def main(argv: list[str]) -> int:
    a = options.benchmark().parse_args(argv)
    return measure_and_show(jobs_of(a), devices_of(a.device, a.devices), a.out, a.baseline)


def jobs_of(a: argparse.Namespace) -> list[Job]:
    """What the parsed arguments ask for; all names and files are checked.

    Raises:
        ValueError: Naming what does not exist or does not fit.
    """
    given = [
        f"--{name.replace('_', '-')}" for name in ("mask_white", "mask_threshold", "mask_alpha") if getattr(a, name)
    ]
    if given and not a.mask_folder:
        raise ValueError(
            f"{given[0]} is about the files of --mask-folder, which is not given. How a protocol's own files are read "
            "stands in its YAML: white, threshold and alpha of MaskFolder."
        )
    a.mask_white = a.mask_white or "known"
    reading = {"white": a.mask_white, "threshold": a.mask_threshold, "alpha": a.mask_alpha}
    image_reading = reading_settings(a.bands, a.white_level)
    protocols = load_protocols(a.protocol, a.images, a.mask_folder, a.limit, reading, image_reading)
    refuse_equal_keys(map(protocols[0].images.name, range(len(protocols[0].images))))
    refuse_not_utf8([*a.methods, *(protocol.described().mask for protocol in protocols)])
    refuse_inside(a.out, a.images, a.methods)
    if a.masks:
        protocols = only_masks(protocols, a.masks, a.protocol)
    methods = label_sources(a.methods, a.weights)
    if a.sampler:
        sampler_of(a.sampler)  # refuses unknown ones
    settings = settings_of(a, MAY_CHANGE)
    jobs = [
        Job(
            *(method, label, protocol, a.out, a.weights, a.batch_size, settings, a.outputs_are),
            sampler=tuple(a.sampler),
            pictures_kept=not a.no_pictures,
        )
        for protocol in protocols
        for method, label in methods.items()
    ]
    if not a.overwrite:
        refuse_replacing(jobs)
    return jobs


def measure_and_show(jobs: list[Job], devices: list[str], out: Path, baseline: str | None) -> int:
    """Run the jobs, print their tables and write them to ``out``; 1 if any has no numbers.

    Of several processes that a launcher started, the last one prints and writes them.
    """
    labels, protocols = [job.label for job in jobs], list({id(job.protocol): job.protocol for job in jobs}.values())
    if baseline and baseline not in labels:
        raise ValueError(f"--baseline {baseline} is not one of the methods. {nearest(baseline, labels)}")
    console = Console(highlight=False, markup=False)
    if here().number == 0:
        for line in lines(protocols[0].images.summary):
            console.print(line, soft_wrap=True)
        for name, reason in jobs[0].left_out.items():
            console.print(f"{name} is left out: {reason}", style="yellow", soft_wrap=True)
    records = run(jobs, devices, console)
    measured = [(job, record) for job, record in zip(jobs, records, strict=True) if record]
    if waiting := [job.label for job, record in zip(jobs, records, strict=True) if not record]:
        return _unfinished(waiting, len(devices) > 1, console)
    files = [
        _show(protocol, [record for job, record in measured if job.protocol is protocol], out, baseline, console)
        for protocol in protocols
    ]
    failed = [(job, record) for job, record in measured if record.not_applicable]
    for job, record in failed:
        console.print(f"{job.label} under {job.protocol.name}: {record.not_applicable}", style="red", soft_wrap=True)
    console.print(f"Tables: {', '.join(map(str, files))}", soft_wrap=True)
    console.print(f"Page:   {plugins.command('compare', str(out))}", soft_wrap=True)
    return 1 if failed else 0


def _unfinished(labels: list[str], ours: bool, console: Console) -> int:
    """Some jobs have no record: a process was killed, or other processes are still at it."""
    names = ", ".join(dict.fromkeys(labels))
    if ours:
        raise ValueError(f"{names}: not finished, because a process ended. Run the command again to resume.")
    said = f"Other processes are measuring {names}; the last one writes the tables."
    console.print(said, soft_wrap=True)
    return 0


def only_masks(protocols: list[Protocol], masks: list[str], name: str) -> list[Protocol]:
    """The protocols of these masks, in their order."""
    by_mask = {protocol.mask_name or protocol.name: protocol for protocol in protocols}
    for mask in set(masks) - set(by_mask):
        raise ValueError(f"protocol {name} has no mask '{mask}'. {nearest(mask, by_mask)}")
    return [by_mask[mask] for mask in masks]


def _show(protocol: Protocol, records: list[Record], out: Path, baseline: str | None, console: Console) -> Path:
    """The tables of one protocol on the screen, and in a file that keeps what was measured before."""
    metrics = {name: definition(name) for name in protocol.metrics}
    table = plain_table(records, metrics)
    console.print(screen.results(table, console.width))
    if baseline:
        console.print(screen.gains(table, baseline, console.width))
    file = out / f"{protocol.folder}.md"
    write_text(file, report(plain_table([*records, *_others(protocol, records, out)], metrics), baseline))
    return file


def _others(protocol: Protocol, records: list[Record], out: Path) -> Iterator[Record]:
    labels = {record.label for record in records}
    for path in sorted((out / "records" / protocol.folder).glob("*.json")):
        if path.stem not in labels:
            with suppress(ValueError):  # damaged: compare names it
                yield read_record(path)
