"""DPS (Chung et al. 2023, "Diffusion Posterior Sampling for General Noisy Inverse Problems")."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lit_inpaint.diffusion.samplers.base import Denoiser, Estimate, Noise, Sampler
from lit_inpaint.diffusion.schedules import Diffusion


def guided(denoiser: Denoiser, x: Tensor, index: int, known: Tensor, hole: Tensor) -> tuple[Estimate, Tensor]:
    """The estimate at x_t, and the gradient with respect to x_t of the 2-norm (not squared) of each image's misfit."""
    x = x.detach().requires_grad_()
    estimate = denoiser(x, index)
    misfit = torch.where(hole, 0, known - estimate.x_0)
    norm = torch.linalg.vector_norm(misfit, dim=(1, 2, 3)).sum()
    (gradient,) = torch.autograd.grad(norm, x)
    denoiser.count(1)
    return Estimate(*(part.detach() for part in estimate)), gradient


def dps(denoiser: Denoiser, known: Tensor, mask: Tensor, scale: float, noise: Noise) -> Tensor:
    """Algorithm 1: an ancestral step, then a step of ``scale`` down the gradient of the misfit of x_0."""
    hole = mask == 1
    x = noise(known)
    for index in range(len(denoiser.diffusion) - 1, -1, -1):
        estimate, gradient = guided(denoiser, x, index, known, hole)
        x = denoiser.ancestral_step(x, index, estimate, noise(x)) - scale * gradient
    return x


@dataclass(frozen=True)
class DPS(Sampler):
    """Chung et al. 2023. Every step differentiates the network, which doubles calls and memory.

    >>> DPS().network_calls
    2000

    Args:
        scale: zeta; 0.5 in the official configuration for inpainting.
    """

    gradients: ClassVar[bool] = True
    steps: int = 1000
    scale: float = 0.5

    @property
    def network_calls(self) -> int:
        return 2 * self.steps

    def process(self, diffusion: Diffusion) -> Diffusion:
        return diffusion.respaced(self.steps)

    def run(self, denoiser: Denoiser, known: Tensor, mask: Tensor, noise: Noise) -> Tensor:
        return dps(denoiser, known, mask, self.scale, noise)
