"""Janspiry/Palette-Image-to-Image-Diffusion-Models: models/model.py and network.py."""

import copy
import importlib
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.optim import Adam

from benchmarks.programs import janspiry_network
from benchmarks.published import checkout
from benchmarks.published_training.programs import SIZE, Training, settings
from datamodules import InpaintingDataModule
from masks.convention import InpaintingBatch


def janspiry(public: Path, data: InpaintingDataModule) -> Training:
    """At the sizes, rates and schedules of palette/drawn_faces64, with its own initialisation and sampler.

    Groups have as many channels as at its own width, 64.
    """
    checkout(public, "Janspiry/Palette-Image-to-Image-Diffusion-Models", "models/guided_diffusion_modules/unet.py")
    ours = settings("palette/drawn_faces64")
    width, sides = ours["model_channels"], ours["attention_resolutions"]
    unet = importlib.import_module("models.guided_diffusion_modules.unet")
    groups = partial(importlib.import_module("models.guided_diffusion_modules.nn").GroupNorm32, width // 2)
    with mock.patch.object(unet, "normalization", groups):
        network: Any = janspiry_network(
            public, inner_channel=width, channel_mults=ours["channel_mult"], attn_res=[SIZE // side for side in sides],
            res_blocks=ours["num_res_blocks"], dropout=ours["dropout"], image_size=SIZE,
        )  # fmt: skip
    lengths = {"train": (2000, ours["training_betas"]), "test": (ours["inference_steps"], ours["inference_betas"])}
    network.beta_schedule = {
        phase: {"schedule": "linear", "n_timestep": length, "linear_start": first, "linear_end": last}
        for phase, (length, (first, last)) in lengths.items()
    }
    network.set_new_noise_schedule(torch.device("cpu"), "train")
    network.init_weights()
    network.set_loss(importlib.import_module("models.loss").mse_loss)
    averaged = copy.deepcopy(network)
    averaged.set_new_noise_schedule(torch.device("cpu"), "test")
    average = importlib.import_module("models.model").EMA(0.998)  # as palette/drawn_faces64
    optimizer = Adam(network.parameters(), ours["learning_rate"])

    def update(batch: InpaintingBatch) -> None:
        optimizer.zero_grad()
        network(batch.image, _with_noise(batch.image, batch.mask), mask=batch.mask).backward()
        optimizer.step()
        average.update_model_average(averaged, network)

    def complete(image: Tensor, mask: Tensor) -> Any:
        seen = _with_noise(image, mask)
        return averaged.restoration(seen, y_t=seen, y_0=image, mask=mask, sample_num=1)[0]

    return Training([(ours["batch_size"], update)], [network, averaged], complete)


def _with_noise(image: Tensor, mask: Tensor) -> Tensor:
    return image * (1 - mask) + mask * torch.randn_like(image)
