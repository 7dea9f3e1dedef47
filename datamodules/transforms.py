"""Resize, crop and flip of uint8 images with albumentations, every draw keyed by the sample."""

import copy
import os
import random
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # importing it asks a server for a newer version otherwise

import albumentations as A
import cv2
import numpy as np
from albumentations.core.composition import BaseCompose
from albumentations.core.type_definitions import Targets

from datamodules.arguments import one_of
from datamodules.reading import Pixels
from masks.files import resize_mask
from masks.generator import Mask
from masks.size import Size, sides

Resize = Literal["shorter", "direct", "none"]
Crop = Literal["random", "center"]
Augmentation: TypeAlias = A.BasicTransform | BaseCompose


def resize(image: Pixels, height: int, width: int) -> Pixels:
    """Bilinear up to a shrink factor of 2, where it still uses every source pixel; area averages beyond, so that a
    large photograph does not alias.

    >>> resize(np.arange(16, dtype=np.uint8).reshape(4, 4, 1).repeat(3, 2), 1, 1).tolist()  # the mean, 7.5
    [[[8, 8, 8]]]
    """
    if image.shape[:2] == (height, width):
        return image
    shrink = max(image.shape[0] / height, image.shape[1] / width)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrink >= 2 else cv2.INTER_LINEAR)  # type: ignore[return-value]


def resize_to_cover(image: Pixels, size: Size) -> Pixels:
    """The smallest picture of the same proportions that ``size`` can be cut from: of a square, the shorter side becomes
    its side. The longer side is rounded."""
    return resize(image, *covering_shape(image.shape, size))


def covering_shape(shape: tuple[int, ...], size: Size) -> tuple[int, int]:
    """(height, width) after :func:`resize_to_cover`.

    >>> covering_shape((300, 400), 256), covering_shape((300, 400), (48, 80))
    ((256, 341), (60, 80))
    """
    height, width = sides(size)
    scale = max(height / shape[0], width / shape[1])
    return max(height, round(shape[0] * scale)), max(width, round(shape[1] * scale))


def grown(size: Size, shorter: int) -> tuple[int, int]:
    """(height, width) of the proportions of ``size`` whose shorter side is ``shorter``.

    >>> grown(64, 70), grown((48, 80), 60)
    ((70, 70), (60, 100))
    """
    height, width = sides(size)
    return round(height * shorter / min(height, width)), round(width * shorter / min(height, width))


class _WithMask(A.DualTransform):
    """Changes the size; a mask that belongs to the image is resized like it, to the nearest pixel."""

    _targets = (Targets.IMAGE, Targets.MASK)

    def apply_to_mask(self, mask: Mask, **params: Any) -> Mask:
        shaped: Mask = mask.reshape(mask.shape[:2])
        return resize_mask(shaped, *self.sides(shaped.shape, **params))

    def apply(self, img: Pixels, **params: Any) -> Pixels:
        return resize(img, *self.sides(img.shape, **params))

    def sides(self, found: tuple[int, ...], **params: Any) -> tuple[int, int]:
        raise NotImplementedError


class ShorterSide(_WithMask):
    """Resize so that the shorter side is drawn uniformly from [low, high], whole pixels, both ends included.

    Of a sample that is not square, the shorter side of the part that has the proportions of ``size``.
    """

    def __init__(self, low: int, high: int, size: Size = 1) -> None:
        super().__init__(p=1)
        self.low, self.high, self.size = low, high, size

    def get_params(self) -> dict[str, int]:
        return {"side": self.py_random.randint(self.low, self.high)}

    def sides(self, found: tuple[int, ...], side: int = 0, **params: Any) -> tuple[int, int]:
        return covering_shape(found, grown(self.size, side))


class _Direct(_WithMask):
    """Resize to the size whatever the proportions were, as DeepFill does for CelebA-HQ."""

    def __init__(self, size: Size) -> None:
        super().__init__(p=1)
        self.size = size

    def sides(self, found: tuple[int, ...], **params: Any) -> tuple[int, int]:
        return sides(self.size)


class _AtLeast(_WithMask):
    """Enlarge images that are too small for the crop until they fit exactly."""

    def __init__(self, size: Size) -> None:
        super().__init__(p=1)
        self.size = size

    def sides(self, found: tuple[int, ...], **params: Any) -> tuple[int, int]:
        height, width = sides(self.size)
        small = found[0] < height or found[1] < width
        return covering_shape(found, self.size) if small else (found[0], found[1])


class Keyed:
    """Albumentations whose draws depend only on the given generator, not on earlier draws."""

    def __init__(self, transforms: Sequence[Augmentation]) -> None:
        self.compose = A.Compose(list(transforms))

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        self.compose.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        augmented: Pixels = self.compose(image=image)["image"]  # unchanged: check_augment rejects anything but pictures
        return augmented

    def with_mask(self, image: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
        """The same for an image and the mask that belongs to it, of its size."""
        self.compose.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        both = self.compose(image=image, mask=mask)
        return both["image"], (both["mask"] > 0).astype(np.uint8)


def check_augment(
    augment: Sequence[Augmentation], image: Pixels, draws: int = 8, argument: str = "augment", keeps_size: bool = False
) -> None:
    """Apply ``augment`` as if every probability were 1, a few times.

    Raises:
        ValueError: Naming the argument and the transform that fails, does not return uint8 (H, W, 3), or changes the
            size although ``keeps_size``.
    """
    transforms = [_certain(copy.deepcopy(transform)) for transform in augment]
    for draw in range(draws if transforms else 0):
        found, culprit, rng = image, None, np.random.default_rng(draw)
        for transform in transforms:
            name = type(transform).__name__
            try:
                found = Keyed([transform])(found, rng)
            except Exception as error:  # whatever a transform raises for an image that it cannot take
                height, width = image.shape[:2]
                raise ValueError(f"{argument}: {name} fails on an image of {width}x{height}: {error}") from error
            # ToFloat may stand here if FromFloat follows.
            culprit = None if is_picture(found) else culprit or name
            if not isinstance(found, np.ndarray):
                break
        if culprit:
            kind = f"{found.dtype} {tuple(found.shape)}"
            raise ValueError(
                f"{argument}: {culprit} makes {kind} of an image; expected uint8 (H, W, 3) in [0, 255] at the end. "
                f"Leave it out: images are scaled to [-1, 1] after {argument}."
            )
        if keeps_size and found.shape != image.shape:
            height, width = found.shape[:2]
            raise ValueError(
                f"{argument}: the crop of {image.shape[1]}x{image.shape[0]} becomes {width}x{height}; expected the "
                "same size. Move what changes it to augment."
            )


def _certain(transform: Augmentation) -> Augmentation:
    transform.p = 1.0
    for child in getattr(transform, "transforms", ()):
        _certain(child)
    return transform


def is_picture(image: object) -> bool:
    """Whether it is uint8 (H, W, 3)."""
    return isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


def first_resize(size: Size, resize: Resize, shorter_side: tuple[int, int]) -> list[Augmentation]:
    """What comes before ``augment``.

    Raises:
        ValueError: ``resize`` is none of the three.
    """
    steps: dict[Resize, list[Augmentation]] = {
        "shorter": [ShorterSide(*shorter_side, size)],
        "direct": [_Direct(size)],
        "none": [],
    }
    return steps[one_of(resize, Resize, "resize")]


def training_transform(
    size: Size,
    resize: Resize,
    shorter_side: tuple[int, int],
    flip: bool,
    augment: Sequence[Augmentation],
    augment_after_crop: Sequence[Augmentation] = (),
    crop: Crop = "random",
    own_mask: bool = False,
) -> Keyed:
    """Resize, ``augment``, crop, flip (probability one half), ``augment_after_crop``.

    ``own_mask``: for an image whose mask comes along: a random crop holds a part of the hole.
    """
    first = first_resize(size, resize, shorter_side)
    fit = [_AtLeast(size)] if resize == "none" or augment else []
    around = A.CropNonEmptyMaskIfExists if own_mask else A.RandomCrop
    cut = around(*sides(size)) if one_of(crop, Crop, "crop") == "random" else A.CenterCrop(*sides(size))
    mirror = [A.HorizontalFlip(p=0.5)] if flip else []
    return Keyed([*first, *augment, *fit, cut, *mirror, *augment_after_crop])


def evaluation_transform(size: Size, resize: Resize) -> Keyed:
    """Shorter side to ``size`` (or direct, or none), then the centre crop."""
    first = first_resize(size, resize, (min(sides(size)),) * 2)
    return Keyed([*first, _AtLeast(size), A.CenterCrop(*sides(size))])


def place_mask(mask: Mask, image: tuple[int, int], size: Size, resize: Resize) -> Mask | None:
    """Take a mask of the proportions of its image (height, width) through :func:`evaluation_transform`, nearest pixel.

    A mask of the proportions of ``size`` belongs to what is cropped from the image. Any other shape is None: the hole
    would move.
    """
    rows, columns = sides(size)
    if same_proportions(mask.shape, image):
        height, width = image
        if resize == "direct":
            height, width = rows, columns
        elif resize == "shorter" or height < rows or width < columns:
            height, width = covering_shape(image, size)
        top, left = (height - rows) // 2, (width - columns) // 2
        return resize_mask(mask, height, width)[top : top + rows, left : left + columns]
    return resize_mask(mask, rows, columns) if same_proportions(mask.shape, (rows, columns)) else None


def same_proportions(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two shapes (height, width) are equal up to a pixel."""
    return abs(one[0] * other[1] - one[1] * other[0]) <= max(other)
