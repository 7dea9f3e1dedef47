"""Results that are there already: those of another method, sampler or weights are never replaced unasked."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

from experiments.evaluate.job import Job
from experiments.records.files import read_record
from experiments.records.record import MethodFacts, Record
from experiments.run.journal import Row, identity_in, written

logger = logging.getLogger(__name__)
_Pair = tuple[str, str]  # what was measured, and what is asked for


def refuse_replacing(jobs: Sequence[Job]) -> None:
    """What has the same name as before is measured anew where its content has changed, and that is said.

    Raises:
        ValueError: The label of a job has results of something else.
    """
    for job in jobs:
        head, images = identity_in(job.journal_folder)
        record, now = _measured(job), written(job.identity())
        if head == now or not (record or images):
            continue
        for before, asked in _differences(job, head, record):
            raise ValueError(
                f"{job.label} in {job.out} is the result of {before}, which {asked} would replace: give it another "
                f"label, LABEL={job.method}, or another --out; --overwrite replaces it."
            )
        if head:
            changed = sorted(key for key in head.keys() | now.keys() if head.get(key) != now.get(key))
            logger.info("%s is measured anew: changed since are %s.", job.label, ", ".join(changed))


def _measured(job: Job) -> Record | None:
    """The record of a job, if it has numbers."""
    with suppress(ValueError, OSError):  # none, or damaged: it is written anew from the journal
        record = read_record(job.record_path)
        return None if record.not_applicable else record
    return None


def _differences(job: Job, head: Row, record: Record | None) -> Iterator[_Pair]:
    if record is None and not head:  # a damaged journal, which starts over and says so
        return
    if record is not None:
        yield from _other_source(job, head, record.method)
    elif head.get("method", "outputs") != job.identity().get("method", "outputs"):
        yield "another method, not finished", job.method
    note = (record and record.note) or ""
    sampled = [part.removeprefix("sampled by ") for part in note.split("; ") if part.startswith("sampled by ")]
    before = " ".join(head.get("sampler", []) if head else sampled)
    if before != " ".join(job.sampler) and (head or bool(sampled) != bool(job.sampler)):
        yield f"the sampler {before}" if before else "its own sampler", " ".join(job.sampler) or "its own sampler"
    if (weights := head.get("weights", job.weights)) != job.weights:
        yield f"{weights} weights", f"--weights {job.weights}"


def _other_source(job: Job, head: Row, kept: MethodFacts) -> Iterator[_Pair]:
    asked = job.source().described()
    before, now = _place(kept), _place(asked)
    if not before and not now and "method" in head:  # a class, which the journal names whole
        before, now = (str(one["method"]).partition(" ")[0] for one in (head, job.identity()))
    elsewhere = kept.checkpoint_sha256 is not None and kept.checkpoint_sha256 == asked.checkpoint_sha256
    same = before == now or elsewhere or (before and now and os.path.realpath(before) == os.path.realpath(now))
    name = asked.name.partition(":")[0].rpartition(".")[2]  # of a YAML it is known once it is loaded
    if not same or (asked.given is None and kept.name != name):
        yield before or kept.name, job.method


def _place(facts: MethodFacts) -> str | None:
    """The file, folder or commit that a method was given by; None of a class."""
    return facts.given or facts.checkpoint or (f"{facts.repository}@{facts.revision}" if facts.repository else None)
