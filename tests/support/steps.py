"""What every optimiser step of a fit did, for comparisons with the training step of a published program."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import lightning as L
import pytest
import torch
from torch import Tensor

from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch
from tests.support.fitting import fit


class Step(NamedTuple):
    """One step of one optimiser: norms over all its parameters, and the gradients of some."""

    network: str
    gradient: float
    update: float
    picked: list[float]


class _Record(L.Callback):
    def __init__(self, picked: Sequence[str]) -> None:
        self.picked = picked
        self.steps: list[Step] = []
        self.logged: list[dict[str, float]] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for optimizer in trainer.optimizers:
            self._watch(optimizer, dict(pl_module.named_parameters()))

    def _watch(self, optimizer: torch.optim.Optimizer, parameters: dict[str, Tensor]) -> None:
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        mine = {name: p for name, p in parameters.items() if id(p) in own}
        before: list[Tensor] = []

        def pre(*_: Any) -> None:
            before[:] = [p.detach().clone() for p in mine.values()]
            gradients = {name: p.grad.clone() for name, p in mine.items() if p.grad is not None}
            picked = [x for name in self.picked if name in mine for x in gradients[name].flatten()[:2].tolist()]
            self.steps.append(Step(next(iter(mine)).split(".")[0], _norm(list(gradients.values())), 0, picked))

        def post(*_: Any) -> None:
            update = _norm([p.detach() - q for p, q in zip(mine.values(), before, strict=True)])
            self.steps[-1] = self.steps[-1]._replace(update=update)

        optimizer.register_step_pre_hook(pre)
        optimizer.register_step_post_hook(post)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.logged.append({name: value.item() for name, value in trainer.callback_metrics.items()})


def _norm(tensors: list[Tensor]) -> float:
    return torch.cat([x.flatten() for x in tensors]).norm().item()


def steps_of(
    model: InpaintingModule, items: list[InpaintingBatch], count: int, picked: Sequence[str]
) -> tuple[list[Step], list[dict[str, float]]]:
    """``count`` batches of the same ``items``: each optimiser step, and what was logged after each batch.

    ``picked``: parameters whose first two gradients a step shows.
    """
    record = _Record(picked)
    fit(model, items, count, callbacks=[record])
    return record.steps, record.logged


def assert_steps(found: Sequence[Step], expected: Sequence[Step], first: float = 1e-4, later: float = 1e-2) -> None:
    """Each network's first step equals the published one within ``first`` of its size, the others within ``later``."""
    assert [step.network for step in found] == [step.network for step in expected]
    seen: set[str] = set()
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        tolerance = later if theirs.network in seen else first
        seen.add(theirs.network)
        where = f"step {number} of the {theirs.network}"
        assert ours.gradient == pytest.approx(theirs.gradient, rel=tolerance), where
        assert ours.update == pytest.approx(theirs.update, rel=tolerance), where
        scale = max(map(abs, theirs.picked), default=0.0)
        assert ours.picked == pytest.approx(theirs.picked, rel=tolerance, abs=tolerance * scale), where
