"""Small pictures of noise, as a user's own files, and a hole in them."""

import numpy as np
from PIL import Image

SIZE = (40, 32)


def photo(seed: int = 0, size: tuple[int, int] = SIZE, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)


def hole(size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[size[1] // 4 : size[1] // 2, size[0] // 4 : size[0] // 2] = 1
    return mask
