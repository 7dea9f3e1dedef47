"""ImageNet, the 1,000 classes of ILSVRC 2012 (Russakovsky et al. 2015)."""

import os
from pathlib import Path
from typing import Any, ClassVar

from datamodules.files import find_images
from datamodules.published import NamedSplit, PublishedData, first_folder, hold_out
from masks.generator import MaskGenerator

HELD_OUT = 2_000
FOLDERS = ("{}", "ILSVRC2012_img_{}", "ILSVRC/Data/CLS-LOC/{}", "Data/CLS-LOC/{}")


class ImageNet(PublishedData):
    """Any of the usual layouts: ``train/n01440764/*.JPEG`` and ``val/``, with or without folders of classes.

    DeepFill takes random 256x256 crops (``resize: none``); ADM, and so RePaint, resizes the shorter side to 256.

    >>> sorted(ImageNet.SPLITS)
    ['ilsvrc2012']
    """

    SPLITS: ClassVar[dict[str, NamedSplit]] = {
        "ilsvrc2012": NamedSplit(
            "papers report on the 50,000 validation images, so these are the test set, and 2,000 training images with "
            "the smallest SHA-256 of their names are for validation",
            {"train": 1_279_167, "val": 2_000, "test": 50_000},
        ),
    }
    WHERE: ClassVar[str] = (
        "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar are on image-net.org after registration; unpack them to "
        "train/ and val/."
    )

    def __init__(
        self,
        root: str | os.PathLike[str],
        mask: MaskGenerator,
        split: str = "ilsvrc2012",
        resize: Any = "none",
        flip: bool = False,
        **data: Any,
    ) -> None:
        super().__init__(root=root, mask=mask, split=split, resize=resize, flip=flip, **data)

    @classmethod
    def make_lists(cls, root: Path, split: str, sources: Path | None) -> dict[str, list[str]]:
        parts: dict[str, list[str]] = {}
        for part, what in (("train", "training images"), ("val", "validation images")):
            folder = first_folder(root, [name.format(part) for name in FOLDERS], what, cls.WHERE)
            parts[part] = [f"{folder}/{name}" for name in find_images(root / folder)]
        train, val = hold_out(parts["train"], HELD_OUT)
        return {"train": train, "val": val, "test": parts["val"]}
