"""``lit-inpaint sweep``: arguments, workers and the page."""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.files.find import find_yaml
from experiments.sweep.space import Sweep, read_sweep
from lit_inpaint import plugins
from lit_inpaint.options import Parser, loading

if TYPE_CHECKING:  # Optuna is an extra
    from optuna.trial import FrozenTrial

    from experiments.sweep.ledger import Ledger

_PAGE_EVERY = 30.0  # seconds, while trials end


def parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="lit-inpaint sweep",
        description="Train over a search space in W&B's sweep schema, offline, with Optuna. Run the same command again "
        "to resume, or on another machine with the same --out or --storage to join.",
    )
    p.add_argument("sweep", help="a YAML file, or the name of a built-in sweep such as narrow_vs_wide")
    p.add_argument("--out", type=Path, help="folder for trials, page and journal (default: runs/sweeps/<name>)")
    p.add_argument(
        "--workers", type=int, default=1, help="number of parallel trials on this machine; 0 only writes the page"
    )
    p.add_argument("--trials", type=int, help="total number of trials (default: run_cap of the file)")
    p.add_argument("--seed", type=int, help="seed for random and bayes (default: derived from the file)")
    p.add_argument("--storage", help="database URL to use instead of <out>/journal.log, e.g. postgresql://...")
    p.add_argument(
        "--submitit",
        nargs="+",
        metavar="KEY=VALUE",
        help="submit the workers to a cluster through submitit: cluster=slurm timeout_min=600 gpus_per_node=1 ...",
    )
    p.add_argument("--work", action="store_true", help=argparse.SUPPRESS)  # this process is a worker
    return p


def main(argv: list[str]) -> int:
    """0 if the budget is met and a trial is complete, else 1."""
    arguments = parser().parse_args(argv)
    sweep = read_sweep(find_yaml(arguments.sweep, "sweeps"))
    budget = sweep.budget(arguments.trials)
    if arguments.workers < 0:
        raise ValueError(f"--workers is {arguments.workers}; expected 1 or more, or 0 to only write the page.")
    if arguments.seed is not None and (arguments.seed < 0 or sweep.method == "grid"):
        raise ValueError(
            f"--seed is {arguments.seed}; expected 0 or more, and method random or bayes: a grid has no random draws."
        )
    out = (arguments.out or Path("runs/sweeps") / sweep.name).absolute()
    try:
        with contextlib.nullcontext() if arguments.work else loading("sweep"):
            import plotly  # noqa: F401  the page needs it, after hours of training

            from experiments.sweep.ledger import Ledger
    except ImportError as error:
        raise ValueError(f"a sweep needs {error.name}: pip install 'lit-inpaint[sweep]'.") from None
    if arguments.workers and not arguments.work:
        with loading("sweep"):
            from experiments.sweep.check import check_trials

            check_trials(sweep)
    out.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(sweep, arguments.storage or str(out / "journal.log"), budget, arguments.seed, out)
    if arguments.work:
        from experiments.sweep.worker import work

        work(ledger, out)
        return 0
    command = _worker_command(find_yaml(arguments.sweep, "sweeps"), out, budget, arguments.storage)
    if arguments.submitit:
        return submit(command, max(arguments.workers, 1), out, arguments.submitit)
    if arguments.workers:
        _run_workers(ledger, command, arguments.workers, out)
    written = report(ledger, out)
    print(summary(ledger, sweep))
    for path in written:
        print(path)
    return 0 if ledger.best() and (ledger.spent() or not arguments.workers) else 1


def _worker_command(sweep: Path, out: Path, budget: int, storage: str | None) -> list[str]:
    command = [sys.executable, "-P", "-m", "experiments", "sweep", str(sweep)]
    command += ["--out", str(out), "--trials", str(budget)]
    return [*command, *(["--storage", storage] if storage else []), "--work"]


def _run_workers(ledger: "Ledger", command: Sequence[str], number: int, out: Path) -> None:
    """Start the workers, report finished trials, and stop the workers when this process ends for any reason."""
    from rich.console import Console

    from experiments.sweep.worker import GRACE, end_with_parent, exit_on, stop

    signal.signal(signal.SIGTERM, exit_on)
    ledger.reclaim_from_dead_workers()
    told = {trial.number for trial in ledger.trials() if trial.state.is_finished()}
    workers: list[subprocess.Popen[bytes]] = []
    written = 0.0
    try:
        for environment in environments(number):
            workers.append(
                subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=end_with_parent)
            )
        print(f"{number} at a time; their logs: {out}/trials/*/log.txt", flush=True)
        with Console(stderr=True).status("training the first trials") as status:  # moves in a terminal only
            while None in [worker.poll() for worker in workers]:  # polls each
                time.sleep(1)
                ended = [t for t in ledger.trials() if t.state.is_finished() and t.number not in told]
                for trial in ended:
                    told.add(trial.number)
                    print(line(trial, ledger), flush=True)
                    status.update(summary(ledger, ledger.sweep))
                if ended and time.monotonic() - written > _PAGE_EVERY:
                    written = time.monotonic()
                    report(ledger, out)
    finally:
        for worker in workers:
            stop(worker, 2 * GRACE)  # it stops its trial first
    ledger.reclaim_from_dead_workers()
    killed = sum(worker.returncode != 0 for worker in workers)
    if killed:
        print(f"{killed} of {number} workers died; the others took over their trials.", file=sys.stderr)
    if not ledger.spent():
        print("The budget is not met; run the same command again to resume.", file=sys.stderr)


def environments(number: int) -> list[dict[str, str]]:
    """One environment per worker; GPUs are divided, so that a trial's DDP stays on its worker's GPUs."""
    gpus = _visible_gpus()
    if not gpus or number == 1:
        return [dict(os.environ)] * number
    each = max(1, len(gpus) // number)
    shares = [[gpus[(worker * each + i) % len(gpus)] for i in range(each)] for worker in range(number)]
    return [{**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(share)} for share in shares]


def _visible_gpus() -> list[str]:
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu for gpu in chosen.split(",") if gpu]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout.splitlines()
    return [str(index) for index, _ in enumerate(line for line in listed if line.startswith("GPU "))]


def submit(command: Sequence[str], number: int, out: Path, settings: Sequence[str]) -> int:
    """Submit the workers through submitit and return; they end when the budget is met."""
    try:
        import submitit
    except ImportError:
        raise ValueError("--submitit needs submitit: pip install 'lit-inpaint[sweep]'.") from None
    pairs = dict(setting.partition("=")[::2] for setting in settings)
    executor = submitit.AutoExecutor(folder=out / "submitit", cluster=pairs.pop("cluster", "slurm"))
    executor.update_parameters(**{key: int(v) if v.isdigit() else v for key, v in pairs.items()})
    jobs = [executor.submit(submitit.helpers.CommandFunction(list(command))) for _ in range(number)]
    print(f"{len(jobs)} workers submitted: {', '.join(job.job_id for job in jobs)}. Their logs: {out / 'submitit'}")
    print(f"To update the page: {page_command(command)}")
    return 0


def page_command(worker: Sequence[str]) -> str:
    """Shell-quoted command that writes the page of a worker's sweep: its file, folder, budget and storage."""
    return plugins.command(*worker[worker.index("sweep") : -1], "--workers", "0")


def line(trial: "FrozenTrial", ledger: "Ledger") -> str:
    from experiments.sweep.ledger import lost, why_lost

    name = f"trial {trial.number}"
    if lost(trial):
        return f"{name} lost: {why_lost(trial)}; its slot in the budget is free again"
    state = trial.state.name.lower()
    if trial.value is not None:
        best = ledger.best()
        known = f" (best {best.value:.4g} of trial {best.number})" if best else ""
        return f"{name} {state}: {ledger.sweep.metric} {trial.value:.4g}{known}"
    return f"{name} {state}: {trial.user_attrs.get('reason', '')} [{trial.user_attrs.get('folder', '')}/log.txt]"


def summary(ledger: "Ledger", sweep: Sweep) -> str:
    states = [trial.state.name.lower() for trial in ledger.held()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "none"
    best = ledger.best()
    end = f" Best {sweep.metric}: {best.value:.6g}, trial {best.number}." if best else ""
    return f"{len(states)} of {ledger.budget} trials: {counts}.{end}"


def report(ledger: "Ledger", out: Path) -> list[Path]:
    from experiments.sweep.page import write

    return write(ledger, out)
