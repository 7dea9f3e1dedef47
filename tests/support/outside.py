"""A lab's method, plain network, data set, mask law and metric, in files of its own."""

from pathlib import Path

METHOD = '''
import torch
from torch import nn
from lit_inpaint import InpaintingModule


class MyNet(InpaintingModule):
    """Own method."""

    year, paper = 2026, "A lab, its paper, 2026"

    def __init__(self, width: int = 8, learning_rate: float = 1e-3, **optimisation):
        super().__init__(**optimisation)
        self.save_hyperparameters()
        layers = nn.Conv2d(4, width, 5, padding=2), nn.ELU(), nn.Conv2d(width, 3, 5, padding=2), nn.Tanh()
        self.generator, self.learning_rate = nn.Sequential(*layers), learning_rate

    def fill(self, erased, mask, *, generators=None):
        return self.generator(torch.cat([erased, mask], 1))

    def configure_optimizers(self):
        return [torch.optim.Adam(self.generator.parameters(), self.learning_rate)]

    def training_step(self, batch, batch_idx):
        loss = (self.predict(batch.image, batch.mask) - batch.image).abs().mean()
        with self.optimise(self.optimizers()) as minimise:
            minimise(loss)
        self.log("train/loss", loss)


class Grey(nn.Module):
    """Not a method: forward alone."""

    def forward(self, image, mask):
        assert float((image * mask).abs().max()) == 0, "the hole was not erased"
        return torch.full_like(image, 0.5)


class Small(nn.Module):
    def forward(self, image, mask):
        return image[..., ::2, ::2]
'''
DATA = '''
from datamodules import SamplePhotos


class TwoPhotos(SamplePhotos):
    """Own data set."""

    def files(self, split):
        return super().files("test")
'''
MASKS = '''
from dataclasses import dataclass

import numpy as np
from masks.generator import MaskGenerator


@dataclass(frozen=True)
class Stripe(MaskGenerator):
    """Own mask law."""

    width: int = 8

    def __call__(self, height, width, rng):
        mask = np.zeros((height, width), np.uint8)
        mask[:, : self.width] = 1
        return mask
'''
METRIC = """
from lit_inpaint.metrics import defined


@defined("1: largest error", title="Largest error", higher_is_better=False)
def largest(prediction, target, mask=None):
    return (prediction - target).abs().flatten(1).amax(1)
"""
FILES = {"methods": METHOD, "data": DATA, "laws": MASKS, "scores": METRIC}


def write_package(folder: Path, name: str) -> Path:
    """``name.methods.MyNet`` and Grey, ``name.data.TwoPhotos``, ``name.laws.Stripe``, ``name.scores.largest``."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for module, text in FILES.items():
        (package / f"{module}.py").write_text(text)
    return package
