"""A run that stops and resumes sees the samples that it would have seen, whatever workers read them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch.multiprocessing import ProcessRaisedException

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for split, count in (("train", IMAGES), ("val", 5)):
        (root / split).mkdir()
        for i in range(count):
            cv2.imwrite(str(root / split / f"{i:02}.png"), rng.integers(0, 256, (24, 20, 3), dtype=np.uint8))
    return root


def fit(
    folder: Path, workers: int, module: Recorder, callbacks: list[L.Callback], ranks: int = 1, **options: Any
) -> None:
    data = ImageFolder(folder, Noise(), image_size=16, batch_size=BATCH // ranks, num_workers=workers, seed=3)
    trainer = L.Trainer(
        max_epochs=EPOCHS,
        devices=ranks,
        strategy=DDPStrategy(start_method="fork") if ranks > 1 else "auto",
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
        num_sanity_val_steps=1,
    )
    trainer.fit(module, data, **options)


@pytest.fixture(scope="module")
def uninterrupted(folder: Path) -> list[tuple[int, int, list[tuple[str, str]]]]:
    module = Recorder()
    fit(folder, 0, module, [])
    return module.seen


def test_an_epoch_shows_every_image_once_and_no_two_epochs_are_alike(uninterrupted: list[Any]):
    names = [[n for e, _, samples in uninterrupted if e == epoch for n, _ in samples] for epoch in range(EPOCHS)]
    assert all(sorted(epoch) == [f"train/{i:02}.png" for i in range(IMAGES)] for epoch in names)
    assert names[0] != names[1] != names[2]
    assert len({sample for _, _, samples in uninterrupted for sample in samples}) == IMAGES * EPOCHS


@pytest.mark.parametrize("workers", [2, 4])
def test_the_stream_of_images_and_masks_is_the_same_for_any_number_of_workers(
    folder: Path, uninterrupted: list[Any], workers: int
):
    module = Recorder()
    fit(folder, workers, module, [])
    assert module.seen == uninterrupted  # with no workers


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("hook", "epoch", "batch"),
    [
        ("on_train_batch_end", 0, 0),
        ("on_train_batch_end", 1, 1),
        ("on_train_batch_end", 1, BATCHES - 1),
        ("on_train_batch_end", 0, BATCHES - 1),
        ("on_validation_end", 1, BATCHES - 1),
        ("on_train_epoch_end", 0, BATCHES - 1),
        ("on_train_epoch_end", 1, BATCHES - 1),
        ("on_train_batch_start", 1, 1),
        ("on_train_batch_start", 1, BATCHES - 1),
    ],
)
def test_a_resumed_run_sees_what_the_uninterrupted_run_sees(
    folder: Path, tmp_path: Path, uninterrupted: list[Any], hook: str, epoch: int, batch: int, workers: int
):
    first, second, path = Recorder(), Recorder(), tmp_path / "stopped.ckpt"
    with pytest.raises(InterruptedError):
        fit(folder, workers, first, [StopAfter(path, hook, epoch, batch)])
    fit(folder, workers, second, [], ckpt_path=path)
    assert first.seen + second.seen == uninterrupted


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

    def merged(self) -> list[tuple[int, int, set[tuple[str, str]]]]:
        ranks = [json.loads((self.folder / f"{rank}.json").read_text()) for rank in range(2)]
        pairs = zip(*ranks, strict=True)
        return [(a[0], a[1], {tuple(sample) for sample in a[2] + b[2]}) for a, b in pairs]


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "epoch", "batch"), [(0, 1, 1), (2, 1, 1), (2, 0, BATCHES - 1)])
def test_two_ranks_share_the_batches_of_one_also_after_a_restart(
    folder: Path, tmp_path: Path, uninterrupted: list[Any], workers: int, epoch: int, batch: int
):
    first, second, path = Written(tmp_path / "a"), Written(tmp_path / "b"), tmp_path / "stopped.ckpt"
    with pytest.raises(ProcessRaisedException, match="InterruptedError"):
        fit(folder, workers, first, [StopAfter(path, "on_train_batch_start", epoch, batch)], ranks=2)
    fit(folder, workers, second, [], ranks=2, ckpt_path=path)
    assert first.merged() + second.merged() == [(e, b, set(samples)) for e, b, samples in uninterrupted]
    validated = [json.loads((second.folder / f"val-{rank}.json").read_text()) for rank in range(2)]
    assert len(validated[0]) > len(validated[1])
    assert sorted({*validated[0], *validated[1]}) == [f"val/{i:02}.png" for i in range(5)]
