"""Processes that can be killed and cost 0.2 s each: forks of a server that has imported everything."""

import multiprocessing
import multiprocessing.forkserver
import os
import random
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PRELOAD = [
    "torch",
    "lightning.pytorch",
    "experiments.train.cli",
    "datamodules",
    "lit_inpaint.methods",
    "tests.support.killing",
]


IMPORTED_BY = os.getpid()
XDIST = "PYTEST_XDIST_WORKER"


def serve() -> None:
    """Start the server in the background. A process has one, so that it comes before that of a program under test
    (`make gpu`, the app), which has imported next to nothing: a fork of that one takes seconds."""
    _server()
    multiprocessing.forkserver.ensure_running()


def _server() -> Any:
    context = multiprocessing.get_context("forkserver")
    # The server takes its path from the environment, not from sys.path.
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(p for p in paths if p))
    os.environ["OMP_NUM_THREADS"] = "1"
    context.set_forkserver_preload(PRELOAD)
    return context


def start(
    target: Callable[..., Any],
    *arguments: Any,
    folder: Path,
    log: str = "log.txt",
    env: Mapping[str, str] | None = None,
) -> Any:
    """``target(*arguments)`` in a process of its own, in the working folder ``folder``, with its output in ``log``."""
    folder.mkdir(parents=True, exist_ok=True)
    process = _server().Process(target=_run, args=(target, arguments, str(folder), log, dict(env or {})))
    process.start()
    return process


def _run(target: Callable[..., Any], arguments: tuple[Any, ...], folder: str, log: str, env: dict[str, str]) -> None:
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored where the tests themselves run in a background job
    os.setpgrp()  # a signal to the group reaches this process and its workers, not the test
    os.chdir(folder)
    os.environ.update(env)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1), os.dup2(out, 2)
    import torch

    multiprocessing.set_start_method("fork", force=True)  # of a DataLoader's workers, as in any Linux process
    torch.set_num_threads(1)
    try:
        assert XDIST not in os.environ or os.getpid() != IMPORTED_BY, "the server of forks has imported nothing"
        code = target(*arguments)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush(), sys.stderr.flush()
    sys.exit(code)


def rank_env(rank: int, world: int, port: int) -> dict[str, str]:
    """The environment that torchrun sets on one machine, as read by Lightning."""
    return {
        "LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip


def free_port() -> int:
    """A port below those that systems hand out by themselves: none of these is taken between here and its use, seconds
    later, by whatever runs beside."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def on_one_and_two(target: Callable[[int, str], None], folder: Path) -> None:
    """``target(devices, folder)`` on one process and, at the same time, on two ranks of gloo."""
    port, started = free_port(), {}
    for devices, rank in ((1, 0), (2, 0), (2, 1)):
        log, env = f"{devices}-{rank}.txt", rank_env(rank, 2, port) if devices == 2 else {}
        started[log] = start(target, devices, str(folder), folder=folder, log=log, env=env)
    for log, process in started.items():
        process.join(240)
        assert process.exitcode == 0, f"exit code {process.exitcode}: {(folder / log).read_text()[-3000:]}"
