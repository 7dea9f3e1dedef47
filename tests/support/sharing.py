"""A method with random draws, a metric on features, and benchmarks in processes of their own."""

import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments import cli
from experiments.evaluate import measure
from lit_inpaint import metrics
from lit_inpaint.methods import Telea
from tests.support import processes


class Drawn(Telea):
    """Noise in the hole, another one for every sample of every image."""

    diverse = True

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Any = None) -> Tensor:
        assert generators is not None
        return torch.stack([torch.rand(erased.shape[1:], generator=g) * 2 - 1 for g in generators])


def _gap(fake: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Like fid: it depends on the order of the rows, in the last bits, and on every row."""
    return {"colour_gap": float(np.linalg.norm(np.cov(fake.T) - np.cov(real.T)) + (fake[::2] - real[1::2]).sum())}


@metrics.defined("1: covariance of mean colours", title="Colour gap", higher_is_better=False, score=_gap, least=4,
                 features=metrics.Features("colours", lambda image: image.mean((2, 3)), 3))  # fmt: skip
def colour_gap(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    raise AssertionError("a benchmark computes it from kept features")


def _slow_benchmark(argv: list[str], pause: float) -> int:
    """`lit-inpaint benchmark` with a pause before each batch is written to the journal."""
    kept = measure._keep_pictures

    def slow(*given: Any) -> None:
        kept(*given)
        time.sleep(pause)

    measure._keep_pictures = slow
    return cli.main(argv)


def torchrun(number: int) -> dict[str, str]:
    """The second of two processes, or the first, after a restart by torchrun whose store answers nobody."""
    return {
        "RANK": str(number), "WORLD_SIZE": "2", "LOCAL_RANK": str(number),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1",
        "TORCHELASTIC_RESTART_COUNT": "1", "TORCHELASTIC_USE_AGENT_STORE": "True", "GROUP_WORLD_SIZE": "1",
    }  # fmt: skip


def start_benchmark(arguments: list[str], folder: Path, log: str, env: dict[str, str], pause: float = 0.0) -> Any:
    return processes.start(_slow_benchmark, ["benchmark", *arguments], pause, folder=folder, log=log, env=env)


def kill_when(process: Any, folder: Path, journal: str, lines: int) -> None:
    """Kill it with -9 once the journal of that pattern has so many lines."""
    deadline = time.monotonic() + 120
    while not any(path.read_bytes().count(b"\n") >= lines for path in folder.glob(journal)):
        assert process.is_alive() and time.monotonic() < deadline, f"{journal} has no {lines} lines"
        time.sleep(0.005)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
