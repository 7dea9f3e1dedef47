"""The fixed images and masks of an evaluation, and the numbers that prove they are the same everywhere."""

import hashlib
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import PurePosixPath
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.arguments import check_whole
from datamodules.files import Files
from datamodules.own_masks import OwnMaskFiles
from datamodules.reading import Pixels
from datamodules.summary import summarise
from datamodules.transforms import Resize, covering_shape, evaluation_transform, place_mask, resize_to_cover
from masks import SquareCrop
from masks.convention import InpaintingBatch, from_levels
from masks.finding import without_masks
from masks.folder import refuse_files_without_a_hole, roots_of
from masks.generator import Mask, MaskGenerator, keyed_rng
from masks.own import found_by
from masks.size import Size, by_name, plain, sides, square_or_pair

_LEVELS = from_levels(np.arange(256, dtype=np.float32))


class EvaluationSet(Dataset[InpaintingBatch]):
    """Images and masks that do not change: image (3, H, W) in [-1, 1], mask (1, H, W), and the image's name.

    The mask of sample i is drawn from the key (``seed``, i) alone, so every method, batch size and device sees the same
    holes; :class:`masks.OwnMasks`, and a :class:`masks.MaskFolder` that pairs, give each image its own file, resized
    and cropped as the image is. An unreadable image and a mask file without a hole end the evaluation: skipping one
    would silently change the numbers.

    >>> from datamodules import SamplePhotos
    >>> from masks import CenterRectangle
    >>> photos = EvaluationSet(SamplePhotos(mask=CenterRectangle()).files("test"), CenterRectangle(), size=64)
    >>> photos[0].image.shape, float(photos[0].mask.mean())
    (torch.Size([3, 64, 64]), 0.25)

    Args:
        files: The images, in the order of their names.
        mask: Distribution of the holes.
        size: Side of the square images, or (height, width).
        resize: "shorter": the smallest that covers ``size``; "direct": to ``size``; "none". A centre crop follows in
            each case, or, with "shorter" and a :class:`masks.SquareCrop`, the crop of the mask.
        seed: Seed for the masks.
        limit: Use only the first N images.
        repeats: Holes per image; sample i shows image i modulo the number of images.
        channels: 3, or 1: the luma of each image.
    """

    def __init__(
        self,
        files: Files,
        mask: MaskGenerator,
        size: Size,
        resize: Resize = "shorter",
        seed: int = 0,
        limit: int | None = None,
        repeats: int = 1,
        channels: int = 3,
    ) -> None:
        check_whole(0, seed=seed)
        check_whole(1, limit=limit, repeats=repeats)
        if files.masks is None and (roots := list(roots_of(mask))):
            left = without_masks(files.names(), files.root, *roots)
            files = files if len(left) == len(files) else files.only(left)
        self.size, self.channels = square_or_pair(size, "size"), checked_channels(channels)
        self.files, self.mask, self.resize, self.seed = files, mask, resize, seed
        self.images = len(files) if limit is None else min(limit, len(files))
        self.samples = self.images * repeats
        self._transform = evaluation_transform(size, resize)
        self._own: OwnMaskFiles | None = None

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> InpaintingBatch:
        if not 0 <= index < self.samples:
            raise IndexError(index)
        pixels = self.files.read(index % self.images)
        if self._crops:
            mask, (top, left) = self._crop(index)
            height, width = sides(self.size)
            pixels = resize_to_cover(pixels, self.size)[top : top + height, left : left + width]
        else:
            pixels = self._transform(pixels, keyed_rng(self.seed, "evaluation crop", index))
            mask = self.draw_mask(index)
        return InpaintingBatch(to_image(pixels, self.channels), to_mask(mask), self.name(index))

    def name(self, index: int) -> str:
        """Its file's path in the data set; further holes of an image have -1, -2, ... before the suffix."""
        name, repeat = self.files.name(index % self.images), index // self.images
        return str(PurePosixPath(name).with_suffix("")) + f"-{repeat}" + PurePosixPath(name).suffix if repeat else name

    def draw_mask(self, index: int) -> Mask:
        """The mask of one sample, (H, W) uint8, 1 = hole."""
        mask = self._mask(index)
        if not mask.any():
            with refuse_files_without_a_hole():  # a distribution may draw no hole; a file without one is an error
                self._mask(index)
        return mask

    def _rng(self, index: int) -> np.random.Generator:
        return keyed_rng(self.seed, "evaluation mask", index)

    @property
    def _crops(self) -> bool:
        """Whether the image is cropped where its mask is."""
        return isinstance(self.mask, SquareCrop) and self.resize == "shorter"

    def _crop(self, index: int) -> tuple[Mask, tuple[int, int]]:
        assert isinstance(self.mask, SquareCrop)
        picture = covering_shape(self.files.shape(index % self.images), self.size)
        return self.mask.crop(picture, sides(self.size), self._rng(index))

    def _mask(self, index: int) -> Mask:
        if self._crops:
            return self._crop(index)[0]
        with found_by(partial(self._own_mask, index % self.images)):
            return self.mask(*sides(self.size), self._rng(index))

    def _own_mask(self, index: int, law: MaskGenerator) -> Mask:
        if self._own is None:
            self._own = OwnMaskFiles(self.files, self.mask, self.images)
        mask, file, image = self._own.read(law, index), self._own.path(law, index), self.files.path(index)
        shape = self.files.shape(index)
        placed = place_mask(mask, shape, self.size, self.resize)
        if placed is None:
            raise ValueError(
                f"{file} is {mask.shape[1]}x{mask.shape[0]}, its image {image} {shape[1]}x{shape[0]}: with a different "
                "shape, the hole would move. Give masks of the images' size, or of their crop's."
            )
        if not placed.any():
            raise ValueError(f"{file}: its hole lies outside the {by_name(self.size)} crop of {image}.")
        return placed

    def fingerprint(self) -> dict[str, object]:
        """Fingerprint in plain values: the hash of every file and every mask, equal for equal evaluations."""
        return {
            "images": {self.files.name(i): self.files.sha256(i) for i in range(self.images)},
            "masks": {self.name(i): _sha256(np.packbits(self.draw_mask(i)).tobytes()) for i in range(self.samples)},
            "size": plain(self.size),
            "resize": self.resize,
            "crop": "where the mask is cropped" if self._crops else "centre",
            "mask": repr(self.mask),
            "seed": self.seed,
            **({"reading": self.files.reading} if self.files.reading else {}),
            **({"channels": 1} if self.channels == 1 else {}),
        }

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Summary of the images, see :func:`datamodules.summary.summarise`."""
        return summarise({"evaluated": self.files}, self.images)


def to_image(pixels: Pixels, channels: int = 3) -> Tensor:
    """(H, W, 3) uint8 to (3, H, W) float in [-1, 1], or to its luma (1, H, W), rounded to 8 bits.

    >>> to_image(np.full((1, 1, 3), 255, np.uint8)).flatten().tolist()
    [1.0, 1.0, 1.0]
    >>> to_image(np.full((1, 1, 3), 51, np.uint8), channels=1).flatten().round(decimals=3)
    tensor([-0.6000])
    """
    # A transposed copy takes twice as long.
    planes = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if channels == 1 else np.concatenate(cv2.split(pixels))
    return torch.from_numpy(cv2.LUT(planes, _LEVELS).reshape(channels, *pixels.shape[:2]))


def checked_channels(channels: int) -> int:
    """
    Raises:
        ValueError: Neither 1 nor 3.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels!r}; expected 3 for colour or 1 for grey.")
    return channels


def to_mask(mask: Mask) -> Tensor:
    """(H, W) uint8 to (1, H, W) float."""
    return torch.from_numpy(mask).float()[None]


def collate(samples: Sequence[InpaintingBatch]) -> InpaintingBatch:
    """Stack samples; names become a list."""
    images, masks, names = zip(*samples, strict=True)
    return InpaintingBatch(torch.stack(images), torch.stack(masks), list(names))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
