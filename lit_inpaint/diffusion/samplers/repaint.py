"""RePaint (Lugmayr et al. 2022), plain replacement as its special case, and RePaint on DDIM steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from lit_inpaint.diffusion.samplers.base import (
    Denoiser,
    Estimate,
    Noise,
    Sampler,
    jump_times,
    reverse_steps,
)
from lit_inpaint.diffusion.schedules import Diffusion

Step = Callable[[Tensor, int, Estimate, Tensor], Tensor]  # x_t, index, estimate, noise -> x_{t-1}


def repaint(
    denoiser: Denoiser, known: Tensor, mask: Tensor, times: Sequence[int], noise: Noise, step: Step | None = None
) -> Tensor:
    """Algorithm 1 with the jumps of appendix B, as the official code runs it.

    The known part is pasted into x_t before the network sees it, at the level of x_t, with fresh noise each time;
    the paper's "x_{t-1}^known" is the same statement one index later. The very first x_T is left as it is.

    Args:
        times: Indices to walk, see :func:`jump_times`: down is a reverse step, up a forward (undo) step.
        step: The reverse step; ancestral sampling if None.
    """
    step = step or denoiser.ancestral_step
    x = noise(known)
    hole = mask == 1
    for number, (index, following) in enumerate(pairwise(times)):
        if following < index:
            # The order of the draws is that of the official code: step noise first.
            step_noise = noise(x)
            if number > 0:
                x = torch.where(hole, x, denoiser.noised(known, index, noise(x)))
            x = step(x, index, denoiser(x, index), step_noise)
        else:
            x = denoiser.renoise_step(x, following, noise(x))
    return x


@dataclass(frozen=True)
class RePaint(Sampler):
    """Lugmayr et al. 2022. The published setting makes 2410 network calls.

    >>> RePaint().network_calls
    2410

    Args:
        steps: Steps of the respaced process (T).
        jump_length: Steps of one jump back (j).
        resamples: Times that a stretch is walked (r); 1 is plain replacement.
    """

    steps: int = 250
    jump_length: int = 10
    resamples: int = 10

    @property
    def times(self) -> list[int]:
        return jump_times(self.steps, self.jump_length, self.resamples)

    @property
    def network_calls(self) -> int:
        return reverse_steps(self.times)

    def process(self, diffusion: Diffusion) -> Diffusion:
        return diffusion.respaced(self.steps)

    def run(self, denoiser: Denoiser, known: Tensor, mask: Tensor, noise: Noise) -> Tensor:
        return repaint(denoiser, known, mask, self.times, noise)


@dataclass(frozen=True)
class RePaintDDIM(RePaint):
    """RePaint's jumps over DDIM steps: fewer steps for the same reach.

    >>> RePaintDDIM().network_calls
    230

    Args:
        eta: 0 is deterministic between the jumps, 1 as random as DDPM.
    """

    steps: int = 50
    jump_length: int = 5
    resamples: int = 5
    eta: float = 0.0

    def run(self, denoiser: Denoiser, known: Tensor, mask: Tensor, noise: Noise) -> Tensor:
        ddim = partial(denoiser.clipped_ddim_step, eta=self.eta)
        return repaint(denoiser, known, mask, self.times, noise, ddim)
