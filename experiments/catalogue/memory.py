"""Memory of a training step: parameters, optimiser state, and the peak measured in fresh processes."""

import logging
import warnings
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader

from lit_inpaint import renamed
from lit_inpaint.malloc import keep_freed_memory
from lit_inpaint.memory import resident_peak, without_memory
from lit_inpaint.method import Method, parameter_counts
from lit_inpaint.options import key_values
from lit_inpaint.stage import Stage
from lit_inpaint.workers import workers
from masks.convention import InpaintingBatch
from masks.size import Size, by_name, sides

BATCHES = 8  # at most: by then a discriminator with five steps to each of its generator's has let that one step
_MIB = 2**20


def report(cls: type[Stage] | type[Method], pairs: list[str], size: Size, batch: int) -> Iterator[str]:
    """Report on a training step with ``batch`` images and with twice as many.

    Args:
        pairs: Arguments of the class as KEY=VALUE.
        size: Side of the square images, or (height, width).
        batch: From 1 on.
    """
    if not issubclass(cls, Stage) or not getattr(cls, "trainable", True):
        raise ValueError(f"{cls.__name__} has no training step; --memory measures one of a method that `fit` trains.")
    if batch < 1:
        raise ValueError(f"--batch-size is {batch}; it must be at least 1.")
    names = [base.__name__ for base in cls.__mro__]
    arguments = key_values(renamed.words(names, pairs))
    try:
        counts = parameter_counts(without_memory(lambda: cls(**arguments)))
    except TypeError as error:
        raise ValueError(
            f"{cls.__name__}: {error}. `lit-inpaint methods {cls.__name__}` lists its arguments."
        ) from None
    small, large = (_in_a_fresh_process(cls, arguments, size, images) for images in (batch, 2 * batch))
    image = (large["peak"] - small["peak"]) / batch
    fixed = max(small["peak"] - batch * image, 0)  # resident memory scatters by tens of MiB
    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    yield f"{cls.__name__}({given}), a training step at {by_name(size)}, float32, on {large['device']}"
    yield "  parameters       " + ", ".join(f"{n} {c:,} ({mib(4 * c)})" for n, c in counts.items())
    yield "  optimiser state  " + ", ".join(f"{name} {mib(size)}" for name, size in large["optimisers"].items())
    for images, measured in ((batch, small), (2 * batch, large)):
        yield f"  peak, batch {images:<4} {mib(measured['peak'])}"
    yield f"  per image        {mib(image)}, plus {mib(fixed)} independent of the batch"
    yield f"({large['how']})"
    if large["idle"]:
        yield f"Not included: {', '.join(large['idle'])} made no step in the first {BATCHES} batches."


def mib(size: float) -> str:
    return f"{size / _MIB:,.1f} MiB"


def _in_a_fresh_process(cls: type[Stage], arguments: dict[str, Any], size: Size, batch: int) -> dict[str, Any]:
    # The peak of a process never falls, so that each measurement needs its own.
    with workers(1) as pool:
        try:
            return pool.submit(measure, cls, arguments, size, batch).result()
        except BrokenProcessPool:
            raise ValueError(
                f"the process that measured {batch} images of {by_name(size)} was killed, most likely because memory "
                "ran out. Give a smaller --size or --batch-size, or arguments that make the networks smaller."
            ) from None


class _StopWhenAllHaveStepped(L.Callback):
    """The second batch is the first that finds the state of the optimisers in memory."""

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: object) -> None:
        trainer.should_stop = trainer.global_step >= 2 and all(optimizer.state for optimizer in trainer.optimizers)


def measure(cls: type[Stage], arguments: dict[str, Any], size: Size, batch: int) -> dict[str, Any]:
    """Train the first batches and return their memory; call it in a separate process.

    Returns:
        ``peak``: bytes beyond those before the networks were built. ``optimisers``: bytes of state by name.
        ``idle``: networks that made no step. ``device``, ``how``: in words.
    """
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    cuda = torch.cuda.is_available()
    if not cuda:
        keep_freed_memory()  # as fit does
    before = 0 if cuda else resident_peak()
    method = cls(**arguments)
    height, width = sides(size)
    image, mask = torch.rand(getattr(method, "channels", 3), height, width) * 2 - 1, torch.zeros(1, height, width)
    mask[:, height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 1
    samples = [InpaintingBatch(image, mask, str(number)) for number in range(batch * BATCHES)]
    trainer = L.Trainer(
        accelerator="cuda" if cuda else "cpu", devices=1, max_steps=BATCHES, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[_StopWhenAllHaveStepped()],
    )  # fmt: skip
    trainer.fit(method, DataLoader(samples, batch))  # type: ignore[arg-type]
    peak = torch.cuda.max_memory_allocated() if cuda else resident_peak() - before
    how = "torch.cuda.max_memory_allocated" if cuda else "resident memory of a fresh process beyond its imports"
    names = [_networks_of(optimizer, method) for optimizer in trainer.optimizers]
    idle = [name for name, optimizer in zip(names, trainer.optimizers, strict=True) if not optimizer.state]
    optimisers = {}
    for name, optimizer in zip(names, trainer.optimizers, strict=True):
        optimisers[f"{type(optimizer).__name__} of {name}"] = _state_bytes(optimizer)
    device = torch.cuda.get_device_name() if cuda else "CPU"
    return {"peak": peak, "optimisers": optimisers, "idle": idle, "device": device, "how": how}


def _networks_of(optimizer: torch.optim.Optimizer, method: Stage) -> str:
    own = {id(p) for group in optimizer.param_groups for p in group["params"]}
    networks = [name for name, child in method.named_children() if any(id(p) in own for p in child.parameters())]
    return " and ".join(networks) or "the parameters"


def _state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Size of the state after a step; an optimiser without one takes it on zero gradients."""
    if not optimizer.state:
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    values = (value for state in optimizer.state.values() for value in state.values())
    return sum(value.numel() * value.element_size() for value in values if isinstance(value, torch.Tensor))
