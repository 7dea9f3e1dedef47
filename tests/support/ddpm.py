"""DDPM, narrow and short, and its training and sampling on one process or two."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from lit_inpaint.diffusion.samplers import DDNM
from lit_inpaint.methods.ddpm.method import DDPM
from masks.convention import InpaintingBatch
from tests.support.contract import trainer

NARROW: dict[str, Any] = {
    "image_size": 16,
    "model_channels": 32,
    "num_res_blocks": 1,
    "channel_mult": (1, 2),
    "attention_resolutions": (8,),
    "num_head_channels": 32,
}
SHORT: dict[str, Any] = {"diffusion_steps": 2, "noise_schedule": "cosine"}


def random_weights(network: torch.nn.Module, seed: int) -> dict[str, Tensor]:
    """Weights that leave no layer zero and no two alike, the same for every program."""
    generator, state = torch.Generator().manual_seed(seed), network.state_dict()
    for name in sorted(state):
        noise = 0.05 * torch.randn(state[name].shape, generator=generator)
        state[name] = noise + (1.0 if name.endswith("weight") and state[name].ndim == 1 else 0.0)
    return state


class Photos(torch.utils.data.Dataset[InpaintingBatch]):
    """Eight smooth images with a square hole."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> InpaintingBatch:
        wave = torch.sin(torch.arange(16) * (0.2 + 0.05 * index))
        image = torch.stack([wave[:, None] * wave, wave[:, None].expand(16, 16), -wave.expand(16, 16)])
        mask = torch.zeros(1, 16, 16)
        mask[:, 4:10, 4:10] = 1
        return InpaintingBatch(image, mask, f"photo{index}")


class Shares(L.LightningDataModule):
    """Every rank every second photograph."""

    def _share(self, size: int) -> DataLoader[InpaintingBatch]:
        indices = range(self.trainer.global_rank, len(Photos()), self.trainer.world_size)
        return DataLoader(Subset(Photos(), indices), batch_size=size)

    def train_dataloader(self) -> DataLoader[InpaintingBatch]:
        return self._share(2)

    def val_dataloader(self) -> DataLoader[InpaintingBatch]:
        return self._share(2)

    def predict_dataloader(self) -> DataLoader[InpaintingBatch]:
        return self._share(3)


def train_on(devices: int, folder: str) -> None:
    """Two epochs; weights, validation and predictions into ``folder``."""
    L.seed_everything(0, verbose=False)
    settings: dict[str, Any] = {"timestep_sampling": "loss-second-moment", "validation_images": 3}
    method = DDPM(**NARROW, **SHORT, **settings, sampler=DDNM(2), validation_sampler=DDNM(2))
    run = trainer(
        Path(folder), devices=devices, max_epochs=2, use_distributed_sampler=False,
        strategy="ddp_find_unused_parameters_true" if devices > 1 else "auto",
    )  # fmt: skip
    run.fit(method, datamodule=Shares())
    state = {name: value.clone() for name, value in method.state_dict().items()}
    validated = {name: float(value) for name, value in run.callback_metrics.items()}
    method.denoiser.load_state_dict(random_weights(method.denoiser, seed=4))
    predicted = torch.cat(run.predict(method, datamodule=Shares()))  # type: ignore[arg-type]
    torch.save({"state": state, "out": predicted, "val": validated}, f"{folder}/{devices}-{run.global_rank}.pt")
