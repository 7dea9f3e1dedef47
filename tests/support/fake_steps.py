"""A trainer's steps with a method on a fake GPU (support.fake_cuda)."""

import contextlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import torch
from lightning.pytorch.trainer.states import TrainerFn, TrainerStatus
from torch import Tensor

from lit_inpaint.module import InpaintingModule
from lit_inpaint.stage import Stage
from masks.convention import InpaintingBatch
from tests.support.fake_cuda import FakeCuda

BATCHES = 2  # the first reads backbones and makes the state of optimisers; methods may alternate


class Optimizer:
    """Lightning's wrapper, which would hand the step to the trainer's strategy."""

    def __init__(self, optimizer: torch.optim.Optimizer, module: Stage) -> None:
        self.optimizer, self.param_groups, self.module = optimizer, optimizer.param_groups, module
        self.zero_grad = optimizer.zero_grad
        self._on_before_step = self._on_after_step = lambda: None

    def step(self) -> None:
        for callback in self.module.trainer.callbacks:  # type: ignore[attr-defined]
            callback.on_before_optimizer_step(self.module.trainer, self.module, self.optimizer)
        self.optimizer.step()


def batch(size: int, channels: int = 3) -> InpaintingBatch:
    """Two images on the GPU, with holes off the centre that are inside ContextEncoder's square."""
    grid = torch.linspace(-1, 1, size)
    images, masks = [], torch.zeros(2, 1, size, size)
    for i in range(2):
        waves = torch.sin(9 * grid + i)
        images.append(torch.stack([waves.expand(size, size), waves.expand(size, size).T, waves * waves[:, None]]))
        masks[i, :, size // 3 : size // 2, size // 3 + i : size // 2] = 1
    return InpaintingBatch(torch.stack(images)[:, :channels].to("cuda:0"), masks.to("cuda:0"), ["a", "b"])


def stand_in(module: Stage, callbacks: list[Any]) -> Any:
    """The trainer, as far as modules and callbacks look at it."""
    trainer = MagicMock(
        world_size=1, is_last_batch=True, global_step=0, current_epoch=0, callbacks=callbacks, optimizers=[],
        log_every_n_steps=1, sanity_checking=False, global_rank=0, is_global_zero=True, precision="32-true",
        datamodule=None, estimated_stepping_batches=1000, max_steps=1000, num_training_batches=10, loggers=[],
        state=SimpleNamespace(fn=TrainerFn.FITTING, status=TrainerStatus.RUNNING),
        precision_plugin=SimpleNamespace(forward_context=contextlib.nullcontext),
    )  # fmt: skip
    module._trainer = trainer
    zeros: dict[Tensor, Tensor] = {}

    def manual_backward(loss: Tensor, **how: bool) -> None:
        loss.backward(**how)
        for parameter in module.parameters():
            if parameter.requires_grad and parameter.grad is None:
                if parameter not in zeros:
                    zeros[parameter] = torch.zeros_like(parameter)
                parameter.grad = zeros[parameter]

    module.manual_backward = manual_backward  # type: ignore[assignment, method-assign]
    return trainer


class Steps:
    """One module on the GPU; each method returns the waits of its step."""

    def __init__(
        self, cuda: FakeCuda, module: Stage, size: int, dtype: torch.dtype | None, callbacks: list[Any]
    ) -> None:
        self.cuda, self.module, self.dtype, self.callbacks = cuda, module, dtype, callbacks
        self.trainer = stand_in(module, callbacks)
        module.to("cuda:0")  # Lightning asks the driver where the index is missing
        self.batch = batch(size, getattr(module, "channels", 3))
        self.trainable = getattr(module, "trainable", True)  # a stage is, and does not say so

    def waits(self, step: Callable[[], Any]) -> Counter[str]:
        before = Counter(self.cuda.waits)
        with self.cuda.autocast(self.dtype):
            out = step()
        for tensor in out if isinstance(out, tuple | list) else [out]:
            assert not isinstance(tensor, Tensor) or tensor.device.type == "cuda"
        return self.cuda.waits - before

    def training(self) -> Counter[str]:
        """The last batch, with its hooks."""
        module, trainer = self.module, self.trainer
        module.on_fit_start()
        self._callbacks("on_fit_start")
        optimizers: Any = module.configure_optimizers()
        trainer.optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        wrapped = [Optimizer(o, module) for o in trainer.optimizers]
        module.optimizers = lambda: wrapped if len(wrapped) > 1 else wrapped[0]  # type: ignore[method-assign, assignment, return-value]
        module.train()
        self._callbacks("on_train_start")
        waits: Counter[str] = Counter()
        for index in range(BATCHES):
            trainer.global_step = index + 1  # counted in on_train_batch_start

            def step(index: int = index) -> None:
                module.on_train_batch_start(self.batch, index)
                self._callbacks("on_train_batch_start", self.batch, index)
                module.training_step(self.batch, index)
                module.on_train_batch_end(None, self.batch, index)
                self._callbacks("on_train_batch_end", None, self.batch, index)

            waits = self.waits(step)
        self._callbacks("on_train_end")
        return waits

    def _callbacks(self, hook: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self.trainer, self.module, *arguments)

    def evaluation(self, stage: str) -> Counter[str]:
        """A batch of a validation or a test, with the hooks around it run but not counted."""
        module = self.module.eval()
        self.trainer.state.fn = {"validation": TrainerFn.FITTING, "test": TrainerFn.TESTING}[stage]
        with torch.no_grad():
            if stage == "validation":
                self._callbacks("on_validation_start")
            getattr(module, f"on_{stage}_epoch_start")()
            step = getattr(module, f"{stage}_step")
            waits = self.waits(partial(step, self.batch, 0))
            getattr(module, f"on_{stage}_epoch_end")()
            if stage == "validation":
                self._callbacks("on_validation_end")
        return waits

    def sample(self) -> Counter[str]:
        with torch.no_grad():
            self.module.eval()
            return self.waits(lambda: self.module.sample(self.batch.image, self.batch.mask, 1))  # type: ignore[operator]

    def all(self) -> dict[str, dict[str, int]]:
        """The waits of every step that the module has. A sample is a forward pass, with draws where there are any."""
        steps = {"training": self.training()} if self.trainable else {}
        steps |= {"validation": self.evaluation("validation"), "test": self.evaluation("test")}
        if isinstance(self.module, InpaintingModule):
            steps["sample"] = self.sample()
        return {name: dict(sorted(waits.items())) for name, waits in steps.items()}
