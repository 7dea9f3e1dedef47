"""What every trained stage shares: one optimiser step, batches counted once, draws that a resume repeats, averages."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from typing import Any, ClassVar, Literal

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from lit_inpaint.checkpoints import FORMAT
from lit_inpaint.ddp import check_strategy
from lit_inpaint.epochs import finish_epoch
from lit_inpaint.method import key as key
from lit_inpaint.optimisers import apply_again, configured, networks_of, rates, step

_SETTINGS: tuple[str, ...] = ("accumulate", "clip_norm", "non_finite", "betas", "learning_rate", "lr")
_SETTINGS += ("discriminator_learning_rate", "discriminator_lr", "optimizers", "schedules")


class NonFiniteLossError(ValueError):
    """A loss was NaN or infinite and ``non_finite`` is "stop"; the command line reports it in one line."""


class Stage(L.LightningModule):
    """A LightningModule whose optimiser steps go through :meth:`optimise`; ``trainer.global_step`` counts batches.

    ``training_step`` and ``configure_optimizers`` are the paper's. A stage that cannot complete an image (a VQ-VAE, a
    transformer over tokens) derives from this class and logs ``val/loss``; one that can is an ``InpaintingModule``.

    >>> from lit_inpaint.classes import stage_classes
    >>> [name for name, stage in stage_classes().items() if name.startswith("ICT")]
    ['ICT', 'ICTTransformer', 'ICTUpsampler']

    Args:
        accumulate: Blocks of :meth:`optimise` (one a batch in most methods) whose gradients an optimiser averages
            before it steps; a checkpoint between two such steps holds the gradients so far (docs/reliability.md).
        clip_norm: Maximum gradient norm per optimiser; None disables clipping.
        non_finite: What a NaN or infinite loss does: "stop" names the step and ends the run before the weights change,
            "skip" leaves out that one update and what its batch left in buffers (statistics of batch norm), counts it
            in ``train/skipped`` and continues.
        optimizers: By network, {class_path, init_args}: another optimiser than the paper's, which keeps its learning
            rate unless init_args states ``lr``.
        schedules: By network, {class_path, init_args} of a class of ``torch.optim.lr_scheduler``, which steps after
            every batch and replaces the paper's own schedule, if it has one.
    """

    needs: ClassVar[tuple[str, ...]] = ()  # names in lit_inpaint.backbones.BACKBONES: what published training stands on
    averaged: ClassVar[tuple[str, ...]] = ("generator",)  # the networks that evaluation uses: what EMA averages
    uncompiled: ClassVar[dict[str, str]] = {}  # networks that torch.compile does not suit, and why
    extends: ClassVar[tuple[str, ...]] = ()  # arguments that may add to a network whose weights a fit starts from
    settings: ClassVar[tuple[str, ...]] = ()  # arguments that weights do not depend on, beside those of _SETTINGS

    def __init__(
        self,
        accumulate: int = 1,
        clip_norm: float | None = None,
        non_finite: Literal["stop", "skip"] = "stop",
        optimizers: dict[str, dict[str, Any]] | None = None,
        schedules: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.accumulate, self.clip_norm, self.non_finite = accumulate, clip_norm, non_finite
        self.replaced, self.schedules = optimizers or {}, schedules or {}  # Lightning's `optimizers` are those in use
        if self.replaced or self.schedules:
            self.configure_optimizers = self._configured  # type: ignore[method-assign]
        self._rates_changed = False  # by the resumed run's configuration
        self.generator_updates = 0
        self.skipped = 0
        self.judgements: list[tuple[Tensor, Tensor]] = []  # of the batch in progress, see note_margin
        self._buffers_before: list[Tensor] = []  # this batch, where it may be left out
        self._accumulated: dict[int, int] = {}  # blocks since an optimiser's last step
        self._unfinished: list[
            tuple[int, list[Tensor | None]]
        ] = []  # of a checkpoint: such blocks, and their gradients
        self.weights: Literal["ema", "raw"] = "ema"  # which ones on_load_checkpoint prefers outside fit
        self.loaded_weights: Literal["ema", "raw", "none"] = "none"  # which ones it took

    def extended(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Weights that a fit starts from, for this network where ``extends`` has given it more than they are for."""
        return state

    @classmethod
    def function_arguments(cls, arguments: Mapping[str, object]) -> dict[str, object]:
        """Those of the constructor's ``arguments`` that say which function the networks compute (``variant``, widths).

        Weights belong to these; what sets the training alone (``settings``, learning rates, weights of losses) is free.
        """
        settings = {*_SETTINGS, *cls.settings}
        constructors = (vars(c)["__init__"] for c in cls.__mro__ if "__init__" in vars(c) and issubclass(c, Stage))
        own = {name for constructor in constructors for name in signature(constructor).parameters}
        return {k: v for k, v in arguments.items() if k in own - settings and not k.endswith("_weight")}

    @property
    def changes_after(self) -> tuple[int, ...]:
        """Steps after which a step trains other networks than before: where the phases of a training end."""
        return ()

    @property
    def turn(self) -> int:
        """Steps until networks that are trained in turn, each in batches of its own, come around again."""
        return 1

    def setup(self, stage: str) -> None:
        if stage == "fit":
            check_strategy(self.trainer, self)

    def log(self, name: str, value: Any, *arguments: Any, **how: Any) -> None:
        """Lightning's, but a number stays on the CPU: a copy of it to a GPU makes the host wait. Only a collective
        needs it there."""
        if isinstance(value, int | float) and not how.get("sync_dist"):
            value = torch.tensor(float(value), device="cpu")
        super().log(name, value, *arguments, **how)

    # ---- optimisers of the configuration ----------------------------------------------------------------------------

    def _configured(self) -> Any:
        defaults: Any = type(self).configure_optimizers(self)
        return configured(self, defaults, self.replaced, self.schedules)

    def starting_rate(self, network: str, default: float) -> float:
        """The learning rate that a paper's own schedule scales."""
        stated = (self.replaced.get(network, {}).get("init_args") or {}).get("lr", default)
        return float(stated)

    def _step_schedules(self) -> None:
        """Set the learning rates of this batch, and log them."""
        for config in self.trainer.lr_scheduler_configs:
            if self.trainer.global_step:
                step(config.scheduler)
            alone, optimizer = len(self.trainer.optimizers) == 1, config.scheduler.optimizer
            name = "train/learning_rate" if alone else f"train/{networks_of(self, optimizer)[0]}_learning_rate"
            self.log(name, optimizer.param_groups[0]["lr"])

    # ---- training: one optimiser step ------------------------------------------------------------------------------

    @contextmanager
    def optimise(
        self, optimizer: LightningOptimizer, leaving: nn.Module | None = None
    ) -> Iterator[Callable[..., None]]:
        """One update of one optimiser, inside which only its own parameters require gradients.

        >>> with self.optimise(optimizer_d) as minimise:  # doctest: +SKIP
        ...     discriminator_loss = hinge_discriminator(self.discriminator(real), self.discriminator(fake))
        ...     minimise(discriminator_loss)

        ``minimise(loss, **terms)`` takes what the loss is the sum of by name, for the error about one that is not
        finite: ``minimise(l1 + adversarial, l1=l1, adversarial=adversarial)``. It may be called several times (a
        penalty as a backward of its own): gradients add up, and the step is taken when the block ends. Nothing is
        stepped if the block raises, and ``requires_grad`` is restored.

        ``leaving``: a network whose gradients of this update are left to its own next one, as programs do that clear
        gradients only after a network's own step.
        """
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        kept = own | ({id(p) for p in leaving.parameters()} if leaving else set())
        others = [p for p in self.parameters() if p.requires_grad and id(p) not in kept]
        backward_done, key = [], id(optimizer.optimizer)
        blocks = self._accumulated[key] = self._accumulated.get(key, 0) + 1  # not every optimiser has every batch
        ready = blocks >= self.accumulate or self.trainer.is_last_batch

        def minimise(loss: Tensor, /, *, retain_graph: bool = False, **terms: Tensor) -> None:
            if not self._is_finite(loss, own, terms):
                backward_done.append(False)
                return
            self.manual_backward(loss / self.accumulate, retain_graph=retain_graph)
            backward_done.append(True)

        for p in others:
            p.requires_grad_(False)
        try:
            yield minimise
        finally:
            for p in others:
                p.requires_grad_(True)
        if not all(backward_done):
            self.skipped += 1
            self.log("train/skipped", float(self.skipped))
            for buffer, before in zip(self.buffers(), self._buffers_before, strict=True):
                buffer.data.copy_(before)  # data: backward passes to come have saved some
            optimizer.zero_grad()
            self._accumulated[key] = 0
        elif backward_done and ready:
            if self.clip_norm is not None:
                # Not Lightning's, which rejects fused optimisers under bf16-mixed for a missing scaler.
                owned = [p for group in optimizer.param_groups for p in group["params"]]
                torch.nn.utils.clip_grad_norm_(owned, self.clip_norm)
            optimizer._on_before_step = optimizer._on_after_step = _already_counted
            optimizer.step()
            optimizer.zero_grad()
            self._accumulated[key] = 0
            if any(id(p) in own for name in self.averaged for p in getattr(self, name).parameters()):
                self.generator_updates += 1
                for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
                    if hasattr(callback, "on_generator_update"):
                        callback.on_generator_update(self.trainer, self)

    def note_margin(self, real: Tensor, fake: Tensor) -> None:
        """Keep a discriminator's logits for :class:`lit_inpaint.callbacks.Health`; fake is expected below real."""
        self.judgements.append((real.detach(), fake.detach()))

    def _is_finite(self, loss: Tensor, own: set[int], terms: Mapping[str, Tensor]) -> bool:
        """Whether the loss is finite on every rank, so that all ranks take the same branch."""
        finite = torch.isfinite(loss.detach()).all()
        if self.trainer.world_size > 1:
            finite = self.trainer.strategy.reduce(finite.float(), reduce_op="sum") >= self.trainer.world_size
        if bool(finite):
            return True
        if self.non_finite == "stop":
            mine = not torch.isfinite(loss).all()
            said = f"loss is {loss.item():g}" if mine else "loss is not finite on another rank"
            networks = [name for name, network in self.named_children() if own & {id(p) for p in network.parameters()}]
            summed = {name: value.detach().sum() for name, value in terms.items()}
            named = ", ".join(f"{name} {value.item():g}" for name, value in summed.items() if not value.isfinite())
            raise NonFiniteLossError(
                f"{said} at step {self.trainer.global_step} (epoch {self.current_epoch}), in the update of "
                f"{' and '.join(networks)}{named and f' ({named})'}; this update was skipped. "
                "Lower the learning rate, set clip_norm, or set non_finite to skip."
            )
        return False

    def on_train_start(self) -> None:
        """Optimisers exist now: give back the gradients of an update that the checkpoint cut in two."""
        finish_epoch(self.trainer)
        if self._rates_changed:
            schedules = [config.scheduler for config in self.trainer.lr_scheduler_configs]
            done = max(0, self.trainer.global_step - 1)  # a schedule steps at the start of every batch but the first
            apply_again(self, self.trainer.optimizers, schedules, self.configure_optimizers(), done)
            self._rates_changed = False
        for optimizer, (blocks, gradients) in zip(self.trainer.optimizers, self._unfinished, strict=False):
            self._accumulated[id(optimizer)] = blocks
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = None if gradient is None else gradient.to(parameter)
        self._unfinished = []

    def on_validation_model_zero_grad(self) -> None:
        """Lightning drops gradients before a validation; those between two batches belong to an update to come."""

    def on_validation_start(self) -> None:
        """Running statistics differ between ranks: all evaluate the network of rank 0, which checkpoints hold."""
        if self.trainer.world_size > 1:
            for buffer in self.buffers():
                torch.distributed.broadcast(buffer, 0)

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        """Count the batch in ``trainer.global_step``, once, however many optimisers will step in it, and make the draws
        inside the model depend on (seed, batch, rank) alone, so that a resumed run repeats them."""
        self.judgements = []
        if self.non_finite == "skip":
            self._buffers_before = [buffer.clone() for buffer in self.buffers()]
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        torch.manual_seed(key(seed, self.trainer.global_step, self.global_rank))
        if self.schedules:
            self._step_schedules()
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()
        # "step" is Lightning's key for the x-axis and for checkpoint names; without it curves are one behind the files.
        self.log("step", float(self.trainer.global_step))

    def on_train_batch_end(self, outputs: object, batch: object, batch_idx: int) -> None:
        self.log("generator_updates", float(self.generator_updates))

    # ---- checkpoints -------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        checkpoint["method"], checkpoint["module"] = type(self).__name__, type(self).__module__
        checkpoint["format"] = FORMAT
        checkpoint["generator_updates"] = self.generator_updates
        checkpoint["skipped"] = self.skipped
        checkpoint["accumulated"] = self._unfinished or [  # not given back yet in a validation that Restart repeats
            (self._accumulated.get(id(optimizer), 0), [p.grad for g in optimizer.param_groups for p in g["params"]])
            for optimizer in (self.trainer.optimizers if any(p.grad is not None for p in self.parameters()) else [])
        ]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Fitting resumes from the raw weights; everything else uses the averaged ones where the file has them."""
        self.generator_updates = checkpoint.get("generator_updates", 0)
        self.skipped = checkpoint.get("skipped", 0)
        then = checkpoint.get("hyper_parameters", {}).get("accumulate", self.accumulate)
        self._unfinished = [
            self._carried_over(blocks, gradients, then) for blocks, gradients in checkpoint.get("accumulated", [])
        ]
        fitting = self._trainer is not None and self._trainer.state.fn == "fit"
        past, now = rates(checkpoint.get("hyper_parameters", {})), rates(self.hparams)
        if fitting and {**now, **past} != {**past, **now}:
            self._rates_changed, checkpoint["lr_schedulers"] = True, []
        averaged = {} if fitting or self.weights == "raw" else checkpoint.get("ema", {})
        for name, state in averaged.items():
            checkpoint["state_dict"].update({f"{name}.{key}": value for key, value in state.items()})
        self.loaded_weights = "ema" if averaged else "raw"

    def _carried_over(self, blocks: int, gradients: list[Tensor | None], then: int) -> tuple[int, list[Tensor | None]]:
        """Blocks of an update, and gradients that were divided by the ``accumulate`` of ``then``, for that of now.

        Where it is smaller now, their mean counts as fewer blocks.
        """
        counted = min(blocks, self.accumulate - 1)
        share = counted / blocks * then / self.accumulate if blocks else 1  # GLCIC leaves some
        return counted, [None if gradient is None else gradient * share for gradient in gradients]


def _already_counted() -> None:
    """In place of Lightning's count of optimiser steps: ``on_train_batch_start`` has counted the batch."""
