"""What a denoiser is trained with: L_simple (Ho et al. 2020) and the variational term that trains its variance."""

import math

import torch
from torch import Tensor

from lit_inpaint.diffusion.schedules import Diffusion, spread


def simple_loss(epsilon: Tensor, noise: Tensor) -> Tensor:
    """Mean squared error of the predicted noise, one value per image, (B,). Ho et al. 2020, equation 14."""
    return (epsilon - noise).square().mean((1, 2, 3))


def vlb_term(diffusion: Diffusion, x_0: Tensor, x_t: Tensor, t: Tensor, epsilon: Tensor, v: Tensor) -> Tensor:
    """One term of the variational bound, in bits per dimension, (B,). Nichol & Dhariwal 2021, section 3.1.

    KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)); at t = 0 the discretised negative log-likelihood. Gradient reaches
    ``v`` alone: the mean is detached, and x_0 is not clipped.

    Args:
        x_0: Image in [-1, 1], (B, C, H, W).
        t: Indices, (B,).
        epsilon: Predicted noise.
        v: 1 gives beta, -1 gives btilde, in between the log-variance is interpolated; not clamped.
    """
    epsilon, diffusion = epsilon.detach(), diffusion.on(t.device)
    weight_x_0, weight_x_t = (
        spread(table, t, x_0) for table in (diffusion.posterior_mean_x_0, diffusion.posterior_mean_x_t)
    )
    low, high = spread(diffusion.log_posterior_variance, t, x_0), spread(diffusion.log_betas, t, x_0)
    predicted_x_0 = (
        spread(diffusion.recip_sqrt_abar, t, x_0) * x_t - spread(diffusion.recip_sqrt_abar_minus_1, t, x_0) * epsilon
    )
    true_mean = weight_x_0 * x_0 + weight_x_t * x_t
    mean = weight_x_0 * predicted_x_0 + weight_x_t * x_t
    share = (v + 1) / 2
    log_variance = share * high + (1 - share) * low
    kl = _normal_kl(true_mean, low, mean, log_variance).mean((1, 2, 3))
    nll = -_discretised_log_likelihood(x_0, mean, 0.5 * log_variance).mean((1, 2, 3))
    return torch.where(t == 0, nll, kl) / math.log(2)


def _normal_kl(mean_1: Tensor, log_variance_1: Tensor, mean_2: Tensor, log_variance_2: Tensor) -> Tensor:
    """KL of two diagonal Gaussians, elementwise, in nats."""
    spread_ratio = torch.exp(log_variance_1 - log_variance_2)
    shift = (mean_1 - mean_2).square() * torch.exp(-log_variance_2)
    return 0.5 * (log_variance_2 - log_variance_1 + spread_ratio + shift - 1)


def _normal_cdf(x: Tensor) -> Tensor:
    """The tanh approximation that the published likelihoods use (Page 1977)."""
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _discretised_log_likelihood(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log-probability of the 8-bit bin that ``x`` in [-1, 1] lies in; the outermost bins are open. Nats."""
    centred, inverse = x - mean, torch.exp(-log_scale)
    below_top = _normal_cdf(inverse * (centred + 1 / 255))
    below_bottom = _normal_cdf(inverse * (centred - 1 / 255))
    inside = torch.log((below_top - below_bottom).clamp(min=1e-12))
    lowest = torch.log(below_top.clamp(min=1e-12))
    highest = torch.log((1 - below_bottom).clamp(min=1e-12))
    return torch.where(x < -0.999, lowest, torch.where(x > 0.999, highest, inside))
