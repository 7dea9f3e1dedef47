"""What ``lit-inpaint predict`` leaves: one PNG an image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from experiments.evaluate import key_of, save_png


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
            path = self.folder / f"{key_of(name)}.png"
            if path.exists():
                raise ValueError(f"two images of the data set would be written to {path}; rename one of them.")
            save_png(image, path)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            print(f"completed images: {self.folder}")
