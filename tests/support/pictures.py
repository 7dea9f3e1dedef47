"""Small pictures of noise, as a user's own files, and a hole in them."""

from pathlib import Path

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


def photographs(root: Path, train: int, val: int, size: tuple[int, int]) -> Path:
    """train/ and val/ with so many PNGs of noise, 00.png and on; ``size`` is (width, height)."""
    for split, count in (("train", train), ("val", val)):
        (root / split).mkdir()
        for i in range(count):
            photo(i if split == "train" else train + i, size).save(root / split / f"{i:02}.png")
    return root
