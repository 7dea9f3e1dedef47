"""DDNM (Wang et al. 2023, "Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model"), time travel."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from lit_inpaint.diffusion.samplers.base import Denoiser, Noise, Sampler, jump_times, reverse_steps
from lit_inpaint.diffusion.schedules import Diffusion


def ddnm(denoiser: Denoiser, known: Tensor, mask: Tensor, times: Sequence[int], eta: float, noise: Noise) -> Tensor:
    """Algorithm 2 for a mask: the range-space part of x_0 is the known image, the null-space part the network's.

    A travel back re-noises the last x_0 estimate, before its projection, directly to the level of each climb (the
    official code; algorithm 2 prints the same as q(x_{t+l} | x_0t)).
    """
    x = noise(known)
    hole = mask == 1
    x_0 = x
    for index, following in pairwise(times):
        if following < index:
            x_0, epsilon, _ = denoiser(x, index)
            projected = torch.where(hole, x_0, known)
            below = denoiser.abar(following, x)
            x = torch.sqrt(below) * projected
            if following >= 0:
                x = x + torch.sqrt(1 - below) * (eta * noise(x) + math.sqrt(1 - eta**2) * epsilon)
        else:
            x = denoiser.noised(x_0, following, noise(x))
    return x


@dataclass(frozen=True)
class DDNM(Sampler):
    """Wang et al. 2023. Time travel is off by default, as in the official configuration for 100 steps.

    Unlike the official code for a mask, and like its high-resolution demo, x_0 is clamped (``clip``).

    >>> DDNM().network_calls
    100

    Args:
        travel_length: Steps of one travel back (l).
        travel_repeat: Times that a stretch is walked (r); 1 is no travel.
        eta: Share of fresh noise.
    """

    steps: int = 100
    travel_length: int = 1
    travel_repeat: int = 1
    eta: float = 0.85

    @property
    def times(self) -> list[int]:
        return jump_times(self.steps, self.travel_length, self.travel_repeat)

    @property
    def network_calls(self) -> int:
        return reverse_steps(self.times)

    def process(self, diffusion: Diffusion) -> Diffusion:
        return diffusion.respaced(self.steps, "stride")

    def run(self, denoiser: Denoiser, known: Tensor, mask: Tensor, noise: Noise) -> Tensor:
        return ddnm(denoiser, known, mask, self.times, self.eta, noise)
