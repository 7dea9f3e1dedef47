"""Comparisons with numbers that a published program printed, which hold on every processor.

The programs ran in float32. Ours runs in float64 here, where the order in which a processor adds no longer matters;
what lies between the two is the rounding of their run and of the digits, and both follow the scale of the tensor.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor, nn

from lit_inpaint.discriminators import SpectralNormConv2d

ROUNDING = 3e-5


@contextmanager
def float64() -> Iterator[None]:
    """No float32 islands: what a method computes in float32 under autocast, it computes in float64."""
    with patch.object(Tensor, "float", Tensor.double):
        yield


def assert_published(
    found: Tensor, expected: Sequence[float] | float, of: Tensor | None = None, rounding: float = ROUNDING
) -> None:
    """``found`` are the numbers ``expected``, up to ``rounding`` of the scale of the tensor ``of`` which they are."""
    assert found.dtype == torch.float64, f"computed in {found.dtype}: its last digits depend on the processor"
    whole = (found if of is None else of).detach()
    scale = whole.square().mean().sqrt().item()
    torch.testing.assert_close(
        found.detach(), torch.tensor(expected, dtype=torch.float64), atol=rounding * scale, rtol=0
    )


def assert_probe(output: Tensor, expected: Sequence[float], rounding: float = ROUNDING) -> None:
    """Twelve numbers that lie apart, and the sum: its error grows as the root of the count of what is added."""
    flat = output.detach().flatten()
    assert_published(flat[:: len(flat) // 12][:12], expected[:12], of=flat, rounding=rounding)
    assert_sum(flat, expected[12], rounding)


def assert_sum(output: Tensor, expected: float, rounding: float = ROUNDING) -> None:
    """The sum is ``expected``; rounding errors add up as the root of their number, or with the sum itself."""
    flat = output.detach().flatten()
    assert flat.dtype == torch.float64, f"computed in {flat.dtype}: its last digits depend on the processor"
    size = max(flat.square().sum().sqrt().item(), abs(expected))
    assert abs(flat.sum().item() - expected) <= rounding * size, (flat.sum().item(), expected)


def random_state(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Random weights of sensible size, drawn in the order of the sorted names."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for name, shape in sorted(shapes.items()):
        if "mask_conv" in name or "mask_updater" in name:
            state[name] = torch.ones(shape)
        elif name.endswith("num_batches_tracked"):
            state[name] = torch.zeros(shape, dtype=torch.long)
        elif name.endswith("running_var"):
            state[name] = 0.5 + torch.rand(shape, generator=generator)
        elif len(shape) == 1:
            state[name] = (1 if name.endswith("weight") else 0) + 0.1 * torch.randn(shape, generator=generator)
        else:
            state[name] = torch.randn(shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:]))
    return state


@torch.no_grad()
def drawn(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Random parameters and codebooks, drawn in float64, and vectors of spectral norms that have settled on them."""
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    shapes |= {name: tuple(value.shape) for name, value in model.named_buffers() if name.endswith(".embedding")}
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        state = random_state(shapes, seed)
    finally:
        torch.set_default_dtype(default)
    for name, layer in model.named_modules():
        if isinstance(layer, SpectralNormConv2d):
            matrix = state[f"{name}.weight"].double().flatten(1)
            state[f"{name}.u"] = torch.linalg.svd(matrix, full_matrices=False)[0][:, 0]
    return state
