"""Any folder of photographs."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

from datamodules.datamodule import InpaintingDataModule, Split
from datamodules.files import Files, find_images, split_by_name
from masks.folder import roots_of
from masks.generator import MaskGenerator
from masks.lists import read_list


class ImageFolder(InpaintingDataModule):
    """Every image below ``root``, at any depth, of any format.

    The splits are, whichever comes first: the lists train.txt, val.txt, test.txt in ``lists`` (or in ``root``), one
    path below ``root`` per line; the subfolders train, val, test; a seeded share of the files by name.

    >>> import tempfile
    >>> from PIL import Image
    >>> from masks import Wide
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for number in range(20):
    ...         Image.new("RGB", (8, 8)).save(f"{root}/{number}.png")
    ...     data = ImageFolder(root, mask=Wide())
    ...     [len(data.files(split)) for split in ("train", "val", "test")]
    [18, 1, 1]

    Args:
        root: The folder.
        mask: Distribution of the holes in training.
        lists: Folder of the split lists, where it is not ``root``.
        val_share: Fraction of all images if the folder has no split; at least one image.
        test_share: The same for the test split.
        split_seed: Seed for these splits.
        data: Arguments of :class:`InpaintingDataModule`.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        mask: MaskGenerator,
        lists: str | os.PathLike[str] | None = None,
        val_share: float = 0.05,
        test_share: float = 0.05,
        split_seed: int = 0,
        **data: Any,
    ) -> None:
        self.root, self.lists = Path(root), Path(lists) if lists else None
        self.val_share, self.test_share, self.split_seed = val_share, test_share, split_seed
        super().__init__(mask=mask, **data)

    def find(self, split: Split) -> Files:
        if not self.root.is_dir():
            raise ValueError(f"{self.root}: no such folder. Give the folder that holds the images.")
        folder = self.lists or self.root
        if self.lists is not None or (folder / "train.txt").is_file():
            return self._listed(folder, split)
        masks, left_out = roots_of(self.mask, self.eval_mask), Counter[str]()
        if (self.root / "train").is_dir():
            if not (self.root / split).is_dir():
                raise ValueError(f"{self.root} has a folder train but no folder {split}. Add it, or split lists.")
            names = find_images(self.root / split, *masks, left_out=left_out)
            return Files(self.root, [f"{split}/{name}" for name in names], left_out)
        names = find_images(self.root, *masks, left_out=left_out)
        parts = split_by_name(names, self.val_share, self.test_share, self.split_seed)
        for part, names in parts.items():
            if names:
                self._files.setdefault(part, Files(self.root, names, left_out))
        if not parts[split]:
            raise ValueError(f"{self.root}: {split}_share is 0, so there is no {split} split. Raise it.")
        return self._files[split]

    def _listed(self, folder: Path, split: Split) -> Files:
        path = folder / f"{split}.txt"
        if not path.is_file():
            raise ValueError(f"{folder} has no list {split}.txt. Write one path per line, below {self.root}.")
        names = read_list(path, self.root)
        for name in (names[0], names[-1]):
            if not (self.root / name).is_file():
                raise ValueError(f"{path} names {name}, which is not below {self.root}. Check root and the list.")
        return Files(self.root, names)

    def _description(self) -> dict[str, object]:
        own = {"root": str(self.root), "lists": str(self.lists) if self.lists else None, "split_seed": self.split_seed}
        return {**super()._description(), **own, "val_share": self.val_share, "test_share": self.test_share}
