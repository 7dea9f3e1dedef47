"""Telea 2004: fill the hole in the order of the distance to its border (fast marching)."""

from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from lit_inpaint.classical import PerImage
from masks.convention import from_levels, to_levels


class Telea(PerImage):
    """OpenCV's ``INPAINT_TELEA``. It works on 8 bits: the image is rounded to 0..255 on the way in, and the hole comes
    back on that grid.

    >>> import torch
    >>> image, mask = torch.full((1, 3, 16, 16), 0.2), torch.zeros(1, 1, 16, 16)
    >>> mask[..., 4:8, 4:8] = 1
    >>> bool((Telea()(image, mask) - image).abs().max() < 0.01)
    False

    Args:
        radius: Pixels around each filled pixel that are averaged.
    """

    year: ClassVar[int] = 2004
    local: ClassVar[bool] = True  # where fronts of several windows meet, a step would show
    paper: ClassVar[str] = "Telea, An image inpainting technique based on the fast marching method, J. Graphics Tools"

    def __init__(self, radius: float = 3.0) -> None:
        super().__init__()
        self.save_hyperparameters(radius=radius)
        self.radius = radius

    def fill_one(self, erased: NDArray[np.float64], hole: NDArray[np.bool_]) -> NDArray[np.float64]:
        filled = cv2.inpaint(to_levels(erased).astype(np.uint8), hole.astype(np.uint8), self.radius, cv2.INPAINT_TELEA)
        return from_levels(filled)
