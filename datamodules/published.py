"""Data sets with published splits: contents, sources, and lists that fix the splits."""

import hashlib
import os
import shlex
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from datamodules.datamodule import Split
from datamodules.files import Files
from datamodules.image_folder import ImageFolder
from masks.generator import MaskGenerator


@dataclass(frozen=True)
class NamedSplit:
    """A split used in the literature: its users, required lists, and number of images."""

    source: str
    counts: Mapping[str, int]


class PublishedData(ImageFolder):
    """An :class:`ImageFolder` whose splits are lists that ``lit-inpaint prepare`` writes to ROOT/splits/NAME.

    Args:
        root: The folder that holds the images.
        mask: Distribution of the holes in training.
        split: Name of the split, one of ``SPLITS``.
        lists: Folder of the lists, where it is not ``root``/splits/``split``.
        data: Arguments of :class:`InpaintingDataModule`.
    """

    SPLITS: ClassVar[dict[str, NamedSplit]]
    WHERE: ClassVar[str]  # where to get the images, in one sentence

    def __init__(
        self,
        root: str | os.PathLike[str],
        mask: MaskGenerator,
        split: str,
        lists: str | os.PathLike[str] | None = None,
        **data: Any,
    ) -> None:
        if split not in self.SPLITS:
            raise ValueError(f"{type(self).__name__} has no split {split!r}; expected one of {', '.join(self.SPLITS)}.")
        self.split = split
        super().__init__(root=root, mask=mask, lists=lists or Path(root) / "splits" / split, **data)

    @classmethod
    @abstractmethod
    def make_lists(cls, root: Path, split: str, sources: Path | None) -> dict[str, list[str]]:
        """Paths below ``root`` for train, val and test.

        Args:
            sources: Folder with the authors' own lists, where the split needs them.

        Raises:
            ValueError: Stating what was expected, what was found, and what to do.
        """

    def find(self, split: Split) -> Files:
        if self.root.is_dir() and self.lists and not (self.lists / "train.txt").is_file():
            words = ["prepare", type(self).__name__, "--root", str(self.root), "--split", self.split]
            command = shlex.join(["lit-inpaint", *words])
            raise ValueError(f"{self.lists} holds no lists of the split {self.split}. Write them first: {command}")
        return super().find(split)

    def _description(self) -> dict[str, object]:
        return {**super()._description(), "split": self.split}


def hold_out(names: Sequence[str], count: int) -> tuple[list[str], list[str]]:
    """(rest, held out): ``count`` names with the smallest SHA-256, for data sets without a validation split of theirs.

    The same images however a file system sorts them, and wherever the names are the same, that of the folder included.

    >>> hold_out(["a", "b", "c"], 1)
    (['a', 'b'], ['c'])
    """
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
    held = set(ranked[:count])
    return [name for name in names if name not in held], sorted(held)


def first_folder(root: Path, names: Sequence[str], what: str, where: str) -> str:
    """The first of ``names`` that is a folder below ``root``."""
    for name in names:
        if (root / name).is_dir():
            return name
    found = sorted(entry.name for entry in root.iterdir() if entry.is_dir())[:8] if root.is_dir() else []
    holds = f"it holds the folders {', '.join(found)}" if found else "it holds no folder"
    raise ValueError(f"{root} has no folder of {what} ({' or '.join(names)}); {holds}. Check --root. {where}")
