"""The biharmonic equation: the smoothest surface through the hole's border and its slopes (Damelin and Hoang 2018)."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from skimage.restoration import inpaint_biharmonic

from lit_inpaint.classical import PerImage


class Biharmonic(PerImage):
    """scikit-image's ``inpaint_biharmonic``, in floating point.

    >>> import torch
    >>> image, mask = torch.full((1, 3, 16, 16), 0.2), torch.zeros(1, 1, 16, 16)
    >>> mask[..., 4:8, 4:8] = 1
    >>> bool((Biharmonic()(image, mask) - image).abs().max() < 0.01)
    True
    """

    year: ClassVar[int] = 2018
    paper: ClassVar[str] = "Damelin, Hoang, On surface completion and image inpainting by biharmonic functions, IJMMS"

    def fill_one(self, erased: NDArray[np.float64], hole: NDArray[np.bool_]) -> NDArray[np.float64]:
        return inpaint_biharmonic(erased, hole, channel_axis=-1)
