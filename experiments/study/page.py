"""The page of a study, from the cells that are there; a cell that cannot come has its reason."""

import fcntl
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from experiments.files.find import newest_first
from experiments.files.write import write_text
from experiments.records.files import read_record, write_record
from experiments.records.record import MethodFacts, ProtocolFacts, Record
from experiments.study.file import protocol_name
from experiments.study.plan import Step, Study
from experiments.study.snakefile import marker
from experiments.study.step import argv, facts_of, is_done, record_of
from experiments.study.trainings import write_trainings
from experiments.study.units import keep

_SOONEST, _LATEST = 60.0, 900.0  # seconds from a page to the next, while cells arrive
_PAUSE = 20.0  # times as long as it took to write: a page with pictures takes a core 16 s


def reason_of(study: Study, step: Step) -> str | None:
    """Why a job cannot be done: its own failure, or that of a job which it needs. None for what is done."""
    if is_done(study, step):
        return None
    if (failed := facts_of(study, step, "failed.json")) is not None:
        return f"{step.name} failed: {failed.get('reason')}"
    return next((reason for need in step.needs if (reason := reason_of(study, study.steps[need]))), None)


def refresh(study: Study, having: Step | None = None) -> None:
    """Keep the unit of the job that has ended, and write the page, unless it is new for what it costs, or being
    written: the last job writes it in any case. Never an error, which would be one of the job that is complete."""
    try:
        keep(study, having)
    except (ValueError, OSError) as error:  # a damaged record, a full disk
        print(error, file=sys.stderr)
    page = study.out / "page.html"
    if page.is_file():
        written, begun = page.stat().st_mtime, _begun(study)
        took = written - begun.stat().st_mtime if begun.is_file() else 0.0
        if time.time() - written < max(_SOONEST, min(_PAUSE * took, _LATEST)):
            return
    with _begun(study).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        try:
            write_page(study)
        except (ValueError, OSError) as error:
            print(error, file=sys.stderr)


def _begun(study: Study) -> Path:
    """Locked while a page is written, and as old as its beginning."""
    return study.out / "steps" / "page.lock"


def write_page(study: Study, last: bool = False) -> int:
    """``compare`` over all records and runs of the study; its exit code. ``last``: say that the graph is done."""
    if _begun(study).parent.is_dir():
        _begun(study).touch()
    keep(study)
    notes = [study.file.about] if study.file.about else []
    cells = [step for step in study.steps.values() if step.cell]
    done = [step for step in cells if is_done(study, step)]
    if len(done) < len(cells):
        notes.append(f"{len(done)} of {len(cells)} cells of the study '{study.name}' are complete")
    notes += _fill_failed(study, [step for step in cells if step not in done])
    records, runs = study.out / "benchmark" / "records", study.out / "runs"
    folders = [records / known[1] for mask in study.masks if (known := _protocol(study, mask))]
    folders += [_failed(study)] if next(_failed(study).glob("records/*/*.json"), None) else []
    folders += [runs] if next(runs.rglob("metrics*.csv"), None) else []
    if not folders:
        print("There are no records yet, and no page.")
        return 0
    if last or all(step in done or reason_of(study, step) for step in cells):  # nothing more comes
        _set_up_votes(study)
    said = [word for note in notes for word in ("--note", note)]
    said += ["--trainings", str(write_trainings(study))]
    code = subprocess.run(
        argv(["compare", *map(str, folders), "--out", str(study.out / "page.html"), *said])
    ).returncode
    if code == 0 and last:
        write_text(study.out / marker("page"), json.dumps({"written": time.time()}) + "\n")
    return code


def _set_up_votes(study: Study) -> None:
    """Write the column of votes against the reference under every mask: what people have said, or that nobody has."""
    for mask in study.masks:
        if asked := votes_under(study, mask):
            subprocess.run(argv(["vote", *asked, "--result"]))


def votes_under(study: Study, mask: str) -> list[str] | None:
    """Arguments of `vote` about every method against the reference, each by its first seed; None without pictures."""
    if study.file.votes is None or (known := _protocol(study, mask)) is None:
        return None
    benchmark = study.out / "benchmark"
    labels = {
        name: next(step.cell[0] for step in study.jobs_of(name, method, study.seeds_of(method)[0]) if step.cell)
        for name, method in study.file.methods.items()
    }
    shown = [
        name for name, label in labels.items()
        if (benchmark / "images" / known[1] / label).is_dir()
        and (benchmark / "records" / known[1] / f"{label}.json").is_file()
    ]  # fmt: skip
    if study.file.votes not in shown or len(shown) < 2:
        return None
    rivals = [labels[name] for name in shown if name != study.file.votes]
    folder = benchmark / "records" / known[1]  # of the newest protocol of that name
    return [str(folder), "--reference", labels[study.file.votes], "--against", *rivals]


def _failed(study: Study) -> Path:
    return study.out / "failed"


def _fill_failed(study: Study, cells: list[Step]) -> list[str]:
    """Write a record with the reason for every method that has none under a mask; all other reasons, for which there
    is no table yet, or where another seed or an earlier attempt has a number."""
    shutil.rmtree(_failed(study), ignore_errors=True)
    notes: dict[str, None] = {}
    found: dict[str, tuple[ProtocolFacts, str] | None] = {}
    for step in cells:
        label, mask = step.cell or ("", "")
        if (reason := reason_of(study, step)) is None or _is_in_its_record(study, step, reason):
            continue
        if mask not in found:
            found[mask] = _protocol(study, mask)
        known, method = found[mask], _method(label)
        if known is None or any(
            _method(path.stem) == method
            for folder in (study.out / "benchmark", _failed(study))
            for path in (folder / "records" / known[1]).glob("*.json")
        ):
            notes[f"{label}: {reason}"] = None
        else:
            seed = label.rpartition("-seed")[2]
            facts = MethodFacts(
                name=step.method,
                label=label,
                weights="none",
                parameters=None,
                seed=int(seed) if seed.isdigit() else None,
            )
            record = Record(known[0], facts, not_applicable=reason)
            write_record(record, _failed(study) / "records" / known[1] / f"{label}.json")
    return list(notes)


def _is_in_its_record(study: Study, step: Step, reason: str) -> bool:
    own = record_of(study.out / "benchmark", step)
    return bool(own and own.not_applicable and own.not_applicable.endswith(reason.partition(" failed: ")[2]))


def _method(label: str) -> str:
    return re.sub(r"-seed\d+$", "", label)


def _protocol(study: Study, mask: str) -> tuple[ProtocolFacts, str] | None:
    """The protocol of a mask and its folder, as the newest record has them: others are of what it was before."""
    name = protocol_name(study.file, mask)
    found = study.out.glob(f"benchmark/records/{name}-????????/*.json")
    for path in newest_first(found):
        try:
            record = read_record(path)
        except ValueError as error:
            print(error, file=sys.stderr)
            continue
        if record.protocol.name == name:
            return record.protocol, path.parent.name
    return None
