"""Laplace's equation: a membrane spanned over the hole. The plainest fill, of the best PSNR of its kind."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lit_inpaint.classical import PerImage, harmonic_fill


class Harmonic(PerImage):
    """Every hole pixel is the mean of its four neighbours, by a sparse direct solve in float64.

    >>> import torch
    >>> image, mask = torch.full((1, 3, 16, 16), 0.2), torch.zeros(1, 1, 16, 16)
    >>> mask[..., 4:8, 4:8] = 1
    >>> bool((Harmonic()(image, mask) - image).abs().max() < 0.01)
    True
    """

    year: ClassVar[int] = 2002
    paper: ClassVar[str] = "Chan, Shen, Mathematical models for local nontexture inpaintings, SIAM J. Appl. Math."

    def fill_one(self, erased: NDArray[np.float64], hole: NDArray[np.bool_]) -> NDArray[np.float64]:
        return harmonic_fill(erased, hole)
