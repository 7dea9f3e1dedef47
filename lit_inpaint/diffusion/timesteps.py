"""How training draws timesteps: uniformly, or by the size of recent losses (Nichol & Dhariwal 2021, section 3.3)."""

import math

import torch
from torch import Tensor, nn


class UniformTimesteps(nn.Module):
    """Every timestep alike; weight 1."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def draw(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Indices (count,) and the weights of their losses (count,)."""
        return torch.randint(self.steps, (count,), device=device), torch.ones(count, device=device)

    def observe(self, t: Tensor, losses: Tensor) -> None:
        """Nothing to learn from."""


class SecondMomentTimesteps(nn.Module):
    """p_t proportional to sqrt(E[L_t^2]) over the last ten losses of each t; uniform until each t has ten.

    A drawn loss is divided by T p_t, so that its expectation is that of uniform drawing. The history is a buffer: a
    resumed run draws as if it had not stopped.
    """

    history: Tensor
    counts: Tensor

    def __init__(self, steps: int, terms: int = 10, uniform_share: float = 0.001) -> None:
        super().__init__()
        self.uniform_share = uniform_share
        self.register_buffer("history", torch.zeros(steps, terms, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(steps, dtype=torch.int64))

    def probabilities(self) -> Tensor:
        """p_t, (T,) float64."""
        steps, terms = self.history.shape
        uniform = self.history.new_full((steps,), 1 / steps)
        if bool((self.counts < terms).any()):
            return uniform
        size = self.history.square().mean(1).sqrt()
        return (1 - self.uniform_share) * size / size.sum() + self.uniform_share * uniform

    def draw(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Indices (count,) and the weights 1 / (T p_t) of their losses (count,)."""
        p = self.probabilities()
        t = torch.multinomial(p, count, replacement=True)
        return t.to(device), (1 / (len(p) * p[t])).float().to(device)

    def observe(self, t: Tensor, losses: Tensor) -> None:
        """Remember the unweighted losses (B,) at ``t`` (B,), of all ranks in the same order; not those that are NaN."""
        terms = self.history.shape[1]
        for index, loss in zip(t.tolist(), losses.double().tolist(), strict=True):
            if not math.isfinite(loss):
                continue
            seen = int(self.counts[index])
            if seen == terms:
                self.history[index] = self.history[index].roll(-1)
            self.history[index, min(seen, terms - 1)] = loss
            self.counts[index] = min(seen + 1, terms)
