"""A small residual network; put your paper in its place."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lit_inpaint import InpaintingModule
from masks.convention import InpaintingBatch


class Residual(InpaintingModule):
    """Dilated convolutions that add to what is known (you, 2026)."""

    year = 2026
    paper = "You, Your Paper, Your Venue 2026"

    def __init__(self, width: int = 16, learning_rate: float = 1e-3, **optimisation: Any) -> None:
        super().__init__(**optimisation)
        self.save_hyperparameters()
        self.learning_rate = learning_rate
        dilated = [nn.Conv2d(width, width, 3, padding=rate, dilation=rate) for rate in (1, 2, 4, 8)]
        layers = [layer for convolution in dilated for layer in (convolution, nn.ELU())]
        self.generator = nn.Sequential(nn.Conv2d(4, width, 3, padding=1), *layers, nn.Conv2d(width, 3, 1), nn.Tanh())

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        return self.generator(torch.cat([erased, mask], dim=1))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.generator.parameters(), self.learning_rate)

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        l1_loss = (self.predict(batch.image, batch.mask) - batch.image).abs().mean()
        with self.optimise(self.optimizers()) as minimise:
            minimise(l1_loss)
        self.log("train/loss", l1_loss)
