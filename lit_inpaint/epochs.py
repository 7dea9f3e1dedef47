"""Lightning's count of epochs: where a run ends, and where it resumes from an epoch's last batch, or from inside one
broken off."""

import math
from typing import Any

import lightning as L


def last_step(trainer: L.Trainer) -> int | None:
    """The step at which a training ends, by ``max_steps`` or ``max_epochs``; None if neither says so, or not yet: its
    batches are counted when it begins."""
    epochs = -1 if trainer.max_epochs is None else trainer.max_epochs
    limits, batches = [trainer.max_steps] if trainer.max_steps > 0 else [], trainer.num_training_batches
    if epochs > 0 and math.isfinite(batches):
        limits.append(epochs * math.ceil(batches / trainer.accumulate_grad_batches))
    return min(limits, default=None)


def finish_epoch(trainer: L.Trainer) -> None:
    """Count an epoch whose last batch is trained as over, so that the next one begins as it would have.

    After that batch, Lightning takes the next epoch for the rest of this one and does not count it as started, so that
    a second resume begins it anew; in the validation that follows, once it is repeated, it never leaves the epoch; at
    the epoch's end, in a run whose length is a number of steps, it counts the epoch twice. Called when training starts;
    a second call does nothing.
    """
    loop, batches = trainer.fit_loop, trainer.fit_loop.epoch_loop
    if not (batches.restarting and batches.batch_progress.is_last_batch):
        return
    if batches.restarted_on_train_batch_end:  # the loop has counted the epoch
        batches.batch_progress.increment_completed()
        batches._batches_that_stepped += 1
    elif loop.restarted_mid_epoch:
        loop.epoch_progress.increment_processed()
        loop.epoch_progress.increment_completed()
        batches._batches_that_stepped += 1
    elif loop.restarted_on_epoch_end:
        loop.epoch_progress.increment_completed()
    batches.restarting = False
    loop.reset_restart_stage()


def reopen_epoch(trainer: L.Trainer, checkpoint: dict[str, Any]) -> None:
    """Save an epoch that a stop has broken off as still open, in the hook that ends its last batch.

    Lightning counts it as over before on_train_epoch_end and on_train_end, where a ModelCheckpoint may save: a run that
    resumes from there would never train the rest of its samples. Other checkpoints stay as they are.
    """
    batches = trainer.fit_loop.epoch_loop.batch_progress
    epoch: Any = trainer.fit_loop.epoch_progress.current
    if batches.is_last_batch or batches.current.ready == 0 or epoch.processed != epoch.started:
        return
    saved = checkpoint["loops"]["fit_loop"]
    for count in (saved["epoch_progress"]["total"], saved["epoch_progress"]["current"]):
        count["processed"] -= 1
        count["completed"] = min(count["completed"], count["processed"])
    checkpoint["epoch"] = saved["epoch_progress"]["current"]["completed"]
    for count in (saved["epoch_loop.batch_progress"]["total"], saved["epoch_loop.batch_progress"]["current"]):
        count["completed"] -= 1  # as in on_train_batch_end, from where everything else resumes
    saved["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
