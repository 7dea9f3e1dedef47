"""Outputs of ``lit-inpaint predict``: one PNG per image."""

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from datamodules import InpaintingDataModule
from experiments.files.write import below, key_of, quick_png, refuse_equal_keys, write_bytes, write_text
from masks.convention import InpaintingBatch, to_pixels

_BEGUN = ".begun.json"  # lies in a folder until all its pictures are written


class WritePredictions(BasePredictionWriter):
    """Write every completed image to ``folder``, under its name in the data set.

    Args:
        folder: New or empty, so that nothing is overwritten; or left by a killed call with the same weights and images,
            whose images are written again.
    """

    def __init__(self, folder: str = "predictions") -> None:
        super().__init__("batch")
        self.folder = Path(folder)

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        begun: dict[str, object] | None = None
        data: object = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, InpaintingDataModule):  # else what meets is found when it is written
            images = data.evaluation_set("test")
            names = [images.name(index) for index in range(len(images))]
            refuse_equal_keys(names)
            limit = trainer.limit_predict_batches
            begun = {
                "method": type(pl_module).__name__,
                "ckpt_path": trainer.ckpt_path,
                "limit": limit,
                "images": names,
            }
            begun = json.loads(json.dumps(begun, default=str))
        self._again = begun is not None and _read(self.folder / _BEGUN) == begun
        if not self._again and self.folder.exists() and not _is_free(self.folder):
            raise ValueError(f"{self.folder} exists and is not empty; move it away or give another folder.")
        trainer.strategy.barrier()  # no process writes before all have looked
        if begun and trainer.is_global_zero:
            write_text(self.folder / _BEGUN, json.dumps(begun) + "\n")
        trainer.strategy.barrier()  # nor before it is known what will be written
        trainer.predict_loop.return_predictions = False  # they are on the disk; a data set of them fills the memory

    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        prediction: Tensor,
        batch_indices: Sequence[int] | None,
        batch: InpaintingBatch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        for image, name in zip(prediction, batch.name, strict=True):
            if (path := below(self.folder, f"{key_of(name)}.png")).exists() and not self._again:
                raise ValueError(f"two images of the data set would be written to {path}; rename one of them.")
            write_bytes(path, quick_png(to_pixels(image)))

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            (self.folder / _BEGUN).unlink(missing_ok=True)
            print(f"completed images: {self.folder}")


def _is_free(folder: Path) -> bool:
    """Whether it contains only partial files of a killed call."""
    return folder.is_dir() and all(fnmatchcase(path.name, ".*.part*") for path in folder.iterdir())


def _read(path: Path) -> object:
    """None if the file is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
