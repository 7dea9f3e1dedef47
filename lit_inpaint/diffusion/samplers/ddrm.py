"""DDRM (Kawar et al. 2022, "Denoising Diffusion Restoration Models") for a mask without measurement noise."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_inpaint.diffusion.samplers.base import Denoiser, Noise, Sampler
from lit_inpaint.diffusion.schedules import Diffusion


def ddrm(denoiser: Denoiser, known: Tensor, mask: Tensor, eta: float, eta_b: float, noise: Noise) -> Tensor:
    """Equations 7 and 8 where every singular value is 1 (known) or 0 (hole) and sigma_y = 0.

    Written, as in the paper, for x / sqrt(abar) with noise of size sigma = sqrt(1 / abar - 1).
    """
    hole = mask == 1
    top = len(denoiser.diffusion) - 1
    sigma = torch.sqrt(1 / denoiser.abar(top, known) - 1)
    x = noise(known)
    x = torch.where(hole, x, known / sigma + x)
    for index in range(top, -1, -1):
        x_0, epsilon, _ = denoiser(x, index)
        below = denoiser.abar(index - 1, x)
        sigma = torch.sqrt(1 / below - 1)
        if index == 0:
            return x_0
        missing = x_0 + sigma * (math.sqrt(1 - eta**2) * epsilon + eta * noise(x))
        given = eta_b * known + (1 - eta_b) * x_0 + sigma * noise(x)
        x = torch.sqrt(below) * torch.where(hole, missing, given)
    return x


@dataclass(frozen=True)
class DDRM(Sampler):
    """Kawar et al. 2022, with the published eta and eta_b.

    >>> DDRM().network_calls
    20

    Args:
        eta: Share of fresh noise in the hole.
        eta_b: Weight of the known image against the network's estimate of it.
    """

    steps: int = 20
    eta: float = 0.85
    eta_b: float = 1.0

    @property
    def network_calls(self) -> int:
        return self.steps

    def process(self, diffusion: Diffusion) -> Diffusion:
        return diffusion.respaced(self.steps, "stride")

    def run(self, denoiser: Denoiser, known: Tensor, mask: Tensor, noise: Noise) -> Tensor:
        return ddrm(denoiser, known, mask, self.eta, self.eta_b, noise)
