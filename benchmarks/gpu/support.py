"""What the parts share: draws that do not depend on the device, float32 that is float32, gradients of a step."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from benchmarks.utilisation import Row
from benchmarks.utilisation import make as make_row
from lit_inpaint.stage import Stage
from tests.support import tiny_pipelines
from tests.support.contract import ROWS, STAGES, batches, trainer
from tests.support.gradients import CASES, Forms

SMALL: dict[str, dict[str, Any]] = dict(ROWS + STAGES)
# Every trained method, then the stages and the loss forms that a method's row does not reach.
STEPS: dict[str, tuple[str, dict[str, Any], int]] = {n: (n, a, 1) for n, a in STAGES} | CASES


class Skipped(Exception):
    """Not measured; the message names what is missing."""


class DrawnOnTheCPU(TorchDispatchMode):
    """Random numbers for any device come from the CPU's generator, so that two devices draw the same ones."""

    DRAWS: ClassVar[set[str]] = {
        "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "multinomial", "bernoulli",
        "bernoulli_", "normal_", "uniform_", "random_", "exponential_", "native_dropout",
    }  # fmt: skip

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [x for x in args if isinstance(x, Tensor)]
        device = tensors[0].device if tensors else torch.device(kwargs.get("device") or "cpu")
        name = func.overloadpacket.__name__
        if name not in self.DRAWS or device.type == "cpu":
            return func(*args, **kwargs)
        here = list(args)
        if name.endswith(("_", "_like")):  # what it held is not looked at
            here[0] = torch.empty_like(args[0], device="cpu")
        here = [x.cpu() if isinstance(x, Tensor) else x for x in here]
        there = {k: v for k, v in kwargs.items() if k not in ("device", "pin_memory")}
        drawn = func(*here, **there, **({"device": torch.device("cpu")} if "device" in kwargs else {}))
        if name.endswith("_"):
            return args[0].copy_(drawn)
        return tree_map(lambda x: x.to(device) if isinstance(x, Tensor) else x, drawn)


@contextmanager
def exact(device: str) -> Iterator[None]:
    """Products of float32 without TF32. The CPU stands in for a device without oneDNN: other sums, the same numbers."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if device == "cuda":
            yield
            return
        was = torch.backends.mkldnn.enabled
        torch._C._set_mkldnn_enabled(False)
        try:
            yield
        finally:
            torch._C._set_mkldnn_enabled(was)


def make(name: str, arguments: dict[str, Any]) -> Any:
    """A method, a stage that counts as trained, or the three-layer networks of tests/support/gradients.py; seed 0."""
    if arguments.get("source") == str(tiny_pipelines.SHARED):
        tiny_pipelines.shared()
    torch.manual_seed(0)
    return Forms(**arguments) if name == "Forms" else make_row(Row(name, 64, arguments=arguments))


def on(device: str) -> dict[str, Any]:
    """Arguments of a Trainer: never more than the first GPU."""
    return {"accelerator": "gpu", "devices": [0]} if device == "cuda" else {"accelerator": "cpu", "devices": 1}


def small_batches(arguments: dict[str, Any], count: int) -> Any:
    """The contract's images, or their middle for a network of another size."""
    side = arguments.get("image_size", 64)
    window = (..., slice(32 - side // 2, 32 + side // 2), slice(32 - side // 2, 32 + side // 2))
    items: Any = [i._replace(image=i.image[window], mask=i.mask[window]) for i in batches(count).dataset]
    return torch.utils.data.DataLoader(items, batch_size=2)


def gradients(case: str, device: str, callbacks: list[L.Callback], precision: Any = "32-true") -> list[Any]:
    """Gradients of every optimiser step of ``case``, on the CPU; the weights never change.

    BatchNorm is in eval mode: over two images and one pixel it turns the last bit into a tenth of the gradient.
    """
    name, arguments, count = STEPS[case]
    method: Stage = make(name, arguments)
    for layer in method.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            layer.eval()
    kept: list[list[Tensor | None]] = []

    def keep(optimizer: LightningOptimizer, *args: Any, **kwargs: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        kept.append([None if p.grad is None else p.grad.detach().cpu().clone() for p in parameters])

    with patch.object(LightningOptimizer, "step", keep):
        run = trainer(
            Path(), max_steps=count, limit_val_batches=0, callbacks=callbacks, precision=precision, **on(device)
        )
        run.fit(method, small_batches(arguments, count))
    return kept


def difference(found: list[Any], expected: list[Any]) -> float:
    """The largest, over optimiser steps, of the norm of the difference over the norm."""
    assert len(found) == len(expected) > 0, f"{len(found)} optimiser steps, expected {len(expected)}"
    errors = []
    for a, b in zip(found, expected, strict=True):
        assert [x is None for x in a] == [x is None for x in b], "other parameters have gradients"
        a, b = (torch.cat([x.flatten().double() for x in y if x is not None]) for y in (a, b))
        errors.append(float((a - b).norm() / b.norm().clamp(min=1e-30)))
    return max(errors)


def bounded(what: str, value: float, most: float) -> float:
    """``value``, unless it is above ``most`` or no number."""
    if not value <= most:
        raise AssertionError(f"{what} is {value:.3g}, allowed {most:g}")
    return value


def finite(what: str, tensors: Iterator[tuple[str, Tensor]]) -> None:
    if wrong := [name for name, tensor in tensors if not bool(torch.isfinite(tensor).all())]:
        raise AssertionError(f"{what}: not finite: {', '.join(wrong[:5])}")


def memory(device: str) -> float | None:
    """MiB that torch's allocator held at most since :func:`forget`; None on the CPU."""
    return round(torch.cuda.max_memory_allocated() / 2**20, 1) if device == "cuda" else None


def forget(device: str) -> None:
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
