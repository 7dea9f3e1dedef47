"""The biharmonic equation: the smoothest surface through the hole's border and its slopes (Damelin and Hoang 2018)."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from skimage.restoration import inpaint_biharmonic

from lit_inpaint.classical import PerImage


class Biharmonic(PerImage):
    """scikit-image's ``inpaint_biharmonic``, in floating point."""

    year: ClassVar[int] = 2018
    paper: ClassVar[str] = "Damelin, Hoang, On surface completion and image inpainting by biharmonic functions, IJMMS"

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()

    def fill_one(self, erased: NDArray[np.float64], hole: NDArray[np.bool_]) -> NDArray[np.float64]:
        return inpaint_biharmonic(erased, hole, channel_axis=-1)
