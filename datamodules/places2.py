"""Places2 (Zhou et al. 2018), as Places365-Standard or -Challenge, in 256x256 or in high resolution."""

import os
from pathlib import Path
from typing import Any, ClassVar

from datamodules.files import find_images
from datamodules.published import NamedSplit, PublishedData, first_folder, hold_out
from masks.generator import MaskGenerator
from masks.lists import read_list

HELD_OUT = 2_000
_SOURCE = (
    "training images of Places365-{}; papers report on its 36,500 validation images, so these are the test set, and "
    "2,000 training images with the smallest SHA-256 of their names are for validation"
)


class Places2(PublishedData):
    """Scenes. High resolution (``standard``, ``challenge``): shorter side 512 or more; ``...256``: resized to squares.

    DeepFill takes random 256x256 crops of the high resolution (``resize: none``), GLCIC first draws the shorter side
    from 256 to 384 (``shorter_side: [256, 384]``).

    >>> sorted(Places2.SPLITS)
    ['challenge', 'challenge256', 'lama', 'standard', 'standard256']
    """

    SPLITS: ClassVar[dict[str, NamedSplit]] = {
        "standard": NamedSplit(_SOURCE.format("Standard"), {"train": 1_801_460, "val": 2_000, "test": 36_500}),
        "standard256": NamedSplit(_SOURCE.format("Standard"), {"train": 1_801_460, "val": 2_000, "test": 36_500}),
        "challenge": NamedSplit(_SOURCE.format("Challenge"), {"train": 8_024_628, "val": 2_000, "test": 36_500}),
        "challenge256": NamedSplit(_SOURCE.format("Challenge"), {"train": 8_024_628, "val": 2_000, "test": 36_500}),
        "lama": NamedSplit(
            "as standard, but tested on the 30,000 of Places365's test images that LaMa (Suvorov et al. 2022) lists",
            {"train": 1_801_460, "val": 2_000, "test": 30_000},
        ),
    }
    WHERE: ClassVar[str] = (
        "The archives are on places2.csail.mit.edu (download.html, for research): train_large_places365standard.tar "
        "makes data_large, val_large.tar val_large, test_large.tar test_large; those with 256 make data_256, val_256."
    )

    def __init__(
        self,
        root: str | os.PathLike[str],
        mask: MaskGenerator,
        split: str = "standard",
        resize: Any = "none",
        flip: bool = False,
        **data: Any,
    ) -> None:
        super().__init__(root=root, mask=mask, split=split, resize=resize, flip=flip, **data)

    @classmethod
    def make_lists(cls, root: Path, split: str, sources: Path | None) -> dict[str, list[str]]:
        size = "256" if split.endswith("256") else "large"
        kind = "challenge" if split.startswith("challenge") else "standard"
        folder = first_folder(root, (f"data_{size}", f"data_{size}_{kind}", "train"), "training images", cls.WHERE)
        train, val = hold_out([f"{folder}/{name}" for name in find_images(root / folder)], HELD_OUT)
        if split == "lama":
            return {"train": train, "val": val, "test": cls._lama(root, sources)}
        folder = first_folder(root, (f"val_{size}", "val"), "validation images", cls.WHERE)
        return {"train": train, "val": val, "test": [f"{folder}/{name}" for name in find_images(root / folder)]}

    @classmethod
    def _lama(cls, root: Path, sources: Path | None) -> list[str]:
        path = (sources or root) / "test_large_30k.lst"
        if not path.is_file():
            raise ValueError(
                f"{path}: no such list; the split lama needs it. It is in configs/ of github.com/advimman/lama; give "
                "its folder as --lists."
            )
        folder = first_folder(root, ("test_large", "test"), "test images", cls.WHERE)
        below = {Path(name).name: f"{folder}/{name}" for name in find_images(root / folder)}
        listed = read_list(path, root / folder)
        missing = [name for name in listed if name not in below]
        if missing:
            raise ValueError(
                f"{root / folder} lacks {len(missing):,} of {len(listed):,} listed images, e.g. {missing[0]}."
            )
        return [below[name] for name in listed]
