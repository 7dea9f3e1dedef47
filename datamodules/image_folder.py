"""Any folder of photographs."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from lightning.pytorch.utilities import rank_zero_warn

from datamodules.datamodule import InpaintingDataModule, Split
from datamodules.files import Files, find_images, split_by_name
from masks.archives import Archive, archive_at, holds
from masks.finding import without_masks
from masks.folder import roots_of
from masks.generator import MaskGenerator
from masks.lists import read_list
from masks.table import SUFFIXES, read_table

_FOLDERS = tuple(f"{split}/" for split in get_args(Split))
_LISTS = tuple(f"{split}.txt" for split in get_args(Split))


class ImageFolder(InpaintingDataModule):
    """Every image below ``root``, at any depth, of any format.

    The splits are, whichever comes first: the lists train.txt, val.txt, test.txt in ``lists`` (or in ``root``), one
    path below ``root`` per line; the subfolders train, val, test; a seeded share of the files by name. A list with
    columns (CSV or TSV, its header ``image[, mask[, split]]``) also names each image's mask, for
    :class:`masks.OwnMasks`.

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
        root: The folder, or a .zip or .tar, which is read in place.
        mask: Distribution of the holes in training.
        lists: Folder of the split lists, where it is not ``root``; or a list with columns, .csv or .tsv.
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
        archive = archive_at(self.root)
        if archive is None and not self.root.is_dir():
            raise ValueError(f"{self.root}: no such folder. Give the folder, .zip or .tar that holds the images.")
        if self.lists is not None and self.lists.suffix.lower() in SUFFIXES:
            return self._of_table(self.lists, split)
        parts = [] if self.lists else self._parts(archive)
        if self.lists is not None or any(part in _LISTS for part in parts):
            return self._listed(self.lists or self.root, split)
        masks, left_out = list(roots_of(self.mask, self.eval_mask)), Counter[str]()
        if parts:
            if f"{split}/" not in parts:
                raise ValueError(f"{self.root} has a folder {parts[0][:-1]} but no folder {split}. Add it, or lists.")
            if archive is None:
                names = find_images(self.root / split, *masks, left_out=left_out)
                return Files(self.root, [f"{split}/{name}" for name in names], left_out)
            names = find_images(self.root, *masks, left_out=left_out)
            names = [name for name in names if name.startswith(f"{split}/")]
            if not names:
                raise ValueError(f"{self.root}/{split}: a folder without images. Add some, or give lists.")
            return Files(self.root, names, left_out)
        # Masks have no share, whichever law: else another one in an evaluation would test on images trained on.
        found = find_images(self.root, self.root, self.root / "masks", left_out=left_out)
        names = without_masks(found, self.root, *masks)
        if more := len(found) - len(names):
            left_out["masks"] += more
            rank_zero_warn(
                f"{self.root}: {more} pictures are masks only by this run's mask distribution; under another one the "
                "splits by share would differ. Call their folder masks, or write lists."
            )
        for part, own in self._shares(names, split).items():
            if own:
                self._files.setdefault(part, Files(self.root, own, left_out))
        return self._files[split]

    def _parts(self, archive: Archive | None) -> list[str]:
        """The lists and the folders of splits directly below the root, the latter with a "/"."""
        if archive is None:
            like = [name for name in os.listdir(self.root) if name.lower().removesuffix(".txt") in get_args(Split)]
            top = [name + "/" * (self.root / name).is_dir() for name in like]
        else:
            top = sorted({"".join(name.partition("/")[:2]) for name in archive.names})
        parts = [name for name in top if name.lower() in (*_LISTS, *_FOLDERS)]
        if odd := [name for name in parts if name != name.lower()]:
            raise ValueError(f"{self.root} has {odd[0]}, and no split is called so. Rename it to {odd[0].lower()}.")
        return sorted(parts, key=(*_LISTS, *_FOLDERS).index)

    def _shares(self, names: Sequence[str], split: Split) -> dict[str, list[str]]:
        parts = split_by_name(names, self.val_share, self.test_share, self.split_seed)
        if not parts[split]:
            raise ValueError(f"{self.root}: {split}_share is 0, so there is no {split} split. Raise it.")
        return parts

    def _of_table(self, path: Path, split: Split) -> Files:
        table = read_table(path, self.root)
        rows = range(len(table.images))
        if table.splits is not None:
            own = [row for row in rows if table.splits[row] == split]
        else:  # the share of the images, whichever masks they have
            chosen = set(self._shares(sorted(set(table.images)), split)[split])
            own = [row for row in rows if table.images[row] in chosen]
        if not own:
            raise ValueError(f"{path} has no line whose split is {split}. Add some, or leave the column out.")
        names = [table.images[row] for row in own]
        if split != "train" and len(set(names)) < len(names):
            twice = next(name for name, count in Counter(names).items() if count > 1)
            raise ValueError(f"{path} names {twice} several times for {split}, where each image has one mask.")
        files = Files(self.root, names)
        if table.masks is not None:
            files.masks = Files(self.root, [table.masks[row] for row in own])
        self._check(path, files)
        return files

    def _check(self, path: Path, files: Files) -> None:
        """The first and the last file of a list; to look for all takes an hour on a network disk."""
        for listed in filter(None, (files, files.masks)):
            for name in (listed.name(0), listed.name(len(listed) - 1)):
                if not holds(self.root, name):
                    raise ValueError(f"{path} names {name}, which is not below {self.root}. Check root and the list.")

    def _listed(self, folder: Path, split: Split) -> Files:
        path = folder / f"{split}.txt"
        if not holds(folder, path.name):
            beside = "".join(f", only {name}" for name in _LISTS if holds(folder, name))
            raise ValueError(f"{folder} has no list {split}.txt{beside}. Write one path per line, below {self.root}.")
        names = read_list(path, self.root)
        files = Files(self.root, names)
        self._check(path, files)
        return files

    def _description(self) -> dict[str, object]:
        own = {"root": str(self.root), "lists": str(self.lists) if self.lists else None, "split_seed": self.split_seed}
        return {**super()._description(), **own, "val_share": self.val_share, "test_share": self.test_share}
