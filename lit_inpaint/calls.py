"""Network calls of a method, counted where the network is called: progress, estimates and records read them here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from lit_inpaint.method import Method


@dataclass
class Calls:
    """Forward and backward passes so far."""

    count: int = 0


def networks_of(method: Method) -> list[nn.Module]:
    """The networks of which each forward pass is one call; none for a method without networks."""
    if method.called:
        return [method.get_submodule(name) for name in method.called]
    found = (getattr(method, name, None) for name in method.averaged)
    return [network for network in found if isinstance(network, nn.Module)]


@contextmanager
def counted(method: Method, told: Callable[[int], object] | None = None) -> Iterator[Calls]:
    """Count the calls made inside the block. A batch is one call; a gradient through a network counts as another.

    Args:
        told: Called with 1 after each.
    """
    calls = Calls()

    def count() -> None:
        calls.count += 1
        if told:
            told(1)

    def backward(gradient: Tensor) -> None:
        count()

    def forward(network: nn.Module, inputs: object, output: object) -> None:
        count()
        first = next((leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)), None)
        if first is not None and first.requires_grad:
            first.register_hook(backward)

    hooks = [network.register_forward_hook(forward) for network in networks_of(method)]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()
