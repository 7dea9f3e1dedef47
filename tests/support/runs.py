"""Runs that are ended or damaged at one point, resumed, and compared with one that was never stopped."""

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

from lit_inpaint.checkpoint_io import AtomicCheckpointIO
from tests.support import killing, processes
from tests.support.contract import ROWS, STAGES
from tests.support.killing import Kill

METHODS = ("DeepFillV2", "PartialConv", "DDPM")
AUTO = ["--ckpt_path", "auto"]
LIMIT = 600  # seconds for what takes some on a quiet machine
LAST = "run/checkpoints/last.ckpt"
REACH_ALL_PHASES = {
    "GLCIC": {"completion_steps": 3, "discriminator_steps": 3},
    "DDPM": {"validation_images": 1},
    "Palette": {"validation_images": 1},
    "ContextEncoder": {"region": "random"},  # the holes of these runs are free-form
}


def model(name: str) -> dict[str, Any]:
    return {"class_path": name, "init_args": dict(ROWS + STAGES)[name] | REACH_ALL_PHASES.get(name, {})}


def wait_for(condition: Any, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def step_of(folder: Path) -> int:
    return int((folder / "now.txt").read_text() or 0) if (folder / "now.txt").is_file() else 0


def flipped(content: bytes, bit: int) -> bytes:
    out = bytearray(content)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def uninterrupted(folder: Path, name: str, workers: int = 0, ranks: int = 1) -> Path:
    """The run that was never stopped, trained once; it lies beside the folder of a trial."""
    whole = folder.parent / f"whole-{name}-{workers}-{ranks}"
    if not whole.exists():
        codes = killing.run(whole, killing.settings(model(name), workers, ranks), ranks=ranks)
        assert codes == [0] * ranks, f"{name} does not train: {(whole / 'log-0-0.txt').read_text()[-2000:]}"
    return whole


def same_run(folder: Path, whole: Path) -> None:
    assert killing.state(folder) == killing.state(whole), "other weights"
    assert killing.curves(folder) == killing.curves(whole), "other curves"


def end_of_log(folder: Path, name: str = "log.txt") -> str:
    return (folder / name).read_text()[-1000:]


def killed(folder: Path, name: str, kill: Kill, workers: int, ranks: int) -> str:
    whole = uninterrupted(folder, name, workers, ranks)
    step = killing.killed_and_resumed(folder, killing.settings(model(name), workers, ranks), kill, ranks)
    found = killing.differences(folder, whole, ranks)
    assert not found, f"resumed at {step}: {found[0][:200]}"
    return f"resumed at {step}, equal"


def double_signal(
    folder: Path, first: signal.Signals, second: signal.Signals, step: int, wait: float, workers: int
) -> str:
    """``first`` in a step, ``second`` that many seconds after its save has started; a save takes two."""
    whole = uninterrupted(folder, METHODS[0], workers)
    shutil.copy(whole / "fit.yaml", folder)
    process = processes.start(killing.slow_to_save, ["fit", "--config", "fit.yaml", *AUTO], 2.0, folder=folder)
    wait_for(lambda: step_of(folder) >= step or not process.is_alive(), LIMIT)
    (folder / "saving.txt").unlink(missing_ok=True)  # of a save that was due before
    os.killpg(process.pid, first)
    wait_for(lambda: (folder / "saving.txt").exists() or not process.is_alive(), LIMIT)
    time.sleep(wait)
    assert process.is_alive(), f"ended before the second signal: {end_of_log(folder)}"
    os.killpg(process.pid, second)
    process.join(LIMIT)
    assert process.exitcode == 128 + first, f"exit code {process.exitcode}: {end_of_log(folder)}"
    saved = AtomicCheckpointIO().load_checkpoint(folder / LAST)["global_step"]
    assert saved == step_of(folder), f"step {saved} is saved, step {step_of(folder)} was the last"
    assert not list((folder / LAST).parent.glob(".*.part")), "an unfinished file is left"
    assert killing.run(folder, killing.settings(model(METHODS[0]), workers), attempt=1, more=AUTO) == [0]
    same_run(folder, whole)
    return f"step {saved} saved, resumed, equal"


def double_start(folder: Path) -> str:
    whole = uninterrupted(folder, METHODS[0])
    shutil.copy(whole / "fit.yaml", folder)
    argv = ["fit", "--config", "fit.yaml", *AUTO]
    both = [processes.start(killing.command_line, argv, 0.3, folder=folder, log=f"{n}.txt") for n in range(2)]
    for process in both:
        process.join(LIMIT)
    codes = [process.exitcode for process in both]
    assert sorted(codes, key=str) == [0, 2], f"exit codes {codes}: {end_of_log(folder, '0.txt')}"
    said = end_of_log(folder, f"{codes.index(2)}.txt")
    assert f"process {both[codes.index(0)].pid}" in said and "is writing into run" in said, said
    same_run(folder, whole)
    return "one trained, one was refused"


def flipped_bit(folder: Path, share: float) -> str:
    whole, path = uninterrupted(folder, METHODS[0]) / LAST, folder / "x.ckpt"
    content = whole.read_bytes()
    path.write_bytes(flipped(content, int(share * 8 * len(content))))
    try:
        loaded = killing.digest(AtomicCheckpointIO().load_checkpoint(path))
    except ValueError as error:
        assert str(path) in str(error), f"unnamed: {error}"
        return "noticed and named"
    assert loaded == killing.digest(AtomicCheckpointIO().load_checkpoint(whole)), "loads with other content"
    return "changes nothing"
