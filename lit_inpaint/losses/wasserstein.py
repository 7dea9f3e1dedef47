"""Wasserstein losses and the gradient penalty (Arjovsky et al. 2017; Gulrajani et al. 2017)."""

from collections.abc import Callable

import torch
from torch import Tensor


def wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """mean D(fake) - mean D(real)."""
    return fake.float().mean() - real.float().mean()


def wasserstein_generator(fake: Tensor) -> Tensor:
    """-mean D(fake)."""
    return -fake.float().mean()


def gradient_penalty(
    discriminator: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    mask: Tensor | None = None,
    share: Tensor | None = None,
) -> Tensor:
    """Mean over images of (norm of the discriminator's gradient between real and fake - 1)^2, in float32 throughout.

    Add it to the discriminator's loss and call backward ONCE: with a backward of its own, plain DDP computes wrong
    gradients.

    Args:
        real, fake: (B, C, H, W); the point between them is real + share * (fake - real).
        mask: (B, 1, H, W); the squared gradient is multiplied by it, so that the slope is restricted to the hole
            (Yu et al. 2018, section 3.3).
        share: (B, 1, 1, 1) in [0, 1); drawn uniformly for each image by default.
    """
    with torch.autocast(real.device.type, enabled=False):
        real, fake = real.detach().float(), fake.detach().float()
        if share is None:
            share = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (real + share * (fake - real)).requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(between).float().sum(), between, create_graph=True)
        squares = gradient.square() if mask is None else gradient.square() * mask.float()
        # The floor keeps the root's derivative finite where the gradient is exactly 0 (an image without a hole).
        slope = squares.flatten(1).sum(1).clamp(min=1e-16).sqrt()
        return (slope - 1).square().mean()
