"""The photographs of the Berkeley Segmentation Data Set (Arbeláez, Maire, Fowlkes, Malik 2011), made smaller."""

import hashlib
import os
from pathlib import Path
from typing import Any, ClassVar

from datamodules.datamodule import InpaintingDataModule, Split
from datamodules.files import Files, find_images
from datamodules.reading import Pixels
from datamodules.transforms import Resize, resize
from masks.folder import roots_of
from masks.generator import MaskGenerator
from masks.size import Size, by_name, sides


class BSDS500(InpaintingDataModule):
    """500 photographs of 481x321 or 321x481 px at a fraction of their size: crops show things, not textures.

    Its segmentation benchmark trains on 200 and validates on 100; both are for training here. The 200 of its test split
    are tested. Every fourth of these is also the validation set, for curves only: choose nothing by it.

    >>> BSDS500.FOLDERS["train"], BSDS500.FOLDERS["test"]
    (('train', 'val'), ('test',))

    Args:
        root: Folder with train, val and test.
        mask: Distribution of the holes in training.
        shrink: The side of a photograph is divided by it, by means over areas.
        data: As for :class:`InpaintingDataModule`.
    """

    FOLDERS: ClassVar[dict[Split, tuple[str, ...]]] = {"train": ("train", "val"), "val": ("test",), "test": ("test",)}

    def __init__(
        self,
        root: str | os.PathLike[str],
        mask: MaskGenerator,
        shrink: int = 2,
        image_size: Size = 64,
        resize: Resize = "none",
        **data: Any,
    ) -> None:
        most = 321 // max(sides(image_size))
        if not 1 <= shrink <= most:
            raise ValueError(f"shrink is {shrink}; expected 1 to {most} for crops of {by_name(image_size)} px.")
        self.root, self.shrink = Path(root), shrink
        super().__init__(mask=mask, image_size=image_size, resize=resize, **data)

    def find(self, split: Split) -> Files:
        names: list[str] = []
        for folder in self.FOLDERS[split]:
            if not (self.root / folder).is_dir():
                raise ValueError(f"{self.root} has no folder {folder}. Give the folder with train, val and test.")
            masks = roots_of(self.mask, self.eval_mask)
            names += [f"{folder}/{name}" for name in find_images(self.root / folder, *masks)]
        return _Shrunk(self.root, names[::4] if split == "val" else names, self.shrink)

    def _description(self) -> dict[str, object]:
        return {**super()._description(), "root": str(self.root), "shrink": self.shrink}


class _Shrunk(Files):
    def __init__(self, root: Path, names: list[str], shrink: int) -> None:
        super().__init__(root, names)
        self.shrink = shrink

    def read(self, index: int) -> Pixels:
        pixels = super().read(index)
        return resize(pixels, pixels.shape[0] // self.shrink, pixels.shape[1] // self.shrink)

    def shape(self, index: int) -> tuple[int, int]:
        height, width = super().shape(index)
        return height // self.shrink, width // self.shrink

    def sha256(self, index: int) -> str:
        """Published hashes were taken at half size, of the files alone: every other ``shrink`` is hashed with them."""
        file = super().sha256(index)
        return file if self.shrink == 2 else hashlib.sha256(f"{self.shrink}/{file}".encode()).hexdigest()
