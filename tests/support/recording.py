"""A module that writes down the samples it is shown, on one process or as one of two ranks."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from datamodules import ImageFolder
from masks.convention import InpaintingBatch
from masks.generator import Mask, MaskGenerator

IMAGES, BATCH, EPOCHS = 12, 4, 3
BATCHES = IMAGES // BATCH


@dataclass(frozen=True)
class Noise(MaskGenerator):
    """Every mask is another, so that a repeated or a shifted draw shows."""

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        return (rng.random((height, width)) < 0.5).astype(np.uint8)


class Recorder(L.LightningModule):
    """Writes down what it is shown: (epoch, batch, [(name, hash of pixels and mask)])."""

    def __init__(self, fail_in_step: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, int, list[tuple[str, str]]]] = []
        self.validated: list[str] = []
        self.fail_in_step = fail_in_step

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> torch.Tensor:
        if self.fail_in_step == (self.current_epoch, batch_idx):
            raise InterruptedError
        pairs = zip(batch.name, batch.image.numpy(), batch.mask.numpy(), strict=True)
        samples = [(n, hashlib.sha256(i.tobytes() + m.tobytes()).hexdigest()) for n, i, m in pairs]
        self.seen.append((self.current_epoch, batch_idx, samples))
        return (self.weight * batch.image.mean()).sum()

    def validation_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        self.validated += batch.name

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class StopAfter(L.Callback):
    """Saves a checkpoint in one hook of one batch, and ends the run there."""

    def __init__(self, path: Path, hook: str, epoch: int, batch: int = BATCHES - 1) -> None:
        self.path, self.epoch, self.batch = path, epoch, batch
        setattr(self, hook, self._stop)

    def _stop(self, trainer: L.Trainer, *args: Any) -> None:
        progress = trainer.fit_loop.epoch_loop.batch_progress.current.ready - 1
        if not trainer.sanity_checking and (trainer.current_epoch, progress) == (self.epoch, self.batch):
            trainer.save_checkpoint(self.path)
            raise InterruptedError


def fit(
    folder: Path,
    workers: int,
    module: Recorder,
    callbacks: list[L.Callback],
    ranks: int = 1,
    overfit_batches: int = 0,
    **options: Any,
) -> None:
    data = ImageFolder(folder, Noise(), image_size=16, batch_size=BATCH // ranks, num_workers=workers, seed=3)
    trainer = L.Trainer(
        max_epochs=EPOCHS,
        devices=ranks,
        strategy="ddp" if ranks > 1 else "auto",
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
        num_sanity_val_steps=1,
        overfit_batches=overfit_batches,
    )
    trainer.fit(module, data, **options)


class Written(Recorder):
    """Ranks are processes: what each has seen goes into a file."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def on_train_batch_end(self, *args: Any) -> None:
        (self.folder / f"{self.global_rank}.json").write_text(json.dumps(self.seen))

    def on_validation_end(self) -> None:
        (self.folder / f"val-{self.global_rank}.json").write_text(json.dumps(self.validated))


def fit_a_rank(photos: Path, workers: int, seen: Path, checkpoint: Path, stop: tuple[int, int] | None) -> None:
    """One of two ranks: stopped at (epoch, batch) with a checkpoint, or from the checkpoint to the end."""
    callbacks: list[L.Callback] = [StopAfter(checkpoint, "on_train_batch_start", *stop)] if stop else []
    fit(photos, workers, Written(seen), callbacks, ranks=2, ckpt_path=None if stop else checkpoint)


def merged(seen: Path) -> list[tuple[int, int, set[tuple[str, str]]]]:
    """What both ranks of a run saw."""
    ranks = [json.loads((seen / f"{rank}.json").read_text()) for rank in range(2)]
    return [(a[0], a[1], {tuple(sample) for sample in a[2] + b[2]}) for a, b in zip(*ranks, strict=True)]
