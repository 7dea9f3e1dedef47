"""Photographs from the loader to the device: images per second, and the fraction of a fit spent waiting for them."""

import os
import time
from pathlib import Path
from typing import Any

import lightning as L

from benchmarks.gpu.support import SMALL, on
from benchmarks.utilisation import now
from datamodules import SamplePhotos
from lit_inpaint.callbacks import Throughput
from lit_inpaint.methods import DeepFillV2
from masks import DeepFillV2Mask


def items(part: str, device: str) -> list[str]:
    workers = [0, 2] if device == "cpu" else sorted({0, 2, 8, min(os.cpu_count() or 1, 16)})
    return [f"loader alone, {n} workers" for n in workers] + [f"fit of DeepFillV2, {n} workers" for n in workers]


class AfterTheFirst(Throughput):
    """Forgets the first batches, in which kernels are chosen and workers start."""

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 2:
            self._ended = None
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)


def run(item: str, part: str, device: str) -> dict[str, Any]:
    workers = int(item.rsplit(", ", 1)[1].split()[0])
    side, batch, count = (256, 16, 64) if device == "cuda" else (64, 2, 4)
    data = SamplePhotos(
        DeepFillV2Mask(), image_size=side, batch_size=batch, num_workers=workers, samples_per_epoch=batch * count
    )
    if item.startswith("loader"):
        begun, images = 0.0, 0
        for index, each in enumerate(data.train_dataloader()):
            each.image.to(device, non_blocking=True), each.mask.to(device, non_blocking=True)
            if index == 0:  # the workers have started
                now(device)
                begun = time.perf_counter()
            else:
                images += len(each.image)
        now(device)
        return {"images_a_second": round(images / (time.perf_counter() - begun), 1)}
    trainer = L.Trainer(
        default_root_dir=Path(), max_steps=count, logger=False,
        precision="bf16-mixed" if device == "cuda" else "32-true",
        callbacks=[AfterTheFirst()], enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        limit_val_batches=0, **on(device),
    )  # fmt: skip
    trainer.fit(DeepFillV2(**({} if device == "cuda" else SMALL["DeepFillV2"])), datamodule=data)
    logged = {name: float(trainer.callback_metrics[name]) for name in ("images_per_second", "data_wait")}
    return {"images_a_second": round(logged["images_per_second"], 1), "data_wait": round(logged["data_wait"], 4)}
