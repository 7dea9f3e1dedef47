"""Noise schedules and the tables of a diffusion process (Ho et al. 2020; Nichol & Dhariwal 2021).

Indices are 0-based: index i is the state after i + 1 noising steps, index -1 is the clean image. All tables are float64
and are cast after indexing.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

NoiseSchedule = Literal["linear", "cosine"]
Rule = Literal["even", "stride", "leading"]
Variance = Literal["learned_range", "fixed_large", "fixed_small"]


def linear_betas(steps: int = 1000) -> Tensor:
    """Ho et al. 2020: 1e-4 to 0.02 for 1000 steps; for another number both ends scale by 1000 / steps.

    >>> linear_betas()[[0, -1]].tolist()
    [0.0001, 0.02]
    """
    if steps <= 20:
        raise ValueError(f"a linear schedule of {steps} steps ends with a beta of {20 / steps:g}; give at least 21.")
    scale = 1000 / steps
    return torch.linspace(scale * 1e-4, scale * 0.02, steps, dtype=torch.float64, device="cpu")


def cosine_betas(steps: int = 1000, offset: float = 0.008, largest: float = 0.999) -> Tensor:
    """Nichol & Dhariwal 2021, equation 17: abar(t) = cos^2((t / T + s) / (1 + s) pi / 2), betas cut at ``largest``.

    >>> betas = cosine_betas(1000)
    >>> bool((betas.diff() >= 0).all()), float(betas[-1])
    (True, 0.999)
    """
    abar = [math.cos((i / steps + offset) / (1 + offset) * math.pi / 2) ** 2 for i in range(steps + 1)]
    betas = [min(1 - after / before, largest) for before, after in pairwise(abar)]
    return torch.tensor(betas, dtype=torch.float64, device="cpu")


def scaled_linear_betas(steps: int, first: float, last: float) -> Tensor:
    """Latent diffusion's: the square roots of the betas are linear (Rombach et al. 2022, their "linear").

    >>> [round(beta, 6) for beta in scaled_linear_betas(3, 0.01, 0.09).tolist()]
    [0.01, 0.04, 0.09]
    """
    return torch.linspace(first**0.5, last**0.5, steps, dtype=torch.float64, device="cpu").square()


@dataclass(frozen=True, eq=False)
class Diffusion:
    """The forward process q and the coefficients of its posterior.

    >>> process = Diffusion.make("linear", steps=1000)
    >>> len(process), f"{process.abar[-1]:.1e}"
    (1000, '4.0e-05')

    Args:
        betas: Variance of each noising step, (T,) float64.
        timesteps: The timestep passed to the network at each index, (T,). After respacing, it is still the index in
            the process that the network was trained on.
    """

    betas: Tensor
    timesteps: Tensor

    @classmethod
    def make(
        cls, schedule: NoiseSchedule = "linear", steps: int = 1000, rescale_timesteps: bool = False
    ) -> "Diffusion":
        """The process that a network is trained on. Always on the CPU: one number of a table is used at a time.

        Args:
            rescale_timesteps: Pass t * 1000 / T to the network (improved-diffusion).
        """
        timesteps = torch.arange(steps, device="cpu")
        return cls(
            linear_betas(steps) if schedule == "linear" else cosine_betas(steps),
            timesteps * (1000 / steps) if rescale_timesteps else timesteps,
        )

    def __len__(self) -> int:
        return len(self.betas)

    @cached_property
    def abar(self) -> Tensor:
        """Share of the image's variance that is left: prod(1 - beta), (T,)."""
        return torch.cumprod(1 - self.betas, 0)

    @cached_property
    def abar_previous(self) -> Tensor:
        """``abar`` one index lower; 1 at index 0."""
        return torch.cat([self.abar.new_ones(1), self.abar[:-1]])

    @cached_property
    def posterior_variance(self) -> Tensor:
        """btilde, the variance of q(x_{i-1} | x_i, x_0); 0 at index 0."""
        return self.betas * (1 - self.abar_previous) / (1 - self.abar)

    @cached_property
    def log_posterior_variance(self) -> Tensor:
        """log btilde with entry 0, which would be -inf, replaced by entry 1."""
        lowest = self.posterior_variance[1:2] if len(self) > 1 else self.betas[:1]
        return torch.log(torch.cat([lowest, self.posterior_variance[1:]]))

    @cached_property
    def log_betas(self) -> Tensor:
        return torch.log(self.betas)

    @cached_property
    def log_betas_large(self) -> Tensor:
        """log beta with entry 0 replaced by btilde_1: the fixed variance of Ho et al. ("fixed large")."""
        return torch.cat([self.log_posterior_variance[:1], self.log_betas[1:]])

    @cached_property
    def posterior_mean_x_0(self) -> Tensor:
        """Weight of x_0 in the mean of q(x_{i-1} | x_i, x_0)."""
        return self.betas * torch.sqrt(self.abar_previous) / (1 - self.abar)

    @cached_property
    def posterior_mean_x_t(self) -> Tensor:
        """Weight of x_i in the mean of q(x_{i-1} | x_i, x_0)."""
        return (1 - self.abar_previous) * torch.sqrt(1 - self.betas) / (1 - self.abar)

    @cached_property
    def recip_sqrt_abar(self) -> Tensor:
        return torch.sqrt(1 / self.abar)

    @cached_property
    def recip_sqrt_abar_minus_1(self) -> Tensor:
        """sqrt(1 / abar - 1): x_0 = recip_sqrt_abar * x_t - this * epsilon."""
        return torch.sqrt(1 / self.abar - 1)

    @cached_property
    def sqrt_abar(self) -> Tensor:
        return torch.sqrt(self.abar)

    @cached_property
    def sqrt_1_minus_abar(self) -> Tensor:
        return torch.sqrt(1 - self.abar)

    def on(self, device: torch.device) -> "Diffusion":
        """The same tables, computed on the CPU, on a device: moved once, for steps that take one entry per image."""
        if device.type == "cpu":
            return self
        if device not in self._moved:
            moved = self._moved[device] = Diffusion(self.betas.to(device), self.timesteps.to(device))
            tables = [name for name, value in vars(Diffusion).items() if isinstance(value, cached_property)]
            moved.__dict__.update({name: getattr(self, name).to(device) for name in tables if name != "_moved"})
        return self._moved[device]

    @cached_property
    def _moved(self) -> dict[torch.device, "Diffusion"]:
        return {}

    def q_sample(self, x_0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t of a batch: sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise; ``t`` (B,) indices."""
        here = self.on(t.device)
        return spread(here.sqrt_abar, t, x_0) * x_0 + spread(here.sqrt_1_minus_abar, t, x_0) * noise

    def respaced(self, steps: int, rule: Rule = "even") -> "Diffusion":
        """The same process in fewer steps: betas are recomputed from abar, the network gets the original index.

        Args:
            rule: "even" (guided-diffusion's '250'; RePaint): both ends are kept, the stride is fractional. "stride"
                (DDIM, DDRM, DDNM): every T // steps-th index from 0; the noisiest ones are left out. "leading" (latent
                diffusion, diffusers): the same from 1, or from 0 where all are taken.
        """
        total = len(self)
        if not 1 <= steps <= total:
            raise ValueError(f"{steps} sampling steps of a process of {total}; give 1 to {total}.")
        if rule != "even":
            stride = total // steps
            kept = [index * stride + (rule == "leading" and stride > 1) for index in range(steps)]
        else:
            # The official code adds the stride up in float64 and rounds; a product would round elsewhere.
            apart, position, kept = (total - 1) / max(steps - 1, 1), 0.0, []
            for _ in range(steps):
                kept.append(round(position))
                position += apart
        abar = self.abar[kept]
        betas = 1 - abar / torch.cat([abar.new_ones(1), abar[:-1]])
        return Diffusion(betas, self.timesteps[kept])


def spread(table: Tensor, t: Tensor, like: Tensor) -> Tensor:
    """Entries ``t`` (B,) of a table on its device, in the type of ``like`` (B, C, H, W), shaped to broadcast."""
    return table[t].to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))
