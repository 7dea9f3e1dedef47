"""DSI's stages, small, and their training on one process or two."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lit_inpaint.methods.dsi import DSIVQVAE, DSIStructure, DSITexture
from lit_inpaint.stage import Stage
from tests.support.contract import STAGES, batches, trainer


def stage(cls: type[Stage], **options: Any) -> Any:
    """A small one; the later two with the codes of a VQ-VAE that was trained for two batches."""
    torch.manual_seed(0)
    made = cls(**(dict(STAGES)[cls.__name__] | options))
    if cls is not DSIVQVAE:
        made.vqvae.load_state_dict(trained_vqvae())
    return made


@cache
def trained_vqvae() -> dict[str, Tensor]:
    first = stage(DSIVQVAE)
    with tempfile.TemporaryDirectory() as folder:
        trainer(Path(folder), max_steps=2).fit(first, batches(2))
    return first.vqvae.state_dict()


class Shares(L.LightningDataModule):
    """Every rank its share of four images, three times."""

    def train_dataloader(self) -> DataLoader:
        items = [item._replace(image=item.image.double(), mask=item.mask.double()) for item in batches(2, 2).dataset]
        share = len(items) // self.trainer.world_size
        first = self.trainer.global_rank * share
        return DataLoader(items[first : first + share] * 3, batch_size=share)


def train_on(devices: int, folder: str) -> None:
    """Three steps of every stage in float64; the weights into ``folder``."""
    trained_vqvae()  # before there is a process group, whose codes it would share
    for cls in (DSIVQVAE, DSIStructure, DSITexture):
        L.seed_everything(0, verbose=False)
        model = stage(cls, **({"dropout": 0.0} if cls is DSIStructure else {}))
        run = trainer(
            Path(folder), devices=devices, max_steps=3, precision="64-true", use_distributed_sampler=False,
            strategy="ddp_find_unused_parameters_true" if devices > 1 else "auto",
        )  # fmt: skip
        run.fit(model, datamodule=Shares())
        torch.save(model.state_dict(), f"{folder}/{cls.__name__}-{devices}-{run.global_rank}.pt")
