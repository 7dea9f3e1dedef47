"""Lists of image files: found in folders, read from lists, split without a sample in two splits."""

import copy
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from datamodules.reading import Pixels, UnreadableImageError, decode_image, read_image, read_shape
from masks.archives import archive_at
from masks.finding import find_images
from masks.regular import open_regular

__all__ = ["Files", "find_images", "split_by_name"]


class Files:
    """Paths of images below a root, a folder or an archive, in one block of bytes, which workers share instead of
    copying millions of strings.

    >>> files = Files("photos", ["a.png", "b/c.jpg"])
    >>> len(files), files.name(1)
    (2, 'b/c.jpg')
    """

    on_disk: ClassVar[bool] = True  # False: drawn, not read
    compared: bool = True  # False: too many bytes to look for equal images, or drawn, no two alike
    masks: "Files | None" = None  # of each image, where a list names them

    def __init__(
        self,
        root: str | os.PathLike[str],
        names: Iterable[str],
        left_out: Mapping[str, int] | None = None,
        reading: Mapping[str, Any] | None = None,
    ) -> None:
        self.root = os.fspath(root)
        self.archive = archive_at(root)
        self.left_out = dict(left_out or {})  # number of other files by suffix
        self.reading = dict(reading or {})  # arguments of read_image
        self._hold(names)

    def _hold(self, names: Iterable[str]) -> None:
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        self._bytes = b"".join(encoded)
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)

    def only(self, names: Iterable[str]) -> Self:
        """Those of these ``names``, read in the same way."""
        some = copy.copy(self)
        some._hold(names)
        return some

    def __len__(self) -> int:
        return len(self._ends) - 1

    def name(self, index: int) -> str:
        """Path below the root, with "/", as it stands in split lists: unique in the data set."""
        return self._bytes[self._ends[index] : self._ends[index + 1]].decode("utf-8", "surrogateescape")

    def path(self, index: int) -> str:
        return os.path.join(self.root, self.name(index))

    def content(self, index: int) -> bytes | None:
        """The bytes of a file that is none of its own, but part of an archive; None: it is at :meth:`path`."""
        return self.archive.read(self.name(index)) if self.archive else None

    def read(self, index: int) -> Pixels:
        """(H, W, 3) uint8, RGB."""
        try:
            content = self.content(index)
        except ValueError as error:
            raise UnreadableImageError(str(error)) from error
        path = self.path(index)
        return read_image(path, **self.reading) if content is None else decode_image(path, content, **self.reading)

    def shape(self, index: int) -> tuple[int, int]:
        """(height, width) of what :meth:`read` gives."""
        return read_shape(self.path(index), self.content(index))

    def file_size(self, index: int) -> int:
        """Bytes of what :meth:`sha256` hashes, without reading it where that can be known."""
        return self.archive.size(self.name(index)) if self.archive else os.stat(self.path(index)).st_size

    def sha256(self, index: int) -> str:
        """Hash of the image for a fingerprint."""
        if (content := self.content(index)) is not None:
            return hashlib.sha256(content).hexdigest()
        with open_regular(self.path(index)) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def names(self) -> list[str]:
        return [self.name(index) for index in range(len(self))]


def split_by_name(names: Sequence[str], val: float, test: float, seed: int) -> dict[str, list[str]]:
    """A seeded share of ``names`` for val and for test, at least one each where the share is above 0, rest for train.

    Names are ranked by a hash of (seed, name), so the order in which a file system lists them does not matter.
    """

    def rank(name: str) -> bytes:
        return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()

    ranked = sorted(names, key=rank)
    n_val, n_test = (max(1, round(share * len(names))) if share > 0 else 0 for share in (val, test))
    if n_val + n_test >= len(names):
        shares = f"val {val:g} and test {test:g} need {n_val} + {n_test}"
        raise ValueError(f"{len(names)} images are too few to split: {shares}, and training at least one. Add images.")
    parts = {"val": ranked[:n_val], "test": ranked[n_val : n_val + n_test], "train": ranked[n_val + n_test :]}
    return {split: sorted(part) for split, part in parts.items()}
