"""A run that ends in the middle of an epoch and is resumed trains the rest of that epoch, as if it had not ended."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, Timer

from masks.convention import InpaintingBatch
from tests.support import stops
from tests.support.stops import Fit, TwoNetworks


class Samples(L.Callback):
    """What each step has read."""

    def __init__(self, read: dict[int, Any]) -> None:
        self.read = read

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: InpaintingBatch, batch_idx: int) -> None:
        self.read[trainer.global_step] = (trainer.current_epoch, batch_idx, list(batch.name), batch.mask.sum().item())


class Told(L.Callback):
    """Sets should_stop after the second batch."""

    def on_train_batch_end(self, trainer: L.Trainer, *others: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step == 2


class SeldomLogs(TwoNetworks):
    """Logs one value in the first batch of an epoch only: Lightning shows it until the epoch ends."""

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        super().training_step(batch, batch_idx)
        if batch_idx == 0:
            self.log("train/seldom", float(self.global_step))


class StopsItself(SeldomLogs):
    """Sets should_stop after all callbacks."""

    def on_train_batch_end(self, *arguments: Any) -> None:
        super().on_train_batch_end(*arguments)
        self.trainer.should_stop = self.trainer.should_stop or self.trainer.global_step == 2


def below_the_threshold() -> EarlyStopping:
    return EarlyStopping("val/loss", stopping_threshold=1e9)


def at_the_epoch_end() -> ModelCheckpoint:
    """Writes last.ckpt when Lightning already counts a broken-off epoch as over."""
    return ModelCheckpoint(filename="e{epoch}", every_n_epochs=1, save_on_train_epoch_end=True, save_last=True)


USUAL = Fit(SeldomLogs, epoch=4, steps=9, validate=3, save=100)
EPOCHS = replace(USUAL, steps=-1, epochs=3)
EVERY_2 = replace(EPOCHS, validate=2)
ENDS: dict[str, tuple[Fit, Callable[[Fit], Fit]]] = {
    "should_stop": (USUAL, lambda fit: replace(fit, more=lambda: [Told()])),
    "should_stop, epochs": (EPOCHS, lambda fit: replace(fit, more=lambda: [Told()])),
    "max_time": (EPOCHS, lambda fit: replace(fit, more=lambda: [Timer({"microseconds": 1})])),
    "EarlyStopping": (EVERY_2, lambda fit: replace(fit, more=lambda: [below_the_threshold()])),
    "EarlyStopping in a step that is saved": (
        replace(EVERY_2, save=2), lambda fit: replace(fit, more=lambda: [below_the_threshold()]),
    ),
    "the module": (EPOCHS, lambda fit: replace(fit, module=StopsItself)),
    "saved at the epoch's end": (EPOCHS, lambda fit: replace(fit, more=lambda: [Told(), at_the_epoch_end()])),
    "max_steps, saved at the epoch's end": (
        USUAL, lambda fit: replace(fit, steps=6, more=lambda: [at_the_epoch_end()]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ENDS)
def test_an_epoch_that_a_stop_breaks_off_is_trained_to_its_end_after_the_resume(what: str, tmp_path: Path):
    fit, ending = ENDS[what]
    whole: dict[int, Any] = {}
    mine: dict[int, Any] = {}
    ended = ending(fit)
    assert replace(fit, more=lambda: [Samples(whole)]).run(tmp_path / "whole") == 0
    assert replace(ended, more=lambda: [Samples(mine), *ended.more()]).run(tmp_path / "ended") == 0
    assert 0 < len(mine) < len(whole) and len(mine) % fit.epoch, "it ends inside an epoch"
    assert replace(fit, more=lambda: [Samples(mine)]).run(tmp_path / "ended") == 0
    assert mine == whole
    result, once_more = stops.result(tmp_path / "whole"), stops.result(tmp_path / "ended")["val/loss"]
    assert [point for point in once_more if point in result["val/loss"]] == result["val/loss"]
    assert len(once_more) <= len(result["val/loss"]) + 1  # Lightning validates at a stop
    assert set(stops.differing(tmp_path / "ended", result)) <= {"val/loss"}
