"""Private state of Lightning's training loop that resuming needs, accessed only here.

``tests/house/test_private_names.py`` lists each of these names and fails when Lightning no longer has one.
"""

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint


def in_batch_end(trainer: L.Trainer) -> bool:
    """Whether a batch has been processed but not finished: its values are not logged, its validation has not begun."""
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress.current
    return bool(progress.processed == progress.completed + 1)


def stops_early(trainer: L.Trainer) -> bool:
    """Whether Lightning will leave the epoch because a callback, max_time or the module has said so."""
    return bool(trainer.should_stop and trainer.fit_loop._can_stop_early)


def validation_is_due(trainer: L.Trainer) -> bool:
    """Whether Lightning would validate after the batch that is being finished if the run went on."""
    fetcher, batches = trainer.fit_loop._data_fetcher, sum(trainer.num_val_batches)
    stop, trainer.should_stop = trainer.should_stop, False  # which causes one more
    due = fetcher is not None and batches > 0 and trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)
    trainer.should_stop = stop
    return bool(due)


def logs_this_batch(trainer: L.Trainer) -> bool:
    """Whether the values of the batch that is being finished go to the loggers."""
    every = trainer.log_every_n_steps or trainer.global_step + 1  # type: ignore[attr-defined]
    return bool((trainer.fit_loop.epoch_loop._batches_that_stepped + 1) % every == 0)


def values_to_log(trainer: L.Trainer) -> dict[str, float]:
    """The latest value of each key that a training step has logged in this epoch."""
    logged = trainer.fit_loop.epoch_loop._results.metrics(on_step=True)["log"]
    return {key: float(value) for key, value in logged.items()}


def remember_last(keeper: ModelCheckpoint, path: Path) -> None:
    """Make a ModelCheckpoint write over ``path`` the next time it saves its last checkpoint, and not before."""
    keeper.last_model_path = keeper._last_checkpoint_saved = str(path)
