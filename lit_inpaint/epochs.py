"""Lightning's count of epochs, where a run resumes from a checkpoint of an epoch's last batch."""

import lightning as L


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
