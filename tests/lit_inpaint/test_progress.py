"""The bar and the lines of a log count to the end of the run, whichever limit sets it."""

import re
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from lit_inpaint.callbacks import StepProgressBar
from lit_inpaint.epochs import last_step
from tests.support.contract import trainer


class Line(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.totals: list[int | float] = []

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.totals.append(self.trainer.progress_bar_callback.total_train_batches)  # type: ignore[union-attr]
        return self.layer(batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-3)


def lines(folder: Path, capsys: pytest.CaptureFixture[str], batches: int = 10, **limits: Any) -> tuple[list[str], Line]:
    """What a fit writes into a log, and the module that it has trained."""
    bar = {"enable_progress_bar": True, "callbacks": [StepProgressBar()], "enable_checkpointing": False}
    run, module = trainer(folder, **(bar | {"max_steps": -1} | limits)), Line()
    capsys.readouterr()
    run.fit(module, DataLoader(torch.zeros(batches, 1)))  # type: ignore[arg-type]
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")], module


@pytest.mark.parametrize(
    ("limits", "end"),
    [
        ({"max_epochs": 4}, 40),
        ({"max_epochs": 4, "max_steps": 1_000_000}, 40),
        ({"max_epochs": 4, "max_steps": 30}, 30),
        ({"max_epochs": 4, "limit_train_batches": 5}, 20),
        ({"max_epochs": 4, "accumulate_grad_batches": 3}, 16),
    ],
    ids=str,
)
def test_a_run_of_epochs_counts_to_its_last_step(
    limits: dict[str, int], end: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    found, module = lines(tmp_path, capsys, **limits)
    assert module.global_step == end and set(module.totals) == {end}
    assert len(found) == min(end, 20)
    assert found[-1].startswith(f"step {end}/{end}, ") and "0:00:00 left" in found[-1]


def test_a_run_of_minutes_writes_a_line_every_twentieth_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    found, module = lines(tmp_path, capsys, 1, max_steps=10**9, max_time={"seconds": 2})
    assert 5 < len(found) <= 20 < module.global_step
    left = [int(re.findall(r":(\d\d) left", line)[0]) for line in found]
    assert left[0] > left[-1] and left == sorted(left, reverse=True)


def test_nothing_is_said_of_an_end_that_is_unknown(tmp_path: Path):
    assert last_step(trainer(tmp_path, max_steps=-1, max_epochs=-1)) is None
    assert last_step(trainer(tmp_path, max_steps=-1, max_epochs=2)) is None  # before its batches are counted
