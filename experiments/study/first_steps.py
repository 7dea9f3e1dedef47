"""What a training costs, from its first steps: a callback."""

import json
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Timer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from experiments.files.write import write_text
from lit_inpaint.epochs import last_step

WARM_UP, MEASURED = 2, 4  # steps. Operations are counted in the first ones, which slows


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


@dataclass
class _Phase:
    """A stretch of a training whose steps are alike; ``steps`` is 0 where nothing says how many."""

    after: int
    steps: int
    turn: int
    flops: int = 0
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Whole turns of networks that are trained in turn, as far as the phase has them."""
        ends = [-(-count // self.turn) * self.turn for count in (WARM_UP, MEASURED)]
        self.warm_up = min(ends[0], self.steps or ends[0])
        self.last = min(sum(ends), self.steps or sum(ends))

    @property
    def facts(self) -> dict[str, float]:
        timed = self.seconds[self.warm_up :] or self.seconds
        return {"steps": self.steps, "flops": self.flops, "seconds": sum(timed) / len(timed)}


class FirstSteps(L.Callback):
    """Stop after the first six steps of every phase and write what a step takes; the checkpoint then serves stages that
    need one.

    The step count jumps from the first steps of a phase to the next phase; a method says where those begin
    (``Stage.changes_after``) and how many steps a turn of its networks takes (``Stage.turn``).

    Args:
        out: JSON with the processor, images per step and, per phase, its steps with their seconds and FLOPs. Seconds
            are those of the cores on a CPU.
    """

    def __init__(self, out: str) -> None:
        self.out = Path(out)
        self._counter: _Flops | None = None
        self._images = 0
        self._phases: list[_Phase] = []
        self._ahead: list[_Phase] = []
        self._started = 0.0
        self._clock = time.perf_counter

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.strategy.root_device.type == "cpu":
            self._clock = time.process_time  # seconds of cores, whatever else the machine does
        steps, turn = last_step(trainer) or 0, getattr(pl_module, "turn", 1)
        changes = [step for step in getattr(pl_module, "changes_after", ()) if step > 0 and not 0 < steps <= step]
        spans = zip([0, *changes], [*changes, steps], strict=True)
        self._ahead = [_Phase(begin, max(end - begin, 0), turn) for begin, end in spans]
        self._phases.append(self._ahead.pop(0))

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        if not self._phases[-1].seconds:
            if after := self._phases[-1].after:
                counted = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.total
                counted.ready = counted.completed = after
            self._counter = _Flops()
            self._counter.__enter__()  # type: ignore[no-untyped-call]
        self._started = self._clock()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        phase = self._phases[-1]
        phase.seconds.append(self._clock() - self._started)
        self._images = len(batch.image) * trainer.world_size
        if self._counter is not None and len(phase.seconds) == phase.warm_up:
            self._counter.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            phase.flops, self._counter = self._counter.total // phase.warm_up * trainer.world_size, None
        if len(phase.seconds) == phase.last:
            if self._ahead:
                self._phases.append(self._ahead.pop(0))
            else:
                trainer.should_stop = True

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
        limits = [timer.time_elapsed() + left for timer in timers if (left := timer.time_remaining()) is not None]
        facts = {
            "processor": processor(trainer.strategy.root_device),
            "images": self._images,
            "phases": [phase.facts for phase in self._phases if phase.seconds],
            "most_seconds": min(limits, default=None),
            "devices": trainer.world_size,
        }
        trainer.save_checkpoint(Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt")
        if trainer.is_global_zero:
            write_text(self.out, json.dumps(facts, indent=1) + "\n")


def processor(device: torch.device) -> str:
    """Its name as the system gives it: ``NVIDIA H200``, ``AMD EPYC 9654 96-Core Processor``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text(errors="replace").splitlines() if cpus.is_file() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()
