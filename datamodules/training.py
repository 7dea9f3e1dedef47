"""The training samples: what the workers run."""

import warnings
from collections.abc import Callable
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.arguments import check_whole, one_of
from datamodules.evaluation import to_image, to_mask
from datamodules.files import Files
from datamodules.own_masks import OwnMaskFiles
from datamodules.reading import Pixels, UnreadableImageError
from datamodules.transforms import Keyed, is_picture, same_proportions
from masks.convention import InpaintingBatch
from masks.files import resize_mask
from masks.generator import Mask, MaskGenerator, keyed_rng
from masks.own import found_by
from masks.size import Size, by_name, sides

OnBadImage = Literal["stop", "skip"]
T = TypeVar("T")


class TrainingSet(Dataset[InpaintingBatch]):
    """Sample (epoch, i) is file i modulo the number of files, with draws keyed by (seed, purpose, epoch, i).

    Args:
        files: The images.
        mask: Distribution of the holes.
        transform: From pixels of any size to pixels of ``size``.
        size: Side of the square samples, or (height, width).
        seed: Seed for all draws.
        samples: Samples per epoch; beyond the number of files, each is used several times with new crops and masks.
            Where there are fewer, :class:`datamodules.sampler.TrainingSampler` chooses files by the epoch.
        on_bad_image: "stop": an unreadable image ends the run. "skip": it is reported once, counted and replaced by the
            next readable file, with the same draws.
        own_transform: ``transform`` of a sample whose mask is that of its image, and is cropped with it.
        channels: 3, or 1: the luma of each sample, after all augmentation.
    """

    def __init__(
        self,
        files: Files,
        mask: MaskGenerator,
        transform: Keyed,
        size: Size,
        seed: int,
        samples: int | None = None,
        on_bad_image: OnBadImage = "stop",
        own_transform: Keyed | None = None,
        channels: int = 3,
    ) -> None:
        self.own, self.own_transform = OwnMaskFiles(files, mask), own_transform or transform
        self.files, self.mask, self.transform, self.size, self.seed = files, mask, transform, size, seed
        check_whole(1, samples=samples)
        self.samples = samples or len(files)
        self.on_bad_image, self.channels = one_of(on_bad_image, OnBadImage, "on_bad_image"), channels
        # Shared with the workers, which mark unreadable files; the main process counts them.
        self.unreadable: Tensor = torch.zeros(len(files), dtype=torch.uint8).share_memory_()

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, key: tuple[int, int] | int) -> InpaintingBatch:
        epoch, index = key if isinstance(key, tuple) else (0, key)  # an index alone: Lightning's overfit_batches
        return self._first_readable(index % len(self.files), lambda number: self._sample(number, epoch, index))

    def _sample(self, number: int, epoch: int, index: int) -> InpaintingBatch:
        pixels, name, paired = self.files.read(number), self.files.name(number), list[Pixels]()

        def of_image(law: MaskGenerator) -> Mask:
            image, mask = self._own_mask(law, number, pixels, keyed_rng(self.seed, "crop", epoch, index))
            paired[:] = [image]
            return mask

        with found_by(of_image):
            mask = self.mask(*sides(self.size), keyed_rng(self.seed, "mask", epoch, index))
        cropped = paired[0] if paired else self.transform(pixels, keyed_rng(self.seed, "crop", epoch, index))
        if not is_picture(cropped) or cropped.shape[:2] != sides(self.size):  # so rare that check_augment missed it
            made = f"augment or augment_after_crop made {cropped.dtype} {cropped.shape} of {name}"
            raise ValueError(f"{made}; expected uint8 {(*sides(self.size), 3)}.")
        return InpaintingBatch(to_image(cropped, self.channels), to_mask(mask), name)

    def _own_mask(
        self, law: MaskGenerator, number: int, pixels: Pixels, rng: np.random.Generator
    ) -> tuple[Pixels, Mask]:
        """Crop an image together with its mask.

        Raises:
            UnreadableImageError: Naming the mask: no mask, of another shape than its image, or no hole is left of it.
        """
        path, (height, width) = self.own.path(law, number), pixels.shape[:2]
        try:
            mask = self.own.read(law, number)
        except ValueError as error:
            raise UnreadableImageError(str(error)) from error
        if not same_proportions(mask.shape, (height, width)):
            raise UnreadableImageError(
                f"{path} is {mask.shape[1]}x{mask.shape[0]}, its image {self.files.path(number)} {width}x{height}: "
                "with a different shape, the hole would move. Give masks of the images' size."
            )
        image, mask = self.own_transform.with_mask(pixels, resize_mask(mask, height, width), rng)
        if not mask.any():
            raise UnreadableImageError(f"{path}: no hole is left of it in the {by_name(self.size)} sample.")
        return image, mask

    def read(self, number: int) -> tuple[Pixels, str]:
        """Pixels and name of a file, or of its replacement."""
        return self._first_readable(number, lambda n: (self.files.read(n), self.files.name(n)))

    def _first_readable(self, number: int, use: Callable[[int], T]) -> T:
        for step in range(len(self.files)):
            candidate = (number + step) % len(self.files)
            try:
                return use(candidate)
            except UnreadableImageError as error:
                if self.on_bad_image == "stop":
                    raise UnreadableImageError(f"{error} To skip it, set on_bad_image to skip.") from None
                if not self.unreadable[candidate]:
                    self.unreadable[candidate] = 1
                    warnings.warn(f"{error} Skipped: replaced by the next image.")
        raise UnreadableImageError(f"{self.files.root}: none of {len(self.files)} images can be read.")
