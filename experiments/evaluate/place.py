"""Which part of an evaluation this process does first, among the processes that launchers started for it.

Every batch belongs to one of as many shares as there are processes, and every share has a journal. A process starts
with its own shares and then takes whichever nobody holds: processes may start late, differ in speed or be killed.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# Number of a process, the lowest number, and how many there are; the first launcher that is complete counts.
LAUNCHERS = (
    ("RANK", "", "WORLD_SIZE"),  # torchrun, and whoever sets both
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT"),
    ("SLURM_PROCID", "", "SLURM_NTASKS"),  # srun
)
LOCAL = ("LOCAL_RANK", "SLURM_LOCALID")  # number of a process on its machine


@dataclass(frozen=True)
class Place:
    """One process among several.

    >>> [batch for batch in Place(1, 2).batches(1, images=5, size=2)]
    [range(2, 4)]

    Args:
        number: From 0.
        of: How many processes there are.
        local: Number of the process on its machine.
    """

    number: int = 0
    of: int = 1
    local: int = 0

    def jobs(self, count: int) -> list[int]:
        """Order in which this process visits the jobs: every ``of``-th, then those that its neighbours begin with.

        >>> Place(1, 2).jobs(5)
        [1, 3, 0, 2, 4]
        """
        return sorted(range(count), key=lambda job: ((job - self.number) % self.of, job))

    def shares(self) -> list[int]:
        """Order in which this process visits the shares of a job."""
        return [(self.number + further) % self.of for further in range(self.of)]

    def batches(self, share: int, images: int, size: int) -> Iterator[range]:
        """Batches of a share: those of one process, dealt out, so that no number depends on the number of processes."""
        for start in range(share * size, images, self.of * size):
            yield range(start, min(start + size, images))


ALONE = Place()


def here(environment: Mapping[str, str] = os.environ) -> Place:
    """The place that torchrun, a SLURM array or srun gave to this process.

    >>> here({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "4"})
    Place(number=2, of=4, local=0)
    """
    for number, lowest, count in LAUNCHERS:
        if number in environment and count in environment:
            of = int(environment[count])
            local = next((int(environment[name]) for name in LOCAL if name in environment), 0)
            return Place((int(environment[number]) - int(environment.get(lowest, 0))) % of, of, local)
    return ALONE
