"""Janspiry/Palette-Image-to-Image-Diffusion-Models: ``train_step``, ``restoration`` (models/model.py, network.py)."""

import contextlib
import importlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.optim import Adam

from benchmarks.parity import randomise
from benchmarks.programs import janspiry_network
from benchmarks.training.steps import Pair, State, images, unequal
from lit_inpaint.methods import Palette
from lit_inpaint.methods.palette.weights import convert
from masks.convention import InpaintingBatch

SMALL: dict[str, Any] = {"inner_channel": 32, "channel_mults": [1, 2], "attn_res": [2], "res_blocks": 1, "dropout": 0}


def _pair(public: Path, size: int) -> tuple[nn.Module, Palette]:
    """Both networks: narrow, attending at half of the side, without dropout."""
    network = janspiry_network(public, **SMALL, image_size=size)
    randomise(network, 1, 2)
    ours = Palette(size, 32, 1, channel_mult=(1, 2), attention_resolutions=(size // 2,), dropout=0)
    return network, ours


@contextlib.contextmanager
def in_float64() -> Iterator[None]:
    """The program casts its input to float32 by ``type``."""
    with mock.patch.object(Tensor, "type", lambda self, kind: self.to(torch.float64)):
        yield


def _renamed(state: State) -> State:
    return dict(convert(state, "janspiry")["state_dict"])


def janspiry(public: Path) -> Pair:
    """A loss in holes of unequal area; both sides get the program's levels and noise."""
    network, ours = _pair(public, 32)
    mse = importlib.import_module("models.loss").mse_loss
    network.set_loss(mse)  # type: ignore[operator]
    image, mask, drawn = images(32), unequal(32), []
    optimizer = Adam(network.parameters(), lr=5e-5, weight_decay=0)

    def step() -> dict[str, Any]:
        rng = torch.Generator().manual_seed(len(drawn))
        first, noise = (torch.randn(image.shape, generator=rng) for _ in range(2))
        t, share = torch.randint(1, 2000, (2,), generator=rng), torch.rand(2, 1, generator=rng)
        drawn.append((first, noise, t, share))
        optimizer.zero_grad()
        with (
            in_float64(),
            mock.patch("torch.randint", lambda *a, **k: t),
            mock.patch("torch.rand", lambda *a, **k: share),
            mock.patch("torch.randn_like", lambda x: noise),
        ):
            loss = network(image, image * (1 - mask) + mask * first, mask=mask)
            loss.backward()
        optimizer.step()
        return {"loss": loss}

    train, draws = ours.training_step, itertools.count()

    def training_step(batch: InpaintingBatch, batch_idx: int) -> None:
        first, noise, t, share = drawn[next(draws)]
        normal = iter((first, noise))
        with (
            mock.patch("torch.randint", lambda *a, **k: t - 1),
            mock.patch("torch.rand", lambda *a, **k: share[:, 0]),
            mock.patch("torch.randn_like", lambda x: next(normal)),
        ):
            train(batch, batch_idx)

    ours.training_step = training_step  # type: ignore[method-assign]
    networks = {"denoiser": network}
    return Pair(
        ours, InpaintingBatch(image, mask, [""] * 2), networks, lambda states: _renamed(states["denoiser"]), step
    )


def janspiry_restoration(public: Path) -> tuple[Tensor, Tensor]:
    """All 1000 steps of its ``restoration`` from the same noise, at 16 px."""
    network, ours = _pair(public, 16)
    ours.load_state_dict(_renamed(network.state_dict()), strict=False)
    network.set_new_noise_schedule(torch.device("cpu"), "test")  # type: ignore[operator]
    network.eval(), ours.eval()
    image, mask = images(16), unequal(16)
    rng = torch.Generator().manual_seed(5)
    noises = [torch.randn(image.shape, generator=rng) for _ in range(1001)]
    first, *rest = noises
    condition = image * (1 - mask) + mask * first
    steps = iter(rest)
    with in_float64(), mock.patch("torch.randn_like", lambda x: next(steps)):
        published, _ = network.restoration(condition, y_t=condition, y_0=image, mask=mask)  # type: ignore[operator]
    steps = iter(noises)
    with torch.no_grad(), mock.patch("torch.randn_like", lambda x: next(steps)):
        own = ours.predict(image, mask)
    return published.clamp(-1, 1), own
