"""The adversarial losses of Goodfellow et al. 2014, from logits (a sigmoid and a logarithm that cannot overflow)."""

from torch import Tensor
from torch.nn import functional as F


def bce_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(real) - log(1 - D(fake)): the sum of both means, not half of it.

    >>> import torch
    >>> round(float(bce_discriminator(torch.zeros(4), torch.zeros(4))), 4)  # 2 log 2
    1.3863
    """
    return F.softplus(-real.float()).mean() + F.softplus(fake.float()).mean()


def bce_generator(fake: Tensor) -> Tensor:
    """-log D(fake): the generator loss that does not saturate."""
    return F.softplus(-fake.float()).mean()


def bce_generator_minimax(fake: Tensor) -> Tensor:
    """log(1 - D(fake)): the generator's side of the minimax equation; flat if the discriminator is sure."""
    return -F.softplus(fake.float()).mean()
