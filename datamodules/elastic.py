"""Where a resumed run continues in the order of its samples, also with another global batch."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import lightning as L
from lightning.pytorch.utilities import rank_zero_info

from datamodules.sampler import position


class Deal(NamedTuple):
    """How the samples of an epoch are dealt to ``world`` processes, ``batch`` at a time over all of them."""

    samples: int
    batch: int
    world: int
    drop_last: bool

    def batches(self, done: int = 0) -> int:
        """Batches of what is left of an epoch after ``done`` samples.

        >>> [Deal(10, 4, 2, drop_last).batches(done) for drop_last in (True, False) for done in (0, 3)]
        [2, 1, 3, 2]
        """
        rest = self.samples - done
        return rest // self.batch if self.drop_last else -(-(rest // self.world * self.world) // self.batch)

    @property
    def used(self) -> int:
        """Samples of a whole epoch that are dealt."""
        unit = self.batch if self.drop_last else self.world
        return self.samples // unit * unit


class Resumed(NamedTuple):
    """Where an epoch is entered: after ``done`` of its samples, which are ``batches`` x batch + ``offset``."""

    epoch: int = 0
    done: int = 0
    offset: int = 0


def resumed(trainer: L.Trainer | None, deal: Deal, state: Mapping[str, Any]) -> Resumed:
    """The position of ``trainer`` in samples, and if it was saved under another deal, its count of batches in this one.

    A permutation is a function of (seed, epoch), so processes, workers and batch size per device are free as long as
    their product stays. Where it changes, what is left of the epoch is dealt anew: no sample comes twice.

    Args:
        state: The checkpoint's, by which the epoch has been dealt so far; empty for a new run.
    """
    if trainer is None:
        return Resumed()
    _count_epoch(trainer)
    epoch, batches = position(trainer)
    at, offset = state.get("dealt_anew", (epoch, 0))
    offset = offset if at == epoch else 0
    done = batches * state.get("global_batch", deal.batch) + offset
    if not state or (state["global_batch"], state.get("used", deal.used)) == (deal.batch, deal.used):
        return Resumed(epoch, done, offset)
    limit, whole = trainer.limit_train_batches, deal.batches()
    whole = min(limit, whole) if isinstance(limit, int) else int(limit * whole)
    begun: Any = trainer.fit_loop.epoch_progress.current
    ended = epoch == begun.started
    count = whole if ended else min(deal.batches() - deal.batches(done), whole)
    _count_batches(trainer, count, last=count == whole)
    if ended or count == whole:
        return Resumed(epoch + (not ended))
    left = deal.samples - done
    rank_zero_info(f"The remaining {left} samples of epoch {epoch} are dealt anew in batches of {deal.batch}.")
    return Resumed(epoch, done, done - count * deal.batch)


def _count_epoch(trainer: L.Trainer) -> None:
    """Count the epoch of a batch that a checkpoint was written in, where Lightning has not.

    Resumed from the last batch of an epoch, it does not count the next one as started, and a checkpoint written in that
    one would begin it anew. A Stage sees to its own; this is for checkpoints of versions before and of other modules.
    """
    epoch: Any = trainer.fit_loop.epoch_progress
    batch: Any = trainer.fit_loop.epoch_loop.batch_progress.current
    if batch.processed > batch.completed and epoch.current.processed == epoch.current.started:
        epoch.increment_ready()
        epoch.increment_started()
        trainer.fit_loop.restarting = True  # Lightning took the epoch for a finished one


def _count_batches(trainer: L.Trainer, count: int, last: bool) -> None:
    """Let Lightning's loop, whose epoch has another number of batches now, count ``count`` of them as trained."""
    progress = trainer.fit_loop.epoch_loop.batch_progress
    current: Any = progress.current
    if current.ready == 0:  # no epoch has begun
        return
    further = count - current.processed
    for name in ("ready", "started", "processed", "completed"):
        setattr(current, name, getattr(current, name) + further)
    progress.is_last_batch = last
