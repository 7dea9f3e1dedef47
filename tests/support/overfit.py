"""One photograph, a hole in it, and whether a method trained on it alone fills the hole better than Telea."""

import math
import time
from typing import Any

import cv2
import lightning as L
import numpy as np
import skimage.data
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch

SIZE = 64


def photograph(name: str) -> Tensor:
    """The largest centre square of one of skimage's photographs, (3, 64, 64)."""
    pixels = getattr(skimage.data, name)()
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    pixels = cv2.resize(pixels[top : top + side, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1


def views(image: Tensor, mask: Tensor, count: int) -> list[InpaintingBatch]:
    """The photograph as it is, and shifted by up to 3 px or mirrored: batch norm needs samples that differ."""
    items = []
    for k in range(count):
        shifted = torch.roll(image, ((3 * k) % 7 - 3, (5 * k) % 7 - 3) if k else (0, 0), (1, 2))
        items.append(InpaintingBatch(shifted.flip(2) if k % 2 else shifted, mask, str(k)))
    return items


def square(side: int) -> Tensor:
    mask = torch.zeros(1, SIZE, SIZE)
    first = (SIZE - side) // 2
    mask[:, first : first + side, first : first + side] = 1
    return mask


def psnr_hole(prediction: Tensor, target: Tensor, mask: Tensor) -> float:
    error = ((prediction - target) / 2).square() * mask
    return -10 * math.log10(error.sum().item() / (3 * mask.sum().item()))


def telea(image: Tensor, mask: Tensor) -> Tensor:
    pixels = ((image.permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
    filled = cv2.inpaint(pixels, mask[0].numpy().astype(np.uint8), 3, cv2.INPAINT_TELEA)
    return torch.from_numpy(filled).permute(2, 0, 1) / 127.5 - 1


class StopAbove(L.Callback):
    """Ends the run once the method, in evaluation mode, fills the hole better than ``target`` dB, or after ``seconds``
    of CPU time (the clock on the wall would measure what else the machine does)."""

    def __init__(self, image: Tensor, mask: Tensor, target: float, seconds: float) -> None:
        self.image, self.mask, self.target, self.best = image, mask, target, -math.inf
        self.end = time.process_time() + seconds

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        if trainer.global_step % 10 == 0:
            pl_module.eval()
            with torch.no_grad():
                filled = pl_module(self.image[None], self.mask[None])[0]
            pl_module.train()
            self.best = max(self.best, psnr_hole(filled, self.image, self.mask))
            trainer.should_stop = self.best > self.target or time.process_time() > self.end


def assert_learns(model: InpaintingModule, mask: Tensor, batch: int, name: str = "coffee", seconds: int = 60) -> None:
    image = photograph(name)
    target = psnr_hole(telea(image, mask), image, mask)
    start = time.process_time()
    stop = StopAbove(image, mask, target, seconds)
    samples = views(image, mask, batch) * 2000
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_steps=2000,
        callbacks=[stop],
    )
    trainer.fit(model, DataLoader(samples, batch))  # type: ignore[arg-type]
    spent = f"{trainer.global_step} steps, {time.process_time() - start:.0f} s"
    print(f"Telea {target:.2f} dB, {type(model).__name__} {stop.best:.2f} dB after {spent}")
    assert stop.best > target
