"""What samplers share: the network seen through a respaced process, noise that is keyed by image, and the contract."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, NamedTuple, get_args, get_origin

import torch
from torch import Tensor

from lit_inpaint.diffusion.schedules import Diffusion, Variance
from masks.nearest import nearest

Network = Callable[[Tensor, Tensor], Tensor]  # x_t (B, 3, H, W), original timesteps (B,) -> (B, 3 or 6, H, W)
Progress = Callable[[int], None]  # called with the number of network calls made since the last time


class Estimate(NamedTuple):
    """What the network says about x_t. Each (B, 3, H, W); ``log_variance`` may be one number."""

    x_0: Tensor
    epsilon: Tensor
    log_variance: Tensor


class Denoiser:
    """The network and the tables of the process that is sampled.

    >>> from lit_inpaint.diffusion.schedules import Diffusion
    >>> Denoiser(lambda x_t, t: x_t, Diffusion.make(steps=100), variance="fixed_large").calls
    0

    Args:
        variance: "learned_range" where the network has 6 outputs; else the fixed beta ("fixed_large") or btilde.
        clip: Clamp the estimate of x_0 to [-1, 1], as all published image samplers do.
    """

    def __init__(
        self,
        network: Network,
        diffusion: Diffusion,
        variance: Variance = "learned_range",
        clip: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self.network, self.diffusion, self.variance, self.clip = network, diffusion, variance, clip
        self.progress = progress
        self.calls = 0

    def count(self, calls: int) -> None:
        """A forward pass is one call, a backward pass another."""
        self.calls += calls
        if self.progress:
            self.progress(calls)

    def at(self, table: Tensor, index: int, like: Tensor) -> Tensor:
        """Entry of a float64 table as a scalar tensor of the type of ``like``."""
        return table[index].to(like.dtype)

    def abar(self, index: int, like: Tensor) -> Tensor:
        """abar at ``index``; 1 at -1, the clean image."""
        return self.at(self.diffusion.abar, index, like) if index >= 0 else torch.ones((), dtype=like.dtype)

    def __call__(self, x_t: Tensor, index: int) -> Estimate:
        """One network call at an index of the respaced process."""
        timesteps = self.diffusion.timesteps
        t = torch.full((len(x_t),), timesteps[index].item(), dtype=timesteps.dtype, device=x_t.device)
        output = self.network(x_t, t).to(x_t.dtype)
        self.count(1)
        channels = x_t.shape[1]
        epsilon, v = output[:, :channels], output[:, channels:]
        diffusion = self.diffusion
        x_0 = self.at(diffusion.recip_sqrt_abar, index, x_t) * x_t
        x_0 = x_0 - self.at(diffusion.recip_sqrt_abar_minus_1, index, x_t) * epsilon
        if self.clip:
            x_0 = x_0.clamp(-1, 1)
        low, high = (self.at(table, index, x_t) for table in (diffusion.log_posterior_variance, diffusion.log_betas))
        if self.variance == "learned_range":
            share = (v + 1) / 2
            log_variance = share * high + (1 - share) * low
        else:
            large = self.at(diffusion.log_betas_large, index, x_t)
            log_variance = large if self.variance == "fixed_large" else low
        return Estimate(x_0, epsilon, log_variance)

    def ancestral_step(self, x_t: Tensor, index: int, estimate: Estimate, noise: Tensor) -> Tensor:
        """x_{t-1} ~ N(posterior mean of the (clipped) x_0, variance of the network); the mean alone at index 0."""
        weight_x_0 = self.at(self.diffusion.posterior_mean_x_0, index, x_t)
        weight_x_t = self.at(self.diffusion.posterior_mean_x_t, index, x_t)
        mean = weight_x_0 * estimate.x_0 + weight_x_t * x_t
        return mean if index == 0 else mean + torch.exp(0.5 * estimate.log_variance) * noise

    def ddim_step(self, x_t: Tensor, index: int, x_0: Tensor, epsilon: Tensor, eta: float, noise: Tensor) -> Tensor:
        """Song et al. 2021 (DDIM), equation 12: from ``index`` to the one below; ``eta`` 1 is as random as DDPM."""
        here, below = self.abar(index, x_t), self.abar(index - 1, x_t)
        sigma = eta * torch.sqrt((1 - below) / (1 - here)) * torch.sqrt(1 - here / below)
        mean = torch.sqrt(below) * x_0 + torch.sqrt((1 - below - sigma.square()).clamp(min=0)) * epsilon
        return mean if index == 0 else mean + sigma * noise

    def clipped_ddim_step(self, x_t: Tensor, index: int, estimate: Estimate, noise: Tensor, eta: float) -> Tensor:
        """:meth:`ddim_step` with the noise that belongs to the clipped x_0, as in guided-diffusion."""
        tables = self.diffusion
        epsilon = self.at(tables.recip_sqrt_abar, index, x_t) * x_t - estimate.x_0
        epsilon = epsilon / self.at(tables.recip_sqrt_abar_minus_1, index, x_t)
        return self.ddim_step(x_t, index, estimate.x_0, epsilon, eta, noise)

    def noised(self, x_0: Tensor, index: int, noise: Tensor) -> Tensor:
        """A draw of q(x_i | x_0), at the level of the state itself: x_0 at -1.

        RePaint's printed Algorithm 1 has (1 - abar) for the standard deviation; equation 8a and the code have its root.
        """
        abar = self.abar(index, x_0)
        return torch.sqrt(abar) * x_0 + torch.sqrt(1 - abar) * noise

    def renoise_step(self, x_t: Tensor, upper: int, noise: Tensor) -> Tensor:
        """A draw of q(x_upper | x_{upper - 1}): the beta is that of the upper index."""
        beta = self.at(self.diffusion.betas, upper, x_t)
        return torch.sqrt(1 - beta) * x_t + torch.sqrt(beta) * noise


class Noise:
    """Standard normal draws from one CPU generator per image, so that an image's noise does not depend on its batch.

    >>> draws = Noise([torch.Generator().manual_seed(n) for n in (1, 2)])(torch.zeros(2, 3))
    >>> bool((draws[0] == Noise([torch.Generator().manual_seed(1)])(torch.zeros(1, 3))[0]).all())
    True
    """

    def __init__(self, generators: Sequence[torch.Generator] | None = None) -> None:
        self.generators = generators

    def __call__(self, like: Tensor) -> Tensor:
        if self.generators is None:
            return torch.randn_like(like)
        if len(self.generators) != len(like):
            raise ValueError(f"{len(self.generators)} generators for {len(like)} images; give one per image.")
        draws = torch.empty(like.shape, dtype=like.dtype, pin_memory=like.is_cuda)
        for draw, generator in zip(draws, self.generators, strict=True):
            draw.normal_(generator=generator)
        return draws.to(like.device, non_blocking=True)


def jump_times(steps: int, jump_length: int = 1, resamples: int = 1) -> list[int]:
    """Indices that resampling visits, steps - 1 down to -1 (RePaint, appendix B).

    At every ``jump_length``-th index below ``steps - jump_length`` the walk climbs back ``resamples - 1`` times.

    >>> jump_times(4, 1, 2)
    [3, 2, 3, 2, 1, 2, 1, 0, 1, 0, -1]
    """
    climbs = dict.fromkeys(range(0, steps - jump_length, jump_length), resamples - 1)
    times, index = [], steps
    while index >= 1:
        index -= 1
        times.append(index)
        if climbs.get(index, 0) > 0:
            climbs[index] -= 1
            times += range(index + 1, index + jump_length + 1)
            index += jump_length
    return [*times, -1]


def reverse_steps(times: Sequence[int]) -> int:
    """How often a walk goes down, which is when the network is called."""
    return sum(after < before for before, after in pairwise(times))


@dataclass(frozen=True)
class Sampler(ABC):
    """A way to draw a completed image from an unconditional denoiser: parameters here, the algorithm in a function.

    >>> from lit_inpaint.diffusion import samplers
    >>> all(issubclass(getattr(samplers, name), Sampler) for name in ("RePaint", "DDNM", "DPS"))
    True

    Args:
        clip: Clamp the network's estimate of x_0 to [-1, 1]. False only where the data is not an image.
    """

    clip: bool = field(default=True, kw_only=True)
    gradients: ClassVar[bool] = False  # whether the algorithm differentiates the network
    ranges: ClassVar[dict[str, tuple[float, float]]] = {  # of arguments, by name; another number is refused
        **dict.fromkeys(("steps", "jump_length", "resamples", "travel_length", "travel_repeat"), (1, math.inf)),
        **dict.fromkeys(("eta", "eta_b"), (0, 1)),
        **dict.fromkeys(("gradient_steps", "scale", "learning_rate", "regularisation"), (0, math.inf)),
    }

    def __post_init__(self) -> None:
        """
        Raises:
            ValueError: An argument is of another type than its annotation, or out of its range.
        """
        for one in fields(self):
            value = getattr(self, one.name)
            if expected := _expected(one.type, value, *self.ranges.get(one.name, (-math.inf, math.inf))):
                raise ValueError(f"{one.name} of {type(self).__name__} is {value!r}. {expected}")

    @property
    @abstractmethod
    def network_calls(self) -> int:
        """Forward and backward passes per image; the minimum if the algorithm decides adaptively."""

    @abstractmethod
    def process(self, diffusion: Diffusion) -> Diffusion:
        """The respaced process that is sampled."""

    @abstractmethod
    def run(self, denoiser: Denoiser, known: Tensor, mask: Tensor, noise: Noise) -> Tensor:
        """The algorithm. What lies in the hole of ``known`` is not looked at."""

    def __call__(
        self,
        network: Network,
        diffusion: Diffusion,
        known: Tensor,
        mask: Tensor,
        generators: Sequence[torch.Generator] | None = None,
        variance: Variance = "learned_range",
        progress: Progress | None = None,
    ) -> Tensor:
        """Complete a batch. Known pixels are NOT pasted at the end: no published code does; the caller may.

        Args:
            network: x_t and original timesteps to noise (and v).
            diffusion: The process that the network was trained on.
            known: Images in [-1, 1], (B, 3, H, W).
            mask: 1 = hole, (B, 1, H, W).
            generators: One per image, on the CPU: the same samples for any batch size and device.
        """
        denoiser = Denoiser(network, self.process(diffusion), variance, self.clip, progress)
        with differentiable() if self.gradients else torch.no_grad():
            # A clone, so that tensors made in inference mode can take part in a graph.
            return self.run(denoiser, known.clone(), mask.clone(), Noise(generators)).detach()


def _expected(kind: Any, value: Any, least: float, most: float) -> str | None:
    """What an argument of this annotation should be, if it is something else."""
    if get_origin(kind) is Literal:
        return None if value in get_args(kind) else nearest(str(value), get_args(kind))
    if kind is bool:
        return None if isinstance(value, bool) else "Expected true or false."
    if kind not in (int, float):
        return None
    number = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    if number and least <= value <= most and math.isfinite(value):
        return None
    bounds = [f" {word} {limit:g}" for word, limit in (("from", least), ("to", most)) if math.isfinite(limit)]
    return f"Expected a {'whole ' if kind is int else ''}number{''.join(bounds)}."


@contextmanager
def differentiable() -> Iterator[None]:
    """Gradients on, even where the caller has switched them off or is in inference mode."""
    with torch.inference_mode(False), torch.enable_grad():
        yield
