"""One worker: takes trials until the budget is met, runs each in a separate process, reports validations."""

import contextlib
import ctypes
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import optuna
from optuna.trial import TrialState

from experiments.cli import SAFE_PATH
from experiments.run import Run
from experiments.run.curves import join_segments, read_segments
from experiments.run.processes import born
from experiments.sweep.laws import Drawn
from experiments.sweep.ledger import BEAT, Ledger
from lit_inpaint import renamed

_POLL = 0.5  # seconds
GRACE = 60.0  # from SIGTERM, upon which a run saves its checkpoint, to SIGKILL


def work(ledger: Ledger, out: Path) -> None:
    """Run trials until none is left. SIGTERM and Ctrl-C end the current trial and free its slot."""
    signal.signal(signal.SIGTERM, exit_on)
    while (claimed := ledger.claim()) is not None:
        trial, drawn = claimed
        try:
            folder = Run(out / "trials" / f"{trial.number:04}").next_free().folder  # fit would leave a run's folder too
            _run(ledger, trial, drawn, folder)
        except BaseException:
            ledger.lose(trial.number, "its worker was stopped")
            raise


def _run(ledger: Ledger, trial: optuna.Trial, drawn: Drawn, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = ledger.sweep.arguments(drawn, folder)
    environment = {"WANDB_RUN_GROUP": ledger.sweep.name, **os.environ}
    if environment.get("PYTHONSAFEPATH") == SAFE_PATH:  # a program of the user's may import what lies beside it
        del environment["PYTHONSAFEPATH"]
    log = folder / "log.txt"
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=environment,
            start_new_session=True, preexec_fn=end_with_parent,
        )  # fmt: skip
    try:
        trial.set_user_attr("group", [process.pid, born(process.pid)])
        trial.set_user_attr("folder", str(folder))
        ended, validations = _watch(ledger, trial, process, folder)
    finally:
        stop(process)
    if ended == "lost":
        return
    metric = ledger.sweep.metric
    run = Run(folder)
    values = _validations(run, metric)
    facts = values[-1][0] if values else {}
    last = run.last_logged(metric)
    if ended == "pruned":  # at that validation, however many more it has reached meanwhile
        facts, value = values[validations - 1]
        ledger.finish(trial.number, TrialState.PRUNED, value, **facts)
    elif process.returncode == 0 and last is not None and math.isfinite(last):
        ledger.finish(trial.number, TrialState.COMPLETE, last, **facts)
    else:
        said = next((line for line in reversed(_lines(log)) if line.strip()), "it said nothing").strip()
        reason = f"exit code {process.returncode}: {said[:300]}"
        if process.returncode == 0:
            reason = f"it logged no {metric}" if last is None else f"the last {metric} that it logged is {last}"
        ledger.finish(trial.number, TrialState.FAIL, reason=reason, **facts)


def _watch(ledger: Ledger, trial: optuna.Trial, process: subprocess.Popen[bytes], folder: Path) -> tuple[str, int]:
    """Report each validation until the process ends; "ended", "pruned", or "lost" if another worker took it over, and
    the number of validations. Whether one is pruned depends on them alone, not on how soon they are seen."""
    reported, beaten, read, run = 0, time.monotonic(), 0, Run(folder)
    while True:
        running = process.poll() is None
        size = sum(path.stat().st_size for path in run.metrics)
        if size != read:
            read = size
            for _, value in _validations(run, ledger.sweep.metric)[reported:]:
                reported += 1
                if math.isfinite(value):
                    trial.report(value, step=reported)
                    if ledger.sweep.early_terminate and trial.should_prune():
                        return "pruned", reported
        if not running:
            return "ended", reported
        if time.monotonic() - beaten > BEAT:
            beaten = time.monotonic()
            if not ledger.beat(trial):
                return "lost", reported
        time.sleep(_POLL)


def _validations(run: Run, metric: str) -> list[tuple[dict[str, float], float]]:
    """Value of each validation, and the images seen by then; a program of the user's may log steps alone."""
    if seen := run.curve(metric):
        return [({"images_seen": images}, value) for images, value in seen]
    rows = [
        [row | {"images_seen": row["step"]} for row in segment if "step" in row]
        for segment in read_segments(run.folder)
    ]
    return [({}, value) for _, value in join_segments(rows)[0].get(renamed.logged(metric, run.history.method), [])]


def _lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines()


def exit_on(number: int, frame: FrameType | None) -> None:
    """A signal handler under which ``finally`` still runs."""
    sys.exit(128 + number)


def end_with_parent() -> None:
    """On Linux, receive SIGTERM when the worker dies, even by SIGKILL; elsewhere the next worker ends the trial."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def stop(process: subprocess.Popen[bytes], grace: float = GRACE) -> None:
    """End a process and everything in its session."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
