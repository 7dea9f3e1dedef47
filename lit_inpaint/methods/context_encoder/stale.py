"""The generator's gradient through a discriminator that has been updated since it judged (fGx of train.lua).

Torch7 keeps activations in the layers: ``updateGradInput`` meets those of the last forward pass and the weights as they
are now. The authors leave out the second forward pass to save time.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


def by_reference() -> saved_tensors_hooks:
    """Layers that run inside remember the weights themselves: a backward pass takes them as they are by then."""
    return saved_tensors_hooks(lambda saved: saved, lambda saved: saved)  # tensors with hooks have no version check


class StaleLoss(torch.autograd.Function):
    """A loss computed from a leaf, as a loss of ``prediction``, whose values the leaf has: ``apply(prediction, (loss,
    leaf))``. In a tuple, since the gradient must not enter the graph of the loss by itself as well."""

    @staticmethod
    def forward(ctx: Any, prediction: Tensor, loss_of: tuple[Tensor, Tensor]) -> Tensor:
        ctx.loss_of = loss_of
        return loss_of[0].detach().clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        loss, judged = ctx.loss_of
        return torch.autograd.grad(loss, [judged], gradients[0])[0], None
