"""Masks drawn on a whole picture, of which a square that touches the hole is kept."""

from dataclasses import dataclass

import cv2
import numpy as np

from masks.generator import Mask, MaskGenerator
from masks.shapes import integer


@dataclass(frozen=True)
class SquareCrop(MaskGenerator):
    """Masks of ``generator`` drawn on a whole picture, cropped along its longer side, redrawn above ``cap``.

    LaMa's evaluation masks (``bin/gen_mask_dataset.py`` and ``propose_random_square_crop`` of advimman/lama with its
    ``crop_min_overlap`` of 1): the crop begins anywhere from one crop before the hole's far end up to that end. An
    evaluation that resizes the shorter side draws on each picture and crops the image where the mask is cropped.

    >>> from masks import LaMaThin
    >>> mask = SquareCrop(LaMaThin(cap=1))(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '35% hole'

    Args:
        generator: Law of the masks on the picture. Not capped there: ``cap`` counts in the crop.
        aspect: Width over height of the picture, where it is not an image of an evaluation.
        cap: Largest hole share of the crop.
    """

    generator: MaskGenerator
    aspect: float = 4 / 3
    cap: float = 0.5

    def __post_init__(self) -> None:
        if not (self.aspect > 0 and 0 < self.cap <= 1):
            raise ValueError(
                f"SquareCrop got aspect={self.aspect:g}, cap={self.cap:g}; "
                "expected width over height above 0 and a hole share above 0, at most 1."
            )

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        picture = max(height, round(height / self.aspect)), max(width, round(width * self.aspect))
        return self.crop(picture, (height, width), rng)[0]

    def crop(
        self, picture: tuple[int, int], window: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Mask, tuple[int, int]]:
        """A mask of the size ``window`` (height, width), and its top left corner in the ``picture`` (height, width)."""
        shares = []
        for _ in range(1000):
            mask, u = self.generator(*picture, rng), rng.random()
            if not mask.any():
                continue
            ends = [int(places[-1]) for places in np.nonzero(mask.any(1)) + np.nonzero(mask.any(0))]
            top, left = (_first(u, *lengths) for lengths in zip(ends, picture, window, strict=True))
            cropped = np.ascontiguousarray(mask[top : top + window[0], left : left + window[1]])
            shares.append(cv2.countNonZero(cropped) / cropped.size)
            if 0 < shares[-1] <= self.cap:
                return cropped, (top, left)
        raise ValueError(
            f"{self}: none of 1000 masks on {picture[0]}x{picture[1]} has a hole of at most cap in the crop; they have "
            f"{min(shares, default=0):.3f} at least. Choose another generator or a larger cap."
        )


def _first(u: float, end: int, length: int, side: int) -> int:
    """Where a crop of ``side`` out of ``length`` begins, for a uniform ``u`` and a hole that ends at ``end``."""
    room = length - side
    if room == 0:
        return 0
    low = max(0, min(room - 1, end - side))
    return integer(u, low, max(low, min(room, end) - 1))
