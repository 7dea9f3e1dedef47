"""Images seen, speed, and time spent waiting for data."""

import time

import lightning as L

from masks.convention import InpaintingBatch


class Throughput(L.Callback):
    """Log ``images_seen`` (over all devices, since the very first start), ``images_per_second`` and ``data_wait``.

    ``images_seen`` is the x-axis on which methods are compared: iterations of different batch sizes are not alike.
    ``data_wait`` is the share of wall time spent between batches, validation and checkpoints left out.

    >>> Throughput().state_dict()
    {'images_seen': 0}
    """

    def __init__(self) -> None:
        self.images_seen = 0
        self._start = self._waited = 0.0
        self._ended: float | None = None
        self._images = 0

    def state_dict(self) -> dict[str, int]:
        return {"images_seen": self.images_seen}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.images_seen = state_dict["images_seen"]

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        if self._ended is None:  # first batch, or the first after validation: start a new window
            self._start, self._waited, self._images = now, 0.0, 0
        else:
            self._waited += now - self._ended

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: InpaintingBatch, batch_idx: int
    ) -> None:
        self._ended = time.perf_counter()
        seen = len(batch.image) * trainer.world_size
        self.images_seen += seen
        self._images += seen
        elapsed = max(self._ended - self._start, 1e-9)
        pl_module.log_dict(
            {
                "images_seen": float(self.images_seen),
                "images_per_second": self._images / elapsed,
                "data_wait": self._waited / elapsed,
            },
            batch_size=len(batch.image),
        )

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._ended = None

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        self._ended = None

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == "fit":
            pl_module.log("images_seen", float(self.images_seen), batch_size=1)
