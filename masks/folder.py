"""Folders of mask files as a distribution, or paired with the images of an evaluation."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Literal

import numpy as np

from masks.archives import archive_at, holds
from masks.files import Alpha, White, check_reading, read_mask, resize_mask
from masks.finding import find_images, masks_beside, pair_by_name
from masks.generator import Mask, MaskGenerator
from masks.lists import read_list
from masks.own import laws_in, own_mask

_refusing: ContextVar[bool] = ContextVar("refusing masks without a hole", default=False)


@contextmanager
def refuse_files_without_a_hole() -> Iterator[None]:
    """Context in which a mask file without a hole is rejected by name, at any depth of a generator."""
    token = _refusing.set(True)
    try:
        yield
    finally:
        _refusing.reset(token)


@dataclass(frozen=True)
class MaskFolder(MaskGenerator):
    """Mask files: NVIDIA's irregular masks, the authors' folders of RePaint, your own.

    NVIDIA's raw training masks are grey (the page says: white from 0.6, ``threshold=153``) and need
    :class:`masks.Augmented`. In RePaint's folders white is "known", and mask and image pair in the order of names.

    >>> import tempfile
    >>> from masks.files import write_mask
    >>> with tempfile.TemporaryDirectory() as root:
    ...     write_mask(np.array([[0, 1], [1, 1]]), f"{root}/a.png")
    ...     MaskFolder(root)(2, 2, np.random.default_rng(0))
    array([[0, 1],
           [1, 1]], dtype=uint8)

    Args:
        root: Folder, searched at any depth, or a .zip or .tar.
        white: What white pixels are: "hole" or "known".
        threshold: Grey value from which a pixel counts as white; without it, grey pixels are rejected.
        pairing: "draw": any file, drawn with the rng. The others give each image its own, in training as well, cropped,
            flipped and resized with it. "name": the file with the image's name, ending apart, or with
            "_mask" and anything after it. "order": the file at the image's place; there must be as many. "sequence":
            the same for a set that belongs to no images, of which the first are taken if there are more. Of x.png
            and x_mask001.png in one folder the latter is the mask.
        names: Text file with one mask per line, below the root, to use only these (``lit-inpaint masks measure``
            writes such files).
        alpha: The side of an alpha channel that is the hole, "opaque" or "transparent"; without it such files are
            refused.
    """

    root: str
    white: White = "hole"
    threshold: int | None = None
    pairing: Literal["draw", "name", "order", "sequence"] = "draw"
    names: str | None = None
    alpha: Alpha | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", os.fspath(self.root))
        check_reading(self.white, self.threshold, self.alpha)
        if self.pairing not in ("draw", "name", "order", "sequence"):
            raise ValueError(
                f"MaskFolder got pairing={self.pairing!r}; expected 'draw', 'name', 'order' or 'sequence'."
            )

    @cached_property
    def files(self) -> list[str]:
        """Every mask below the root, or the listed ones; looked up once."""
        if self.names is None:
            found = find_images(self.root, what="masks")
            if self.pairing == "name" or not (masks := masks_beside(found)):
                return found
            owners = {image for image, own in pair_by_name(set(found) - masks, masks).items() if own}
            return [name for name in found if name not in owners]
        listed = read_list(self.names, self.root)
        missing = [name for name in listed if not self._holds(name)]
        if missing:
            raise ValueError(
                f"{self.names} lists {len(listed)} masks, {len(missing)} of them are not below {self.root}"
                f"{f', the first is {missing[0]!r}' if missing else ''}. Give the list that belongs to this folder."
            )
        return listed

    def _holds(self, name: str) -> bool:
        path = PurePath(name)
        return not path.is_absolute() and ".." not in path.parts and holds(self.root, name)

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        if self.pairing != "draw":
            return own_mask(self, height, width)
        file = self.files[int(rng.integers(len(self.files)))]
        mask = resize_mask(self.read(file), height, width)
        if _refusing.get() and not mask.any():
            raise ValueError(f"{Path(self.root) / file}: its hole vanishes in {height}x{width} pixels. Remove it.")
        return mask

    def pairs(self, images: Sequence[str], first: int | None = None) -> list[str]:
        """The mask file of each image of the whole data set, in its order, or of its ``first`` images.

        Raises:
            ValueError: Saying which images have no mask or several, or how many there are of each.
        """
        wanted = images[:first]
        if self.pairing == "sequence":
            if len(self.files) < len(wanted):
                raise ValueError(
                    f"{self.root} holds {len(self.files)} masks for {len(wanted)} images. Use the first "
                    f"{len(self.files)} images (limit), or draw the masks."
                )
            return self.files[: len(wanted)]
        if self.pairing == "order":
            if len(self.files) not in (len(images), len(wanted)):
                raise ValueError(
                    f"{self.root} holds {len(self.files)} masks for {len(images)} images; pairing by order needs as "
                    "many of each. Remove the extra ones, or pair by name."
                )
            return self.files[:first]
        found = pair_by_name(images, self.files)
        if without := [image for image in wanted if not found[image]]:
            raise ValueError(
                f"{self.root} has no mask for {len(without)} of {len(wanted)} images, the first is {without[0]!r}; its "
                f"own first is {self.files[0]!r}. Name a mask like its image, or pair by order."
            )
        if several := [image for image in wanted if len(found[image]) > 1]:
            raise ValueError(
                f"{self.root} has {len(found[several[0]])} masks for {several[0]!r}: {', '.join(found[several[0]])}. "
                "Keep one, or list those to use in a text file and pass it as names."
            )
        return [found[image][0] for image in wanted]

    def sha256(self) -> str:
        """SHA-256 of the bits of all masks in order, as :meth:`masks.fixed.FixedSet.sha256` gives it."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(np.packbits(self.read(file)).tobytes())
        return digest.hexdigest()

    def read(self, file: str) -> Mask:
        """One of :attr:`files` at its own size."""
        path = Path(self.root) / file
        archive = archive_at(self.root)
        content = archive.read(file) if archive else None
        mask = read_mask(path, self.white, self.threshold, self.alpha, content)
        if _refusing.get() and not mask.any():
            raise ValueError(
                f"{path}: every pixel is known, so there is nothing to fill. Check the file and the settings white, "
                "threshold and alpha, or remove it."
            )
        return mask


def roots_of(*generators: MaskGenerator) -> Iterator[str]:
    """The folder of every :class:`MaskFolder` in generators, those inside others included."""
    yield from (law.root for law in laws_in(*generators) if isinstance(law, MaskFolder))
