"""Paris StreetView (Doersch et al. 2012), as Pathak et al. 2016 give it out for inpainting."""

import os
from pathlib import Path
from typing import Any, ClassVar

from datamodules.files import find_images
from datamodules.published import NamedSplit, PublishedData, first_folder, hold_out
from masks.generator import MaskGenerator

HELD_OUT = 100


class ParisStreetView(PublishedData):
    """Facades. Context Encoder resizes the shorter side to 350, crops 128 and mirrors half of the images.

    >>> sorted(ParisStreetView.SPLITS)
    ['pathak']
    """

    SPLITS: ClassVar[dict[str, NamedSplit]] = {
        "pathak": NamedSplit(
            "Pathak et al. 2016: 14,900 training and 100 test images; of the former, 100 with the smallest SHA-256 of "
            "their names are for validation",
            {"train": 14_800, "val": 100, "test": 100},
        ),
    }
    WHERE: ClassVar[str] = (
        "The images are not public: write to Deepak Pathak, as section 6 of the README of "
        "github.com/pathak22/context-encoder says. Unpack them to paris_train_original/ and paris_eval_gt/."
    )

    def __init__(
        self,
        root: str | os.PathLike[str],
        mask: MaskGenerator,
        split: str = "pathak",
        **data: Any,
    ) -> None:
        super().__init__(root=root, mask=mask, split=split, **data)

    @classmethod
    def make_lists(cls, root: Path, split: str, sources: Path | None) -> dict[str, list[str]]:
        train_names = ("paris_train_original", "paris_train_original/paris_train_original", "train")
        test_names = ("paris_eval_gt", "paris_eval/paris_eval_gt", "paris_eval", "val", "test")
        folder = first_folder(root, train_names, "training images", cls.WHERE)
        train, val = hold_out([f"{folder}/{name}" for name in find_images(root / folder)], HELD_OUT)
        folder = first_folder(root, test_names, "test images", cls.WHERE)
        return {"train": train, "val": val, "test": [f"{folder}/{name}" for name in find_images(root / folder)]}
