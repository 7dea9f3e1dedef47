"""One job of a study: its command as a process, and files that say since when it runs, how it ended and why.

``steps/NAME.json`` is written when it is done and is what Snakemake waits for; ``NAME.failed.json`` holds the reason
of a failure, ``NAME.running.json`` the start, ``NAME.txt`` what it printed. ``NAME.lock`` is held by the process and by
its command, so that a workflow that was killed and started again waits for a command that outlived it.
"""

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from experiments.files.find import newest_first
from experiments.files.read import read_json
from experiments.files.write import write_text
from experiments.records.files import read_record
from experiments.records.record import Record
from experiments.study.plan import Step, Study
from experiments.study.snakefile import marker

_ERROR = re.compile(r"lit-inpaint: |[\w.]*(Error|Exception)\b")
_INTERRUPTED = {-signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGINT}


def run_step(study: Study, step: Step, unit: str | None = None) -> int:
    """Run a job; its exit code. What is half done resumes: fit from its checkpoint, benchmark from its journal.

    ``unit``: the hash of its unit, which a file that it names may change.
    """
    done, failed, running, log = (file_of(study, step, kind) for kind in ("json", "failed.json", "running.json", "txt"))
    log.parent.mkdir(parents=True, exist_ok=True)
    with file_of(study, step, "lock").open("ab") as lock:
        if not _take(lock):
            print(f"{step.name} is still run by an earlier process; waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        failed.unlink(missing_ok=True)
        if step.kind in ("assemble", "import") and step.makes:  # which never overwrite; both are quick
            step.makes.unlink(missing_ok=True)
        started = time.time()
        write_text(running, json.dumps({"started": started, "machine": socket.gethostname()}))
        begin = log.stat().st_size if log.is_file() else 0
        # A label is the study's: what its file said before is replaced. The hash of a unit is of the command alone.
        replacing = ["--overwrite"] if step.kind == "benchmark" else []
        code = _run([*step.command, *replacing], log, lock)
        facts = {"command": study.portable(step.command), "started": started, "seconds": time.time() - started}
        facts |= {"unit": unit} if unit else {}
        reason = reason_in(log, step, code, begin) if code else ""
        if code == 1 and (refused := refusal(study.out / "benchmark", step, reason)):  # a cell with its reason
            facts["refused"], code = refused, 0
        if code == 0:
            write_text(done, json.dumps(facts, indent=1) + "\n")
        elif code not in _INTERRUPTED:
            write_text(failed, json.dumps(facts | {"reason": reason}, indent=1) + "\n")
            print(f"{step.name} failed: {reason} [{log}]", file=sys.stderr)
        running.unlink(missing_ok=True)
    return 128 - code if code < 0 else code


def _run(command: Sequence[str], log: Path, lock: IO[bytes]) -> int:
    """The exit code of one of our commands; SIGTERM is passed on to it, and Ctrl-C has reached it already."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            argv(command), stdout=file, stderr=file, stdin=subprocess.DEVNULL, pass_fds=[lock.fileno()]
        )
        before = {
            signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, frame: process.terminate()),
            signal.SIGINT: signal.signal(signal.SIGINT, lambda number, frame: None),
        }
        code = process.wait()
    for number, handler in before.items():
        signal.signal(number, handler)
    return code


def record_of(benchmark: Path, step: Step) -> Record | None:
    """The newest record of a cell."""
    label, mask = step.cell or ("", "")
    found = newest_first(benchmark.glob(f"records/*{mask and f'-{mask}'}-????????/{label}.json")) if label else []
    return read_record(found[0]) if found else None


def refusal(benchmark: Path, step: Step, said: str) -> str | None:
    """Why a method does not take the holes of its cell, if its record says so and this attempt has ``said`` it too."""
    record = record_of(benchmark, step)
    reason = record.not_applicable if record and record.refused else None
    return reason if reason and reason.startswith(said) else None


def argv(command: Sequence[str]) -> list[str]:
    """A command of this installation, whatever PATH says."""
    return [sys.executable, "-P", "-m", "experiments", *command]


def file_of(study: Study, step: Step, suffix: str) -> Path:
    return (study.out / marker(step.name)).with_name(f"{step.name}.{suffix}")


def facts_of(study: Study, step: Step, suffix: str) -> dict[str, Any] | None:
    """What a job has written about itself; None if it has not, or did so for another command."""
    try:
        facts = read_json(file_of(study, step, suffix))
    except (OSError, ValueError):  # not there, or torn
        return None
    said = facts.get("command", step.command)
    return facts if study.portable(said) == study.portable(step.command) else None


def is_done(study: Study, step: Step) -> bool:
    """Whether a job is done, after all that it needs, as Snakemake sees it: their markers are not newer."""
    if facts_of(study, step, "json") is None:
        return False
    needs = [study.steps[need] for need in step.needs]
    try:
        written = [file_of(study, one, "json").stat().st_mtime_ns for one in (step, *needs)]
    except FileNotFoundError:  # taken away meanwhile, to run again
        return False
    return max(written) == written[0] and all(is_done(study, need) for need in needs)


def is_running(study: Study, step: Step) -> bool:
    """Whether a process holds the lock of a job, on this machine or where a shared file system tells."""
    path = file_of(study, step, "lock")
    if not path.is_file():
        return False
    with path.open("ab") as lock:
        return not _take(lock)


def _take(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def reason_in(log: Path, step: Step, code: int, begin: int = 0) -> str:
    """Why a command failed: what benchmark says of its method, the error that ends a traceback, or the last line.

    ``begin``: bytes of the log that earlier attempts wrote.
    """
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    text = log.read_bytes()[begin:].decode("utf-8", errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [f"exit code {code}, without a word"]
    label = step.cell[0] if step.cell else None
    of_method = [line.partition(": ")[2] for line in lines if label and line.startswith(f"{label} under ")]
    errors = [line for line in lines if _ERROR.match(line)]
    said = (of_method or errors or lines)[-1]
    if said.endswith("any of the Union subtypes"):  # jsonargparse's, of a class that cannot be made: the causes follow
        causes = [line.removeprefix("- ") for line in lines[lines.index(said) :] if line.startswith("- ")]
        said = next((cause for cause in causes if "NoneType" not in cause), said)
    return said.removeprefix("lit-inpaint: ").removeprefix("failed: ")[:500]


def hold(study: Study) -> None:
    """Lock the study for this process and the snakemake that it becomes.

    Raises:
        ValueError: It runs already.
    """
    lock = os.open(study.out / ".lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(
            f"{study.out} is already being run; `--status` says what runs, another --out is free."
        ) from None
    os.set_inheritable(lock, True)
