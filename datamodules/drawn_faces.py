"""Procedurally drawn faces without a download: any number of them, the same bits on every machine."""

import hashlib
from typing import Any, ClassVar

from datamodules.arguments import check_whole
from datamodules.datamodule import InpaintingDataModule, Split
from datamodules.faces import VERSION, draw
from datamodules.files import Files
from datamodules.reading import Pixels
from datamodules.transforms import grown
from masks.generator import MaskGenerator
from masks.size import Size


class DrawnFaces(InpaintingDataModule):
    """Faces of :mod:`datamodules.faces`, one for each (``faces_seed``, split, index); no two splits share one.

    A face is drawn when it is read, a square of the longer side of ``image_size``: 0.65 ms of one core at 64 px
    (docs/speed.md has the command).

    >>> from masks import CenterRectangle
    >>> faces = DrawnFaces(mask=CenterRectangle(), image_size=32).evaluation_set("test")
    >>> len(faces), faces[0].image.shape
    (1000, torch.Size([3, 32, 32]))

    Args:
        mask: Distribution of the holes in training.
        image_size: Side of the faces, or (height, width) of a crop of them.
        train, val, test: Faces of each split.
        faces_seed: Another one draws other people.
        data: As for :class:`InpaintingDataModule`.
    """

    SPLITS: ClassVar[tuple[Split, ...]] = ("train", "val", "test")

    def __init__(
        self,
        mask: MaskGenerator,
        image_size: Size = 64,
        train: int = 50_000,
        val: int = 200,
        test: int = 1_000,
        faces_seed: int = 0,
        **data: Any,
    ) -> None:
        for split, count in (("train", train), ("val", val), ("test", test)):
            if not 1 <= count < 10**8:
                raise ValueError(f"{split} is {count}; expected a number of faces from 1 to 99,999,999.")
        check_whole(0, faces_seed=faces_seed)
        self.counts = {"train": train, "val": val, "test": test}
        self.faces_seed = faces_seed
        super().__init__(mask=mask, image_size=image_size, **data)

    def find(self, split: Split) -> Files:
        side = max(grown(self.image_size, self.shorter_side[1]))
        return _DrawnFiles(self.faces_seed, split, self.counts[split], side)

    def _description(self) -> dict[str, object]:
        return {**super()._description(), "faces": self.counts, "faces_seed": self.faces_seed, "faces_version": VERSION}


class _DrawnFiles(Files):
    """Names like v1/0/test/00000042.png, which no folder holds: the pixels are drawn when they are asked for."""

    on_disk: ClassVar[bool] = False
    compared = False

    def __init__(self, seed: int, split: Split, count: int, size: int) -> None:
        super().__init__(f"faces drawn by arithmetic, version {VERSION}", ())
        self.seed, self.split, self.count, self.size = seed, split, count, size

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"v{VERSION}/{self.seed}/{self.split}/{index:08}.png"

    def read(self, index: int) -> Pixels:
        return draw(self.seed, DrawnFaces.SPLITS.index(self.split), index, self.size)

    def shape(self, index: int) -> tuple[int, int]:
        return self.size, self.size

    def sha256(self, index: int) -> str:
        return hashlib.sha256(self.read(index).tobytes()).hexdigest()
