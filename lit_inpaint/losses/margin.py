"""How far a discriminator tells real from fake: handed from every adversarial loss to whoever watches a run."""

from collections.abc import Callable

from torch import Tensor

watchers: list[Callable[[Tensor, Tensor], None]] = []


def judged(real: Tensor, fake: Tensor) -> None:
    """Called by each discriminator loss with its logits, any shape.

    >>> import torch
    >>> watchers.append(lambda real, fake: print(float(real.mean() - fake.mean())))
    >>> judged(torch.tensor([2.0, 4.0]), torch.tensor([-1.0]))
    4.0
    >>> _ = watchers.pop()
    """
    for watch in watchers:
        watch(real.detach(), fake.detach())
