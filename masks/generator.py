"""What every mask generator promises, and the keyed random numbers that it draws from."""

import zlib
from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]


def keyed_rng(seed: int, purpose: str, *key: int) -> np.random.Generator:
    """A random generator that depends only on its key, not on workers, ranks, batch size or earlier draws.

    Args:
        seed: Seed of the run (training) or of the protocol (evaluation).
        purpose: What is drawn, so that masks, crops and flips of one sample are independent.
        key: Training: (epoch, sample index). Evaluation: (sample index,).

    Raises:
        ValueError: The seed is negative.

    >>> int(keyed_rng(0, "mask", 3, 7).integers(1000)) == int(keyed_rng(0, "mask", 3, 7).integers(1000))
    True
    """
    if seed < 0:
        raise ValueError(f"the seed is {seed}; expected 0 or more.")
    return np.random.default_rng((seed, zlib.crc32(purpose.encode("utf-8", "surrogateescape")), *key))


class MaskGenerator(ABC):
    """A distribution of masks. Subclasses are frozen dataclasses, so that their repr states the whole distribution."""

    @abstractmethod
    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        """Draw one mask, (height, width) uint8, 1 = hole, using only ``rng``."""
