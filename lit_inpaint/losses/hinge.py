"""Hinge loss of a discriminator and of the generator that it judges (Lim and Ye 2017; Yu et al. 2019, section 3.2)."""

from torch import Tensor
from torch.nn import functional as F


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """``(E[relu(1 - real)] + E[relu(1 + fake)]) / 2``: 0 once real logits are over 1 and fake ones under -1.

    The half is that of the official code (neuralgym's ``gan_hinge_loss``); the paper's equation has none.

    >>> import torch
    >>> hinge_discriminator(torch.tensor([0.0, 2.0]), torch.tensor([-3.0, 1.0]))
    tensor(0.7500)
    """
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2


def hinge_generator(fake: Tensor) -> Tensor:
    """``-E[fake]``.

    >>> import torch
    >>> hinge_generator(torch.tensor([1.0, 3.0]))
    tensor(-2.)
    """
    return -fake.mean()
