"""What ``lit-inpaint predict`` leaves: one PNG an image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from datamodules import InpaintingDataModule
from experiments.evaluate.measure import save_png
from experiments.files.write import below, key_of, refuse_equal_keys


class WritePredictions(BasePredictionWriter):
    """Write every completed image to ``folder``, under its name in the data set.

    Args:
        folder: New or empty, so that nothing is overwritten.
    """

    def __init__(self, folder: str = "predictions") -> None:
        super().__init__("batch")
        self.folder = Path(folder)

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise ValueError(f"{self.folder} exists and is not empty; move it away or give another folder.")
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, InpaintingDataModule):  # else what meets is found when it is written
            images = data.evaluation_set("test")
            refuse_equal_keys(map(images.name, range(len(images))))
        trainer.strategy.barrier()  # no process writes before all have looked
        trainer.predict_loop.return_predictions = False  # they are on the disk; a data set of them fills the memory

    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        prediction: Tensor,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        for image, name in zip(prediction, batch.name, strict=True):
            if (path := below(self.folder, f"{key_of(name)}.png")).exists():
                raise ValueError(f"two images of the data set would be written to {path}; rename one of them.")
            save_png(image, self.folder, f"{key_of(name)}.png")

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            print(f"completed images: {self.folder}")
