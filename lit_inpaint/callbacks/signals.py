"""Stop signals: the state of a fit when one arrives, messages, and requeueing under SLURM."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from enum import Enum

from lightning.pytorch.utilities.rank_zero import rank_zero_only

SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)  # Windows has two of them
)


class State(Enum):
    """State of a fit, for a signal that arrives now."""

    NOT_STARTED = "nothing to save yet: end at once"
    TRAINING = "finish the batch, save, end"
    FINISHING = "it saves already, or is done: let it end"


@rank_zero_only
def say(text: str) -> None:
    with suppress(OSError):  # of a terminal that was closed
        print(text, file=sys.stderr, flush=True)


@rank_zero_only
def requeue() -> None:
    """Requeue the job, if it is a SLURM batch job."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        code = subprocess.run(["scontrol", "requeue", job]).returncode
    except OSError as error:
        code = error.errno or 1
    say(f"scontrol requeue {job}: " + ("done" if code == 0 else f"failed with {code}; submit the job again"))
