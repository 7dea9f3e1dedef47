"""Worker processes of a command: none outlives it, and Ctrl-C is the command's alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = """
import os, signal, sys, time
from lit_inpaint.workers import workers

def said():
    print(os.getpid(), flush=True)
    time.sleep(120)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job ignores
    try:
        with workers(2) as pool:
            jobs = [pool.submit(said) for _ in range(8)]
            print("started", flush=True)
            jobs[0].result()
    except KeyboardInterrupt:
        sys.exit("interrupted")
"""


@pytest.fixture
def command(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "command.py").write_text(COMMAND)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "command.py"], cwd=tmp_path, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        yield process
        with pytest.raises(ProcessLookupError):  # the whole group has ended
            for _ in range(300):
                os.killpg(process.pid, 0)
                time.sleep(0.1)
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_command(command: subprocess.Popen[str], number: signal.Signals):
    assert command.stdout is not None
    assert command.stdout.readline() == "started\n"
    assert {command.stdout.readline().strip() for _ in range(2)} != {""}  # both are at work
    command.send_signal(number)
    assert command.wait(30) == (1 if number == signal.SIGINT else -number)


def test_ctrl_c_is_left_to_the_command_and_prints_no_traceback(command: subprocess.Popen[str]):
    assert command.stdout is not None and command.stderr is not None
    assert command.stdout.readline() == "started\n"
    for worker in [int(command.stdout.readline()) for _ in range(2)]:
        os.kill(worker, signal.SIGINT)
    time.sleep(1)
    assert command.poll() is None
    os.killpg(command.pid, signal.SIGINT)  # as a terminal does
    assert command.stderr.read() == "interrupted\n" and command.wait(30) == 1
