"""Palette's iterative refinement (Saharia et al. 2022), and the same walk in DDIM's steps (Song et al. 2021)."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lit_inpaint.diffusion.samplers.base import Denoiser, Noise, Sampler
from lit_inpaint.diffusion.samplers.repaint import Step
from lit_inpaint.diffusion.schedules import Diffusion, Rule


def refine(denoiser: Denoiser, known: Tensor, mask: Tensor, noise: Noise, step: Step | None = None) -> Tensor:
    """Algorithm 2 for a hole: ancestral steps (or ``step``), after each of which the clean known pixels are put back.

    Args:
        known: The known part, and in the hole the noise from which the walk starts.
    """
    step = step or denoiser.ancestral_step
    hole, x = mask == 1, known
    for index in range(len(denoiser.diffusion) - 1, -1, -1):
        x = torch.where(hole, step(x, index, denoiser(x, index), noise(x)), known)
    return x


@dataclass(frozen=True)
class Refinement(Sampler):
    """Saharia et al. 2022, "Palette: Image-to-Image Diffusion Models", algorithm 2.

    The denoiser is told the known part, which stays clean in x_t; ``known`` holds the first noise in its hole.

    >>> Refinement().network_calls
    1000

    Args:
        steps: Steps of the respaced process of inference.
    """

    steps: int = 1000

    @property
    def network_calls(self) -> int:
        return self.steps

    def process(self, diffusion: Diffusion) -> Diffusion:
        return diffusion.respaced(self.steps)

    def run(self, denoiser: Denoiser, known: Tensor, mask: Tensor, noise: Noise) -> Tensor:
        return refine(denoiser, known, mask, noise)


@dataclass(frozen=True)
class DDIM(Refinement):
    """Refinement in DDIM's steps: fewer of them for the same reach.

    >>> DDIM().network_calls
    50

    Args:
        eta: 0 is deterministic after the first noise, 1 as random as DDPM.
        rule: Which steps of the process are taken; "leading" are those of latent diffusion and of diffusers.
    """

    steps: int = 50
    eta: float = 0.0
    rule: Rule = "even"

    def process(self, diffusion: Diffusion) -> Diffusion:
        return diffusion.respaced(self.steps, self.rule)

    def run(self, denoiser: Denoiser, known: Tensor, mask: Tensor, noise: Noise) -> Tensor:
        return refine(denoiser, known, mask, noise, partial(denoiser.clipped_ddim_step, eta=self.eta))
