"""The training samples: what the workers run."""

import warnings
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.evaluation import to_image, to_mask
from datamodules.files import Files
from datamodules.reading import Pixels, UnreadableImageError
from datamodules.transforms import Keyed, is_picture
from masks.convention import InpaintingBatch
from masks.generator import MaskGenerator, keyed_rng


class TrainingSet(Dataset[InpaintingBatch]):
    """Sample (epoch, i) is file i modulo the number of files, with draws keyed by (seed, purpose, epoch, i).

    Args:
        files: The images.
        mask: Distribution of the holes.
        transform: From pixels of any size to pixels of ``size``.
        size: Side of the samples.
        seed: Seed for all draws.
        samples: Samples per epoch; beyond the number of files, each is used several times with new crops and masks.
        on_bad_image: "stop": an unreadable image ends the run. "skip": it is reported once, counted and replaced by the
            next readable file, with the same draws.
    """

    def __init__(
        self,
        files: Files,
        mask: MaskGenerator,
        transform: Keyed,
        size: int,
        seed: int,
        samples: int | None = None,
        on_bad_image: Literal["stop", "skip"] = "stop",
    ) -> None:
        self.files, self.mask, self.transform, self.size, self.seed = files, mask, transform, size, seed
        self.samples = samples or len(files)
        self.on_bad_image = on_bad_image
        # Shared with the workers, which mark unreadable files; the main process counts them.
        self.unreadable: Tensor = torch.zeros(len(files), dtype=torch.uint8).share_memory_()

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, key: tuple[int, int] | int) -> InpaintingBatch:
        epoch, index = key if isinstance(key, tuple) else (0, key)  # an index alone: Lightning's overfit_batches
        pixels, name = self.read(index % len(self.files))
        cropped = self.transform(pixels, keyed_rng(self.seed, "crop", epoch, index))
        if not is_picture(cropped) or cropped.shape[:2] != (
            self.size,
            self.size,
        ):  # so rare that check_augment missed it
            made = f"augment or augment_after_crop made {cropped.dtype} {cropped.shape} of {name}"
            raise ValueError(f"{made}; expected uint8 ({self.size}, {self.size}, 3).")
        mask = self.mask(self.size, self.size, keyed_rng(self.seed, "mask", epoch, index))
        return InpaintingBatch(to_image(cropped), to_mask(mask), name)

    def read(self, number: int) -> tuple[Pixels, str]:
        """Pixels and name of a file, or of its replacement."""
        for step in range(len(self.files)):
            candidate = (number + step) % len(self.files)
            try:
                return self.files.read(candidate), self.files.name(candidate)
            except UnreadableImageError as error:
                if self.on_bad_image == "stop":
                    raise UnreadableImageError(f"{error} To skip it, set on_bad_image to skip.") from None
                if not self.unreadable[candidate]:
                    self.unreadable[candidate] = 1
                    warnings.warn(f"{error} Skipped: replaced by the next image.")
        raise UnreadableImageError(f"{self.files.root}: none of {len(self.files)} images can be read.")
