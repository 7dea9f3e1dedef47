"""MCG (Chung et al. 2022, "Improving Diffusion Models for Inverse Problems using Manifold Constraints")."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lit_inpaint.diffusion.samplers.base import Denoiser, Noise
from lit_inpaint.diffusion.samplers.dps import DPS, guided


def mcg(denoiser: Denoiser, known: Tensor, mask: Tensor, scale: float, noise: Noise) -> Tensor:
    """Equations 14 and 15: DPS's gradient step, then the known part pasted at the level of x_{t-1}.

    The official code pastes it with the noise of x_t, one step too noisy; here it has the level that it is pasted into.
    """
    hole = mask == 1
    x = noise(known)
    for index in range(len(denoiser.diffusion) - 1, -1, -1):
        estimate, gradient = guided(denoiser, x, index, known, hole)
        x = denoiser.ancestral_step(x, index, estimate, noise(x)) - scale * gradient
        x = torch.where(hole, x, denoiser.noised(known, index - 1, noise(x)))
    return x


@dataclass(frozen=True)
class MCG(DPS):
    """Chung et al. 2022.

    >>> MCG().network_calls
    2000

    Args:
        scale: alpha; 1.0 in the official code.
    """

    scale: float = 1.0

    def run(self, denoiser: Denoiser, known: Tensor, mask: Tensor, noise: Noise) -> Tensor:
        return mcg(denoiser, known, mask, self.scale, noise)
