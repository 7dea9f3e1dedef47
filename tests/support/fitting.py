"""Random images with holes, small GANs, and a fit of a few steps on them."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lit_inpaint.methods import GLCIC, ContextEncoder, DeepFillV1, PartialConv
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch
from tests.support.contract import trainer

SMALL: dict[type[InpaintingModule], dict[str, Any]] = {
    ContextEncoder: {"size": 64, "overlap": 2, "width": 8, "bottleneck": 16},
    GLCIC: {"width": 4, "features": 8, "size": 64, "local_size": 32},
    DeepFillV1: {"width": 4, "discriminator_width": 4, "size": 64, "local_size": 32},
    PartialConv: {"levels": 4, "width": 8, "perceptual_weight": 0, "style_weight": 0},
}


def small(cls: type[InpaintingModule], **arguments: Any) -> Any:
    torch.manual_seed(0)
    return cls(**(SMALL[cls] | arguments))


def random_input(height: int, width: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    """Images in [-1, 1] and masks (1 = hole), one rectangle a sample."""
    image = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mask = torch.zeros(batch, 1, height, width)
    for i in range(batch):
        mask[i, :, height // 4 + i : height // 2 + 3, width // 3 : 3 * width // 4 - i] = 1
    return image, mask


def samples(count: int = 2, size: int = 64) -> list[InpaintingBatch]:
    """Random images; holes of 20 to 23 px near the centre, each elsewhere."""
    images = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(3)) * 2 - 1
    masks = torch.zeros(count, 1, size, size)
    for i in range(count):
        masks[i, :, 20 + i : 42 + i % 2, 19 + i : 41] = 1
    return [InpaintingBatch(image, mask, str(i)) for i, (image, mask) in enumerate(zip(images, masks, strict=True))]


def batch_of(items: list[InpaintingBatch]) -> InpaintingBatch:
    return InpaintingBatch(
        torch.stack([x.image for x in items]), torch.stack([x.mask for x in items]), [x.name for x in items]
    )


def items_of(image: Tensor, mask: Tensor) -> list[InpaintingBatch]:
    return [InpaintingBatch(image[i], mask[i], str(i)) for i in range(len(image))]


def fit(model: InpaintingModule, items: list[InpaintingBatch], steps: int = 1, **arguments: Any) -> L.Trainer:
    """One batch an epoch; ``arguments`` of the Trainer, and ``ckpt_path``."""
    ckpt_path = arguments.pop("ckpt_path", None)
    run = trainer(Path(), max_steps=steps, **arguments)
    run.fit(model, DataLoader(items, len(items)), ckpt_path=ckpt_path)  # type: ignore[arg-type]
    return run
