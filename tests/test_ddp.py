"""Two processes of batch B train as one of batch 2 B, whatever the loss; what cannot be so is said at start."""

from pathlib import Path
from typing import Any

import gradients
import processes
import pytest
import torch
from gradients import CASES, COUPLED

pytestmark = pytest.mark.xdist_group("ddp")


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """{role-rank: {case: gradients of every optimiser step}}, of two gloo ranks, one process, and either half alone."""
    folder, port = tmp_path_factory.mktemp("ddp"), processes.free_port()
    roles = [("ranks", 0), ("ranks", 1), ("whole", 0), ("half", 0), ("half", 1)]
    started = {
        f"{role}-{rank}": processes.start(
            gradients.write_all, role, rank, folder=folder, log=f"{role}-{rank}.txt",
            env=processes.rank_env(rank, 2, port) if role == "ranks" else {},
        )
        for role, rank in roles
    }  # fmt: skip
    for name, process in started.items():
        process.join(200)
        assert process.exitcode == 0, (folder / f"{name}.txt").read_text()[-3000:]
    return {name: torch.load(folder / f"{name}.pt", weights_only=True) for name in started}


def error(a: list[Any], b: list[Any]) -> float:
    """Norm of the difference over the norm, of the gradients of one optimiser step."""
    assert [x is None for x in a] == [x is None for x in b]
    a, b = (torch.cat([x.flatten() for x in y if x is not None]) for y in (a, b))
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_have_the_gradients_of_one_process_with_twice_the_batch(steps: dict[str, Any], case: str):
    first, second, whole = (steps[name][case] for name in ("ranks-0", "ranks-1", "whole-0"))
    assert len(first) == len(second) == len(whole) > 0
    assert all(error(a, b) == 0 for a, b in zip(first, second, strict=True))
    expected = whole
    if case in COUPLED:
        halves = zip(steps["half-0"][case], steps["half-1"][case], strict=True)
        expected = [[None if x is None else (x + y) / 2 for x, y in zip(a, b, strict=True)] for a, b in halves]
        assert any(error(a, b) > 1e-5 for a, b in zip(whole, expected, strict=True))  # it belongs on the list
    errors = [error(a, b) for a, b in zip(first, expected, strict=True)]
    assert max(errors) < 1e-5
