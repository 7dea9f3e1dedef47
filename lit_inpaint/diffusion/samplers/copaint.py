"""CoPaint (Zhang et al. 2023, "Towards Coherent Image Inpainting Using Denoising Diffusion Implicit Models")."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from lit_inpaint.diffusion.samplers.base import Denoiser, Estimate, Noise, Sampler, jump_times, reverse_steps
from lit_inpaint.diffusion.schedules import Diffusion

BACKTRACKS = 40  # 0.8^40 = 1e-4 of the learning rate; the official loop has no end


def optimise_x_t(
    denoiser: Denoiser,
    x_t: Tensor,
    index: int,
    known: Tensor,
    hole: Tensor,
    gradient_steps: int,
    learning_rate: float,
    regularisation: float,
) -> tuple[Tensor, Estimate]:
    """Minimise ||known - x_0(x)||^2 + regularisation ||x - x_t||^2 over x, each image with a line search of its own.

    A step that does not lower the loss is taken back and tried with 0.8 of the rate. Where all images accept, the
    trial's forward pass serves as the next one (the official code computes it again).
    """

    def losses(x: Tensor) -> tuple[Tensor, Estimate]:
        estimate = denoiser(x, index)
        misfit = torch.where(hole, 0, known - estimate.x_0).square().sum((1, 2, 3))
        return misfit + regularisation * (x - x_t).square().sum((1, 2, 3)), estimate

    x = x_t.detach().requires_grad_()
    loss, estimate = losses(x)
    rate = torch.full((len(x), 1, 1, 1), learning_rate, dtype=x.dtype, device=x.device)
    for _ in range(gradient_steps):
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        denoiser.count(1)
        trial = (x - rate * gradient).detach().requires_grad_()
        trial_loss, trial_estimate = losses(trial)
        for _ in range(BACKTRACKS):
            worse = ~(trial_loss <= loss.detach()).reshape(-1, 1, 1, 1)  # NaN counts as worse
            if not bool(worse.any()):
                break
            rate = torch.where(worse, 0.8 * rate, rate)
            trial = (x - rate * gradient).detach().requires_grad_()
            trial_loss, trial_estimate = losses(trial)
        x, loss, estimate = trial, trial_loss, trial_estimate
    return x.detach(), Estimate(*(part.detach() for part in estimate))


def copaint(
    denoiser: Denoiser,
    known: Tensor,
    mask: Tensor,
    times: Sequence[int],
    noise: Noise,
    gradient_steps: int,
    learning_rate: float,
    learning_rate_growth: float,
    regularisation: float,
    regularisation_growth: float,
) -> Tensor:
    """Algorithm 1 (with time travel algorithm 2): optimise x_t, then a deterministic DDIM step.

    As in the official code the walk ends at index 0, whose noise (variance 1e-4) is left in, and a climb begins with an
    x_t that is optimised first (``optimize_before_time_travel`` of its four configurations of this sampler).
    """
    hole = mask == 1
    x, climbed = noise(known), False
    for index, following in pairwise(times):
        climbs = following > index
        if not (climbs and climbed):
            # The "smart" decay of the official code: the gradient of x_0 grows as 1 / sqrt(abar).
            signal = torch.sqrt(denoiser.abar(index, x) / denoiser.abar(0, x)).item()
            rate = learning_rate * signal
            x, estimate = optimise_x_t(denoiser, x, index, known, hole, gradient_steps, rate, regularisation)
        if climbs:
            x = denoiser.renoise_step(x, following, noise(x))
            learning_rate, regularisation = learning_rate / learning_rate_growth, regularisation / regularisation_growth
        else:
            x = denoiser.ddim_step(x, index, estimate.x_0, estimate.epsilon, 0.0, x)
            learning_rate, regularisation = learning_rate * learning_rate_growth, regularisation * regularisation_growth
        climbed = climbs
    return x.clamp(-1, 1) if denoiser.clip else x


@dataclass(frozen=True)
class CoPaint(Sampler):
    """Zhang et al. 2023; defaults are the official ones for CelebA-HQ. CoPaint-TT: ``jump_length=10, resamples=2``.
    CoPaint-Fast: ``steps=100, gradient_steps=1, learning_rate_growth=1.03`` (the program takes 100 of 250 respaced
    steps, of which the first is 248; here 100 of the 1000, from the last one on).

    >>> CoPaint().network_calls
    1245

    Args:
        gradient_steps: G, at each index.
        learning_rate: Rate at the first index; grows by ``learning_rate_growth`` per index.
        regularisation: Weight of staying near the x_t of the last step, likewise (0.01, growth 1 for ImageNet).
    """

    gradients: ClassVar[bool] = True
    steps: int = 250
    gradient_steps: int = 2
    learning_rate: float = 0.02
    learning_rate_growth: float = 1.012
    regularisation: float = 1e-4
    regularisation_growth: float = 1.01
    jump_length: int = 10
    resamples: int = 1

    @property
    def times(self) -> list[int]:
        return jump_times(self.steps, self.jump_length, self.resamples)[:-1]

    @property
    def network_calls(self) -> int:
        """Without backtracking: 1 + G forward and G backward passes per step down, and before each climb."""
        times = self.times
        climbs = sum(before > at < after for before, at, after in zip(times, times[1:], times[2:], strict=False))
        return (reverse_steps(times) + climbs) * (1 + 2 * self.gradient_steps)

    def process(self, diffusion: Diffusion) -> Diffusion:
        return diffusion.respaced(self.steps)

    def run(self, denoiser: Denoiser, known: Tensor, mask: Tensor, noise: Noise) -> Tensor:
        return copaint(
            denoiser,
            known,
            mask,
            self.times,
            noise,
            self.gradient_steps,
            self.learning_rate,
            self.learning_rate_growth,
            self.regularisation,
            self.regularisation_growth,
        )
