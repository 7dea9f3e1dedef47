"""Which samples, in which order, on which rank: the same for any number of workers, and after a restart."""

import os
import signal
import threading
from collections.abc import Iterator, Sized
from typing import Any

import cv2
import lightning as L
import torch
from torch.utils.data import SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from masks.generator import keyed_rng


class TrainingSampler(DistributedSampler[tuple[int, int]]):
    """A permutation keyed by (seed, epoch), dealt to the ranks card by card, that can start inside an epoch.

    It yields (epoch, sample index), so that the data set's draws are keyed by both wherever its worker was started.
    Every index occurs exactly once per epoch; with ``drop_last`` the end of the permutation that fills no global batch
    (batch_size x world) is left out, other indices in every epoch; without it only what does not divide among ranks.
    One rank with batches of 2B and two ranks with batches of B see the same global batches.

    Args:
        samples: Samples of an epoch.
        files: Where there are more of them than samples, an epoch takes other ones each time.
        batch_size: Batch size per rank.
        start: (epoch, samples of it that are done, on all ranks): where a run resumes. Others start at their first.
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        drop_last: bool = True,
        start: tuple[int, int] = (0, 0),
        files: int = 0,
    ) -> None:
        super().__init__(range(samples), num_replicas=world, rank=rank, seed=seed, drop_last=drop_last)  # type: ignore[arg-type]
        self.samples, self.batch_size, self.start, self.epoch = samples, batch_size, start, start[0]
        self.indices = max(samples, files)
        self.unit = batch_size * world if drop_last else world
        self.total_size = samples // self.unit * self.unit
        self.num_samples = self.total_size // world

    def __len__(self) -> int:
        """Samples of this rank in a whole epoch, also in the one that a resumed run enters in the middle."""
        return self.num_samples

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        order = keyed_rng(self.seed, "order", epoch).permutation(self.indices)[: self.samples]
        # The skip belongs to one epoch; a flag used up by the first iterator would fail when Lightning makes two.
        rest = order[self.start[1] if epoch == self.start[0] else 0 :]
        own = rest[: len(rest) // self.unit * self.unit][self.rank :: self.num_replicas]
        return iter([(epoch, index) for index in own.tolist()])


class OverfitSampler(SequentialSampler):
    """The same samples in every epoch, from where a resumed run left its own; Trainer's ``overfit_batches`` puts a
    sampler that knows of no resume in the place of any that is not sequential.

    Args:
        start: (epoch, samples of it that are done).
    """

    def __init__(self, data: Sized, start: tuple[int, int] = (0, 0)) -> None:
        super().__init__(data)
        self.start, self.epoch = start, start[0]

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start[1] if self.epoch == self.start[0] else 0, len(self)))


class EvaluationSampler(DistributedSampler[int]):
    """Every sample on exactly one rank, without padding, so that means are exact.

    >>> [list(EvaluationSampler(5, rank, world=2)) for rank in range(2)]
    [[0, 2, 4], [1, 3]]
    """

    def __init__(self, samples: int, rank: int = 0, world: int = 1) -> None:
        super().__init__(range(samples), num_replicas=world, rank=rank, shuffle=False)  # type: ignore[arg-type]
        self.samples = samples
        self.total_size = samples
        self.num_samples = len(range(rank, samples, world))

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rank, self.samples, self.num_replicas))


def position(trainer: L.Trainer | None) -> tuple[int, int]:
    """(epoch, batches done in it) of the next batch that ``trainer`` has to train, read while the loader is made.

    Lightning makes the iterator before it tells a sampler its epoch (#21938), and workers fetch ahead from it, so the
    position must be known here. ``processed`` counts finished training steps (``completed`` is one behind in a
    checkpoint written in on_train_batch_end). After the last batch, or at an epoch end, the next epoch starts, although
    ``current_epoch`` may still read the old one.
    """
    if trainer is None:
        return 0, 0
    batch = trainer.fit_loop.epoch_loop.batch_progress
    epoch: Any = trainer.fit_loop.epoch_progress.current
    done: Any = batch.current
    if epoch.processed == epoch.started or (batch.is_last_batch and done.processed == done.ready):
        return epoch.started, 0
    return epoch.started - 1, done.processed


def worker_threads(worker: int) -> None:
    """One thread a worker: OpenCV would start one a core in each."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    _outlive_signals()


def _outlive_signals() -> None:
    """SLURM, a closed terminal and Ctrl-C reach every process of a job; a worker that dies of it takes the run with it
    before the run can save. So a worker reacts to SIGTERM only from its parent, and ignores the others."""
    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    signals = {getattr(signal, name) for name in names if hasattr(signal, name)}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    def wait() -> None:
        while True:
            told = signal.sigwaitinfo(signals)
            if told.si_signo == signal.SIGTERM and told.si_pid == os.getppid():
                os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
