"""What a training costs, from its first steps: a callback."""

import json
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Timer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from experiments.files.write import write_text

WARM_UP, MEASURED = 2, 4  # steps; even, for networks in turn. Operations are counted in the first ones, which slows


class _Flops(TorchDispatchMode):
    """Sum what PyTorch counts for each operator. Its own FlopCounterMode also follows modules by hooks, and these fail
    where a step calls autograd.grad or steps a discriminator in between (ContextEncoder, DeepFillV1, LaMa)."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if (count := flop_registry.get(func._overloadpacket)) is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


class FirstSteps(L.Callback):
    """Stop after six steps and write what a step takes; the checkpoint then serves stages that need one.

    Args:
        out: JSON with seconds and FLOPs per step, images per step, and the steps that the whole training has.
            Seconds are those of the cores on a CPU.
    """

    def __init__(self, out: str) -> None:
        self.out = Path(out)
        self._counter: _Flops | None = None
        self._flops = self._images = 0
        self._seconds: list[float] = []
        self._started = 0.0
        self._clock = time.perf_counter

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.strategy.root_device.type == "cpu":
            self._clock = time.process_time  # seconds of cores, whatever else the machine does

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        if not self._seconds:
            self._counter = _Flops()
            self._counter.__enter__()  # type: ignore[no-untyped-call]
        self._started = self._clock()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        self._seconds.append(self._clock() - self._started)
        if self._counter is not None and len(self._seconds) == WARM_UP:
            self._counter.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self._flops, self._counter = self._counter.total // WARM_UP, None
            self._images = len(batch.image) * trainer.world_size
        if len(self._seconds) == WARM_UP + MEASURED:
            trainer.should_stop = True

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epochs = trainer.max_epochs if trainer.max_epochs is not None else -1
        of_epochs = [epochs * int(trainer.num_training_batches)] if epochs > 0 else []
        steps = min([trainer.max_steps, *of_epochs] if trainer.max_steps > 0 else of_epochs, default=0)
        timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
        limits = [timer.time_elapsed() + left for timer in timers if (left := timer.time_remaining()) is not None]
        timed = self._seconds[WARM_UP:] or self._seconds
        facts = {
            "steps": steps,
            "images": self._images,
            "flops": self._flops * trainer.world_size,
            "seconds": sum(timed) / len(timed),
            "most_seconds": min(limits, default=None),
            "devices": trainer.world_size,
        }
        trainer.save_checkpoint(Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt")
        if trainer.is_global_zero:
            write_text(self.out, json.dumps(facts, indent=1) + "\n")
