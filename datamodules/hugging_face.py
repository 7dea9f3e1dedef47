"""Data sets of Hugging Face's `datasets`: a folder, a saved one, or a name on the Hub."""

import os
from pathlib import Path
from typing import Any, ClassVar

from datamodules.datamodule import InpaintingDataModule, Split
from datamodules.files import Files, split_by_name
from datamodules.summary import HASHED
from masks.generator import MaskGenerator
from masks.regular import open_regular

_SAVED = ("dataset_info.json", "dataset_dict.json")  # by save_to_disk


class HuggingFaceImages(InpaintingDataModule):
    """The images of a column of a Hugging Face data set; they are decoded like files, one at a time.

    A split that the data set lacks is a seeded share of the rows of ``train``.

    >>> from masks import Wide
    >>> HuggingFaceImages("photos", mask=Wide()).columns
    ('image', None)

    Args:
        path: A folder (Parquet, imagefolder), what ``save_to_disk`` wrote, or a name on the Hub.
        mask: Distribution of the holes in training.
        name: Configuration of the data set, if it has several.
        revision: Commit, branch or tag on the Hub.
        image: Column of the images.
        own_mask: Column of the masks, for :class:`masks.OwnMasks`.
        train, val, test: The splits of the data set that are used as such.
        val_share: Fraction of the rows of ``train`` if there is no split ``val``; at least one.
        test_share: The same for the test split.
        split_seed: Seed for these splits.
        data: Arguments of :class:`InpaintingDataModule`.
    """

    def __init__(
        self,
        path: str,
        mask: MaskGenerator,
        name: str | None = None,
        revision: str | None = None,
        image: str = "image",
        own_mask: str | None = None,
        train: str = "train",
        val: str = "validation",
        test: str = "test",
        val_share: float = 0.05,
        test_share: float = 0.05,
        split_seed: int = 0,
        **data: Any,
    ) -> None:
        self.path, self.name, self.revision, self.columns = os.fspath(path), name, revision, (image, own_mask)
        self.splits = {"train": train, "val": val, "test": test}
        self.val_share, self.test_share, self.split_seed = val_share, test_share, split_seed
        super().__init__(mask=mask, **data)

    def find(self, split: Split) -> Files:
        held = self._load()
        missing = [part for part, given in self.splits.items() if given not in held]
        if "train" in missing:
            lacks, has = self.splits["train"], ", ".join(held)
            raise ValueError(f"{self.path} has no split {lacks!r}; it has {has}. Set train to one of them.")
        rows = held[self.splits["train" if split in missing else split]]
        names = [f"{number:08}" for number in range(len(rows))]
        if split in missing or (split == "train" and missing):
            val, test = self.val_share * ("val" in missing), self.test_share * ("test" in missing)
            names = split_by_name(names, val, test, self.split_seed)[split]
        if not names:
            raise ValueError(f"{self.path} has no split {self.splits[split]!r}, and {split}_share is 0. Raise it.")
        origin = self.splits["train" if split in missing else split]
        return _Rows(self.path, rows, [int(number) for number in names], origin, *self.columns)

    def _load(self) -> Any:
        """{split: rows}, with images as bytes."""
        try:
            import datasets
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "HuggingFaceImages needs datasets. pip install 'lit-inpaint[datasets]'", name="datasets"
            ) from error
        try:
            if any((Path(self.path) / saved).is_file() for saved in _SAVED):
                held = datasets.load_from_disk(self.path)
            else:
                held = datasets.load_dataset(self.path, self.name, revision=self.revision)
        except Exception as error:  # of the file system, the network and every format
            said = " ".join(str(error).split())
            raise ValueError(f"{self.path} cannot be loaded as a Hugging Face data set ({said}).") from error
        held = held if isinstance(held, dict) else {self.splits["train"]: held}
        return {split: self._only(rows, datasets.Image(decode=False)) for split, rows in held.items()}

    def _only(self, rows: Any, as_bytes: Any) -> Any:
        columns = [column for column in self.columns if column]
        if lacking := [column for column in columns if column not in rows.column_names]:
            raise ValueError(
                f"{self.path} has no column {lacking[0]!r}; it has {', '.join(rows.column_names)}. Set image"
                f"{' and own_mask' if self.columns[1] else ''}."
            )
        rows = rows.select_columns(columns)
        for column in columns:
            rows = rows.cast_column(column, as_bytes)
        return rows

    def _description(self) -> dict[str, object]:
        own = {"path": self.path, "name": self.name, "revision": self.revision, "splits": self.splits}
        shares = {"val_share": self.val_share, "test_share": self.test_share, "split_seed": self.split_seed}
        return {**super()._description(), **own, **shares, "columns": list(self.columns)}


class _Rows(Files):
    """Cells of a table. Names like train/00000042; the table is memory-mapped, and shared by the workers."""

    on_disk: ClassVar[bool] = False

    def __init__(
        self, path: str, rows: Any, numbers: list[int], split: str, column: str, own_mask: str | None = None
    ) -> None:
        super().__init__(path, [f"{split}/{number:08}" for number in numbers])
        self.rows, self.numbers, self.column = rows, numbers, column
        self.archive = None  # a name on the Hub is no path
        self.compared = rows.data.nbytes <= HASHED
        if own_mask:
            self.masks = _Rows(path, rows, numbers, f"{split}/{own_mask}", own_mask)

    def file_size(self, index: int) -> int:
        return len(self.content(index))

    def content(self, index: int) -> bytes:
        cell = self.rows[self.numbers[index]][self.column]
        if cell is None:
            raise ValueError(f"{self.path(index)}: the cell is empty.")
        if cell["bytes"] is not None:
            return bytes(cell["bytes"])
        with open_regular(cell["path"]) as file:
            return file.read()
