"""openai/guided-diffusion: ``training_losses`` as TrainLoop calls it (guided_diffusion/train_util.py 196-236)."""

import importlib
import itertools
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.optim import AdamW

from benchmarks.parity import randomise
from benchmarks.published import checkout
from benchmarks.training.steps import Pair, State, images, square
from lit_inpaint.methods import DDPM
from masks.convention import InpaintingBatch

STEPS = 25  # of the process, so that a short history covers every timestep


def guided_diffusion(public: Path, sampler: str = "uniform") -> Pair:
    """L_hybrid with a learned sigma; both sides get the program's timesteps, weights and noise."""
    checkout(public, "openai/guided-diffusion", "guided_diffusion/train_util.py")
    script = importlib.import_module("guided_diffusion.script_util")
    resample = importlib.import_module("guided_diffusion.resample")
    arguments = script.model_and_diffusion_defaults() | {
        "image_size": 32, "num_channels": 32, "num_res_blocks": 1, "num_head_channels": 16, "channel_mult": "1,2",
        "attention_resolutions": "16", "learn_sigma": True, "resblock_updown": True, "use_scale_shift_norm": True,
        "diffusion_steps": STEPS,
    }  # fmt: skip
    model, diffusion = script.create_model_and_diffusion(**arguments)
    model.dtype = torch.float64
    randomise(model, 1, 2)
    vars(np).setdefault("int", int)  # of NumPy 1.20
    schedule = resample.create_named_schedule_sampler(sampler, diffusion)
    image, drawn, noises = images(32, 4), [], []
    if sampler != "uniform":
        history = np.random.default_rng(0).uniform(0.1, 2, (STEPS, 10))
        schedule._loss_history[:], schedule._loss_counts[:] = history, 10
    np.random.seed(0)  # noqa: NPY002 (it draws the program's timesteps)
    optimizer = AdamW(model.parameters(), 1e-4, weight_decay=0)

    def step() -> dict[str, Any]:
        t, weights = schedule.sample(len(image), "cpu")
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(len(drawn)))
        drawn.append((t, weights)), noises.append(noise)
        optimizer.zero_grad()
        with mock.patch("torch.randn_like", lambda x: noise):
            losses = diffusion.training_losses(model, image, t)
        if sampler != "uniform":
            schedule.update_with_all_losses(t.tolist(), losses["loss"].tolist())
        (losses["loss"] * weights).mean().backward()
        optimizer.step()
        return {"loss": (losses["loss"] * weights).mean(), "simple": losses["mse"].mean(), "vlb": losses["vb"].mean()}

    ours = DDPM(
        32, 32, 1, channel_mult=(1, 2), attention_resolutions=(16,), num_head_channels=16, diffusion_steps=STEPS,
        timestep_sampling=sampler,
    )  # fmt: skip
    if sampler != "uniform":
        ours.timesteps.history.copy_(torch.from_numpy(history)), ours.timesteps.counts.fill_(10)
    _replay(ours, drawn, noises)

    def convert(states: dict[str, State]) -> State:
        return {f"denoiser.{name}": value for name, value in states["denoiser"].items()}

    batch = InpaintingBatch(image, square(32, 8, 24, 4), [""] * 4)
    return Pair(ours, batch, {"denoiser": model}, convert, step)


def _replay(ours: DDPM, drawn: list[tuple[Tensor, Tensor]], noises: list[Tensor]) -> None:
    """The program's draws in ours; the weights of the losses stay our own."""
    step, draws = ours.training_step, itertools.count()

    def training_step(batch: InpaintingBatch, batch_idx: int) -> None:
        t = drawn[number := next(draws)][0]
        with (
            mock.patch("torch.randn_like", lambda x: noises[number]),
            mock.patch("torch.multinomial", lambda p, *a, **k: t),
            mock.patch("torch.randint", lambda *a, **k: t),
        ):
            step(batch, batch_idx)

    ours.training_step = training_step  # type: ignore[method-assign]


def guided_diffusion_importance(public: Path) -> Pair:
    """The same with LossSecondMomentResampler, warmed up; the weights 1 / (T p_t) are each side's own."""
    return guided_diffusion(public, "loss-second-moment")
