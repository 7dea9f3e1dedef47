"""AOT-GAN, small, and its training on one process or two."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader

from lit_inpaint.methods import AOTGAN
from masks.convention import InpaintingBatch
from tests.support.contract import trainer
from tests.support.fitting import items_of, random_input

WITHOUT_VGG: dict[str, Any] = {"style_weight": 0.0, "perceptual_weight": 0.0}
SMALL: dict[str, Any] = {"width": 8, "blocks": 2, "discriminator_width": 4, **WITHOUT_VGG}


def small(**arguments: Any) -> AOTGAN:
    torch.manual_seed(0)
    return AOTGAN(**(SMALL | arguments))


class Shares(L.LightningDataModule):
    """Every rank its share of the items, in one batch."""

    def __init__(self, items: list[InpaintingBatch]) -> None:
        super().__init__()
        self.items = items

    def train_dataloader(self) -> DataLoader:
        share = len(self.items) // self.trainer.world_size
        first = self.trainer.global_rank * share
        return DataLoader(self.items[first : first + share], share)  # type: ignore[arg-type]


def train_on(devices: int, folder: str) -> None:
    """Three steps in float64; the weights into ``folder``."""
    L.seed_everything(0, verbose=False)
    image, mask = (x.double() for x in random_input(64, 64, 4))
    model = small()
    run = trainer(
        Path(folder), devices=devices, max_steps=3, precision="64-true", use_distributed_sampler=False,
        strategy="ddp_find_unused_parameters_true" if devices > 1 else "auto",
    )  # fmt: skip
    run.fit(model, datamodule=Shares(items_of(image, mask)))
    torch.save(model.state_dict(), f"{folder}/{devices}-{run.global_rank}.pt")
