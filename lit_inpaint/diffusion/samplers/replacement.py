"""Plain replacement (Song et al. 2021; "blended"): the known part is replaced at every level, nothing is resampled."""

from dataclasses import dataclass

from torch import Tensor

from lit_inpaint.diffusion.samplers.base import Denoiser, Noise, Sampler
from lit_inpaint.diffusion.samplers.repaint import repaint
from lit_inpaint.diffusion.schedules import Diffusion


def replacement(denoiser: Denoiser, known: Tensor, mask: Tensor, noise: Noise) -> Tensor:
    """RePaint with r = 1. With nothing known this is ancestral sampling of Ho et al. 2020."""
    return repaint(denoiser, known, mask, range(len(denoiser.diffusion) - 1, -2, -1), noise)


@dataclass(frozen=True)
class Replacement(Sampler):
    """Song et al. 2021, "Score-Based Generative Modeling through SDEs", appendix I.2.

    >>> Replacement().network_calls
    250
    """

    steps: int = 250

    @property
    def network_calls(self) -> int:
        return self.steps

    def process(self, diffusion: Diffusion) -> Diffusion:
        return diffusion.respaced(self.steps)

    def run(self, denoiser: Denoiser, known: Tensor, mask: Tensor, noise: Noise) -> Tensor:
        return replacement(denoiser, known, mask, noise)
