"""Base class of all data sets: batches, keyed draws, resuming, and a fixed evaluation."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal, get_args

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.utils.data import DataLoader, Sampler

from datamodules.arguments import check_whole, one_of
from datamodules.bands import Bands, reading_settings
from datamodules.elastic import Deal, Resumed, resumed
from datamodules.evaluation import EvaluationSet, checked_channels, collate
from datamodules.files import Files
from datamodules.sampler import EvaluationSampler, OverfitSampler, TrainingSampler, worker_threads
from datamodules.summary import lines, summarise
from datamodules.training import OnBadImage, TrainingSet
from datamodules.transforms import (
    Augmentation,
    Crop,
    Keyed,
    Resize,
    check_augment,
    first_resize,
    resize,
    training_transform,
)
from masks.convention import InpaintingBatch
from masks.generator import MaskGenerator
from masks.size import Size, plain, sides, square_or_pair

Split = Literal["train", "val", "test"]


class TrainingLoader(DataLoader[InpaintingBatch]):
    """Says to Lightning that it can resume; where, its sampler knows from the trainer's progress."""

    def state_dict(self) -> dict[str, str]:
        return {"resumes": "from the trainer's progress"}

    def load_state_dict(self, state: object) -> None:
        pass


class InpaintingDataModule(L.LightningDataModule, ABC):
    """Photographs of one data set and the masks that erase them; a subclass provides the files.

    Every draw is keyed by (seed, purpose, epoch, sample index): the samples are the same for any number of workers and
    devices, and a resumed run continues with the batch that would have come next.

    >>> from datamodules import SamplePhotos
    >>> from masks import Wide
    >>> data = SamplePhotos(mask=Wide(), image_size=64, batch_size=2, num_workers=0)
    >>> data.setup("fit")
    >>> next(iter(data.train_dataloader())).mask.shape
    torch.Size([2, 1, 64, 64])

    Args:
        mask: Distribution of the holes in training.
        image_size: Side of the square samples, or (height, width).
        batch_size: Batch size per device.
        global_batch: Images per step, over all devices and accumulated batches, for which the configuration was tuned.
            Only checked: a different product of devices and batch_size triggers a warning.
        num_workers: Processes that read and mask images; 0 uses the main process.
        seed: Seed for order, crops, flips and masks in training.
        resize: "shorter": shorter side drawn from ``shorter_side``, then a random crop; "direct": to ``image_size``,
            whatever the proportions; "none": a random crop of the original image. Images smaller than the crop are
            enlarged until they fit exactly. Evaluation: shorter side to ``image_size`` (or direct, or none), then the
            centre crop. A sample that is not square: the shorter side of the part with its proportions.
        shorter_side: (low, high), both included, drawn uniformly; default: ``image_size``, its shorter side.
        crop: Where training samples are cropped: "random", or "center" as guided-diffusion does.
        flip: Mirror half of the training samples left to right.
        augment: Albumentations between resize and crop, OneOf and other compositions too, on uint8 (H, W, 3); training
            only. Pipelines that return another type or range are rejected before training.
        augment_after_crop: The same after crop and flip, on the sample; LaMa's CLAHE equalises the crop.
        drop_last: Drop samples at the end of an epoch that do not fill a batch on every device.
        samples_per_epoch: If larger than the number of images, each is used several times with new crops and masks;
            if smaller, each epoch takes other images.
        eval_mask: Distribution of the holes in validation and test; default: ``mask``.
        eval_seed: Seed for these holes: the hole of image i is keyed by (eval_seed, i).
        eval_repeats: Holes per image in validation and test.
        eval_batch_size: Default: ``batch_size``.
        limit_eval: Use only the first N images.
        on_bad_image: "stop": an unreadable training image ends the run and is reported by name. "skip": it is reported,
            counted and replaced by the next. Evaluation always stops: skipping an image would change the numbers.
        bands: Meaning of a fourth band in TIFF and JPEG 2000 files: "rgb": not part of the picture (near infrared),
            dropped; "alpha": transparency. Without it, such files are rejected.
        white_level: Value of white in 16-bit files, e.g. 4095 for 12-bit data (default: 65535).
        channels: 3, or 1 for grey images (B, 1, H, W): the luma of what is read, after all augmentation.
    """

    def __init__(
        self,
        mask: MaskGenerator,
        image_size: Size = 256,
        batch_size: int = 16,
        num_workers: int = 4,
        seed: int = 0,
        resize: Resize = "shorter",
        shorter_side: tuple[int, int] | None = None,
        flip: bool = True,
        augment: Sequence[Augmentation] | None = None,
        drop_last: bool = True,
        samples_per_epoch: int | None = None,
        eval_mask: MaskGenerator | None = None,
        eval_seed: int = 0,
        eval_repeats: int = 1,
        eval_batch_size: int | None = None,
        limit_eval: int | None = None,
        on_bad_image: OnBadImage = "stop",
        global_batch: int | None = None,
        bands: Bands | None = None,
        white_level: int | None = None,
        augment_after_crop: Sequence[Augmentation] | None = None,
        crop: Crop = "random",
        channels: int = 3,
    ) -> None:
        super().__init__()
        image_size = square_or_pair(image_size)
        shorter = min(sides(image_size))
        low, high = shorter_side or (shorter, shorter)
        if not shorter <= low <= high:
            least = f"image_size ({shorter})" if shorter == image_size else f"the shorter of image_size ({shorter})"
            raise ValueError(f"shorter_side is ({low}, {high}); expected {least} <= low <= high.")
        one_of(resize, Resize, "resize")
        one_of(crop, Crop, "crop")
        one_of(on_bad_image, OnBadImage, "on_bad_image")
        check_whole(0, num_workers=num_workers, seed=seed, eval_seed=eval_seed)
        check_whole(1, batch_size=batch_size, samples_per_epoch=samples_per_epoch, global_batch=global_batch)
        check_whole(1, eval_repeats=eval_repeats, eval_batch_size=eval_batch_size, limit_eval=limit_eval)
        self.mask, self.image_size, self.batch_size, self.num_workers = mask, image_size, batch_size, num_workers
        self.seed, self.resize, self.shorter_side, self.flip = seed, resize, (low, high), flip
        self.augment, self.augment_after_crop, self.crop = list(augment or ()), list(augment_after_crop or ()), crop
        self.drop_last, self.samples_per_epoch = drop_last, samples_per_epoch
        self.eval_mask, self.eval_seed, self.eval_repeats = eval_mask or mask, eval_seed, eval_repeats
        self.eval_batch_size, self.limit_eval = eval_batch_size or batch_size, limit_eval
        self.on_bad_image, self.global_batch = on_bad_image, global_batch
        self.channels = checked_channels(channels)
        self.reading = reading_settings(bands, white_level)
        self._summary: dict[str, Any] | None = None
        self._told: set[str] = set()  # stages at whose start it was reported
        self._files: dict[str, Files] = {}
        self._training: TrainingSet | None = None
        self._resumed: dict[str, Any] = {}
        self._start = Resumed()
        self.may_deal_anew = False  # in the middle of an epoch, where a resumed run has another global batch
        # Plain values under one key: loads with weights_only, and never collides with an argument of the method.
        self.save_hyperparameters({"data": self._description()})

    @abstractmethod
    def find(self, split: Split) -> Files:
        """The images of one split. Raises a ValueError that states what is missing and what to do."""

    def files(self, split: Split) -> Files:
        """The images of one split, searched once."""
        if one_of(split, Split, "split") not in self._files:
            self._files[split] = self.find(split)
        self._files[split].reading = self.reading
        return self._files[split]

    def training_set(self) -> TrainingSet:
        if self._training is None:
            transform, with_mask = (
                training_transform(
                    self.image_size,
                    self.resize,
                    self.shorter_side,
                    self.flip,
                    self.augment,
                    self.augment_after_crop,
                    self.crop,
                    own_mask,
                )
                for own_mask in (False, True)
            )
            self._training = TrainingSet(
                self.files("train"),
                self.mask,
                transform,
                self.image_size,
                self.seed,
                self.samples_per_epoch,
                self.on_bad_image,
                with_mask,
                self.channels,
            )
        return self._training

    def evaluation_set(self, split: Literal["val", "test"]) -> EvaluationSet:
        """Fixed images and masks, the same for every method, device and batch size."""
        return EvaluationSet(
            self.files(split),
            self.eval_mask,
            self.image_size,
            self.resize,
            self.eval_seed,
            self.limit_eval,
            self.eval_repeats,
            self.channels,
        )

    def summary(self) -> dict[str, Any]:
        """Summary of the splits (:func:`datamodules.summary.summarise`), computed once."""
        if self._summary is None:
            splits: dict[str, Files] = {}
            for split in get_args(Split):
                with suppress(ValueError):  # a data set may lack one
                    splits[split] = self.files(split)
            self._summary = summarise(splits)
        return self._summary

    def bad_images(self) -> list[str]:
        """Names of the unreadable training images skipped so far."""
        if self._training is None:
            return []
        return [self._training.files.name(int(i)) for i in self._training.unreadable.nonzero().flatten()]

    # ---- Lightning ---------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Search the files before anything else starts, so that a wrong folder is one clear error."""
        split: Split = {"fit": "train", "validate": "val"}.get(stage, "test")  # type: ignore[assignment]
        files = self.files(split)
        if self._rank_and_world()[0] == 0 and stage not in self._told:
            self._told.add(stage)
            for line in lines(self.summary() if stage == "fit" else summarise({split: files}, self.limit_eval)):
                rank_zero_info(line)
        if stage == "fit" and (self.augment or self.augment_after_crop):
            image, rng = self.training_set().read(0)[0], np.random.default_rng(0)
            check_augment(
                self.augment, Keyed(first_resize(self.image_size, self.resize, self.shorter_side))(image, rng)
            )
            sample = resize(image, *sides(self.image_size))
            check_augment(self.augment_after_crop, sample, argument="augment_after_crop", keeps_size=True)

    def train_dataloader(self) -> DataLoader[InpaintingBatch]:
        data = self.training_set()
        rank, world = self._rank_and_world()
        global_batch = self.batch_size * world
        if len(data) < (global_batch if self.drop_last else world):
            raise ValueError(
                f"{len(data)} training samples do not fill a batch of {self.batch_size} on {world} "
                f"device{'s' * (world > 1)}. Lower batch_size, set drop_last to false, or set samples_per_epoch to "
                "show each image several times."
            )
        self._check_resumed()
        self._check_global_batch(world)
        self._start = resumed(self.trainer, self._deal(), self._resumed)
        self._resumed = self.state_dict() if self._resumed else {}  # that is settled; another epoch's loader is new
        start = (self._start.epoch, self._start.done)
        sampler: Sampler[Any] = TrainingSampler(
            len(data), self.batch_size, self.seed, rank, world, self.drop_last, start, len(data.files)
        )
        if self.trainer and self.trainer.overfit_batches:  # type: ignore[attr-defined]
            sampler = OverfitSampler(data, (start[0], start[1] // world))  # every device sees all of them
        return TrainingLoader(data, sampler=sampler, drop_last=self.drop_last, **self._workers(self.batch_size))

    def val_dataloader(self) -> DataLoader[InpaintingBatch] | list[DataLoader[InpaintingBatch]]:
        try:
            return self._evaluation_loader("val")
        except ValueError as error:
            if self.trainer is None or self.trainer.state.fn != "fit":
                raise
            rank_zero_warn(f"Training without validation: {error}")
            return []

    def test_dataloader(self) -> DataLoader[InpaintingBatch]:
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[InpaintingBatch]:
        return self._evaluation_loader("test")

    def state_dict(self) -> dict[str, Any]:
        """State for resuming inside an epoch: batches of this size in this permutation."""
        epoch, _, offset = self._start
        return self._order() | ({"dealt_anew": [epoch, offset]} if offset else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._resumed = state_dict

    def teardown(self, stage: str) -> None:
        bad = self.bad_images()
        if stage == "fit" and bad:
            rank_zero_info(f"{len(bad)} of {len(self.files('train'))} images could not be read: {', '.join(bad[:10])}")

    def _evaluation_loader(self, split: Literal["val", "test"]) -> DataLoader[InpaintingBatch]:
        data = self.evaluation_set(split)
        rank, world = self._rank_and_world()
        if len(data) < world:
            # A rank without a batch skips the metrics' merge, and the others wait for it for ever.
            raise ValueError(f"{len(data)} {split} samples for {world} devices; each needs one. Use fewer devices.")
        sampler = EvaluationSampler(len(data), rank, world)
        return DataLoader(data, sampler=sampler, **self._workers(self.eval_batch_size))

    def _workers(self, batch_size: int) -> dict[str, Any]:
        return {
            "batch_size": batch_size,  # by keyword: Lightning makes the loader of predict anew and adds its own
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "worker_init_fn": worker_threads,
            "collate_fn": collate,
            "pin_memory": torch.cuda.is_available(),
        }

    def _rank_and_world(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _deal(self) -> Deal:
        world = self._rank_and_world()[1]
        return Deal(len(self.training_set()), self.batch_size * world, world, self.drop_last)

    def _order(self) -> dict[str, Any]:
        deal = self._deal()
        said = {"seed": self.seed, "samples": deal.samples, "global_batch": deal.batch, "drop_last": deal.drop_last}
        return said if self.drop_last else said | {"used": deal.used}

    def _check_resumed(self) -> None:
        now, free = self._order(), {"global_batch", "used"} if self.may_deal_anew else set()
        different = [k for k, value in self._resumed.items() if k in now and now[k] != value and k not in free]
        if different:
            changes = ", ".join(f"{key} was {self._resumed[key]} and is {now[key]}" for key in different)
            raise ValueError(
                f"The run cannot be resumed: {changes}. Change it back, or start a new run from its weights."
            )

    def _check_global_batch(self, world: int) -> None:
        accumulated = getattr(self.trainer.lightning_module, "accumulate", 1) if self.trainer else 1
        now = self.batch_size * world * accumulated
        if self.global_batch not in (None, now):
            product = (
                f"{world} device{'s' * (world > 1)} x batch_size {self.batch_size}"
                + f" x accumulate {accumulated}" * (accumulated > 1)
            )
            rank_zero_warn(
                f"This configuration was tuned at {self.global_batch} images per step (global_batch); {product} = "
                f"{now}. Change these until they match, or expect different results."
            )

    def _description(self) -> dict[str, object]:
        return {
            "class": type(self).__name__,
            "mask": repr(self.mask),
            "image_size": plain(self.image_size),
            "batch_size": self.batch_size,
            "seed": self.seed,
            "resize": self.resize,
            "shorter_side": list(self.shorter_side),
            "flip": self.flip,
            "augment": [repr(transform) for transform in self.augment],
            "augment_after_crop": [repr(transform) for transform in self.augment_after_crop],
            "crop": self.crop,
            "drop_last": self.drop_last,
            "samples_per_epoch": self.samples_per_epoch,
            "eval_mask": repr(self.eval_mask),
            "eval_seed": self.eval_seed,
            "on_bad_image": self.on_bad_image,
            **self.reading,
            **({"channels": 1} if self.channels == 1 else {}),
        }
