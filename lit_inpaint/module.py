"""What every inpainting method promises: the contract of fill / predict / forward / sample, and equal evaluation."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint.metrics import CHEAP, ImageMean
from masks.convention import InpaintingBatch, composite, erase, hole_box


class NonFiniteLossError(ValueError):
    """A loss was NaN or infinite and ``non_finite`` is "stop"; the command line says a ValueError in one line."""


class InpaintingModule(L.LightningModule, ABC):
    """One paper: its networks, its training step, and :meth:`fill`.

    The base owns only what must be equal for a fair comparison. ``training_step`` and ``configure_optimizers`` are the
    paper's; every optimiser step goes through :meth:`optimise`, so that ``trainer.global_step`` counts batches.

    Args:
        accumulate: Blocks of :meth:`optimise` (one a batch in most methods) whose gradients an optimiser averages
            before it steps; a checkpoint between two such steps loses the gradients so far.
        clip_norm: Largest norm of the gradient of one optimiser's parameters; None leaves it alone.
        non_finite: What a NaN or infinite loss does: "stop" names the step and ends the run before the weights change,
            "skip" leaves out that one update, counts it in ``train/skipped`` and goes on.
    """

    year: ClassVar[int]
    paper: ClassVar[str]  # authors, title, venue: what `lit-inpaint methods` prints
    imports: ClassVar[tuple[str, ...]] = ()  # weight formats that weights.py of the method reads
    trainable: ClassVar[bool] = True
    diverse: ClassVar[bool] = False  # True: sample() gives different completions for different seeds
    averaged: ClassVar[tuple[str, ...]] = ("generator",)  # the networks that fill() uses: what EMA averages
    multiple: int = 1  # sides are padded (reflected) to a multiple of this
    fixed_size: int | None = (
        None  # the only side the network takes: cropped around the hole or resized, see adaptation()
    )

    def __init__(
        self,
        accumulate: int = 1,
        clip_norm: float | None = None,
        non_finite: Literal["stop", "skip"] = "stop",
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.accumulate, self.clip_norm, self.non_finite = accumulate, clip_norm, non_finite
        self.generator_updates = 0
        self.skipped = 0
        self._accumulated: dict[int, int] = {}  # blocks since an optimiser's last step
        self.weights: Literal["ema", "raw"] = "ema"  # which ones on_load_checkpoint prefers outside fit
        self.loaded_weights: Literal["ema", "raw", "none"] = "none"  # which ones it took
        self._metrics: dict[str, ImageMean] = {}

    # ---- from an image and a mask to a completed image ------------------------------------------------------------

    @abstractmethod
    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        """The paper's network(s): (B, 3, H, W) with 0 in the hole and (B, 1, H, W) in, the whole image in [-1, 1] out.

        ``generators``: one an image, on the CPU; what is random is drawn from them alone where they are given.
        """

    def predict(self, image: Tensor, mask: Tensor, **guides: Any) -> Tensor:
        """Erase, then :meth:`fill`: the network never sees the hole. Sides must suit the network."""
        return self.fill(erase(image, mask), mask, **guides)

    def forward(self, image: Tensor, mask: Tensor, **guides: Any) -> Tensor:
        """Complete images of any size; known pixels come back untouched, the hole is clipped to [-1, 1]."""
        if self.fixed_size and tuple(image.shape[-2:]) != (self.fixed_size, self.fixed_size):
            prediction = self._at_fixed_size(image, mask, **guides)
        else:
            height, width = image.shape[-2:]
            pad = (0, -width % self.multiple, 0, -height % self.multiple)
            mode = "reflect" if pad[1] < width and pad[3] < height else "replicate"
            padded = {k: F.pad(v, pad) if isinstance(v, Tensor) else v for k, v in guides.items()}
            # The mask is mirrored like the image: a mirrored hole that counts as known would show the truth.
            image_, mask_ = (F.pad(image, pad, mode), F.pad(mask, pad, mode)) if any(pad) else (image, mask)
            prediction = self.predict(image_, mask_, **padded)[..., :height, :width]
        return composite(prediction.clamp(-1, 1), image, mask)

    def sample(self, image: Tensor, mask: Tensor, n: int, seed: int = 0, names: Sequence[str] | None = None) -> Tensor:
        """``n`` completions of each image, (n, B, 3, H, W). The same (seed, name, number) gives the same completion on
        any batch size and device. A method that is not ``diverse`` returns one completion n times."""
        if not self.diverse:
            return self(image, mask).expand(n, *image.shape)
        names = names or [str(index) for index in range(len(image))]
        return torch.stack([self(image, mask, generators=keyed_generators(seed, names, k)) for k in range(n)])

    def adaptation(self, mask: Tensor) -> str | None:
        """What :meth:`forward` does to one image (mask (1, H, W) or (H, W)) that a fixed-size network cannot take."""
        height, width = mask.shape[-2:]
        if not self.fixed_size or (height, width) == (self.fixed_size, self.fixed_size):
            return None
        if self._crop_box(mask):
            return f"cropped {self.fixed_size}x{self.fixed_size} around the hole"
        return f"resized {width}x{height} to {self.fixed_size}x{self.fixed_size} and back"

    def _crop_box(self, mask: Tensor) -> tuple[int, int] | None:
        """Top-left corner of a fixed-size crop, centred on the hole and clamped; None if hole or image do not suit."""
        size, (height, width) = self.fixed_size or 0, mask.shape[-2:]
        top, left, bottom, right = hole_box(mask)
        if min(height, width) < size or max(bottom - top, right - left) > size:
            return None
        return (
            min(max((top + bottom - size) // 2, 0), height - size),
            min(max((left + right - size) // 2, 0), width - size),
        )

    def _at_fixed_size(self, image: Tensor, mask: Tensor, **guides: Any) -> Tensor:
        size, out = self.fixed_size or 0, []
        generators = guides.pop("generators", None)
        for i in range(len(image)):
            one: dict[str, Any] = {k: v[i : i + 1] if isinstance(v, Tensor) else v for k, v in guides.items()}
            if generators is not None:
                one["generators"] = generators[i : i + 1]
            x, m, corner = image[i : i + 1], mask[i : i + 1], self._crop_box(mask[i])
            if corner:
                window = (..., slice(corner[0], corner[0] + size), slice(corner[1], corner[1] + size))
                one = {k: v[window] if isinstance(v, Tensor) else v for k, v in one.items()}
                whole = x.clone()
                whole[window] = self.predict(x[window], m[window], **one)
            else:
                one = {k: F.interpolate(v, (size, size)) if isinstance(v, Tensor) else v for k, v in one.items()}
                small = F.interpolate(x, (size, size), mode="bilinear", antialias=True).clamp(-1, 1)
                hole = (F.interpolate(m, (size, size), mode="bilinear", antialias=True) > 0).to(m.dtype)  # never a leak
                filled = self.predict(small, hole, **one)
                whole = F.interpolate(filled, tuple(x.shape[-2:]), mode="bilinear", antialias=True)
            out.append(whole)
        return torch.cat(out)

    # ---- training: one optimiser step ------------------------------------------------------------------------------

    @contextmanager
    def optimise(self, optimizer: LightningOptimizer) -> Iterator[Callable[[Tensor], None]]:
        """One update of one optimiser, inside which only its own parameters require gradients.

        >>> with self.optimise(optimizer_d) as minimise:  # doctest: +SKIP
        ...     critic_loss = hinge_critic(self.discriminator(real), self.discriminator(fake))
        ...     minimise(critic_loss)

        ``minimise`` may be called several times (a penalty as a backward of its own): gradients add up, and the step is
        taken when the block ends. Nothing is stepped if the block raises, and ``requires_grad`` is restored.
        """
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        others = [p for p in self.parameters() if p.requires_grad and id(p) not in own]
        backward_done, key = [], id(optimizer.optimizer)
        blocks = self._accumulated[key] = self._accumulated.get(key, 0) + 1  # not every optimiser has every batch
        ready = blocks >= self.accumulate or self.trainer.is_last_batch

        def minimise(loss: Tensor) -> None:
            if not self._is_finite(loss):
                backward_done.append(False)
                return
            self.manual_backward(loss / self.accumulate)
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
            optimizer.zero_grad()
            self._accumulated[key] = 0
        elif backward_done and ready:
            if self.clip_norm is not None:
                self.clip_gradients(optimizer.optimizer, self.clip_norm, "norm")
            optimizer._on_before_step = optimizer._on_after_step = lambda: None  # counted in on_train_batch_start
            optimizer.step()
            optimizer.zero_grad()
            self._accumulated[key] = 0
            if any(id(p) in own for name in self.averaged for p in getattr(self, name).parameters()):
                self.generator_updates += 1
                for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
                    if hasattr(callback, "on_generator_update"):
                        callback.on_generator_update(self.trainer, self)

    def _is_finite(self, loss: Tensor) -> bool:
        """Whether the loss is finite on every rank, so that all ranks take the same branch."""
        finite = torch.isfinite(loss.detach()).all()
        if self.trainer.world_size > 1:
            finite = self.trainer.strategy.reduce(finite.float(), reduce_op="sum") >= self.trainer.world_size
        if bool(finite):
            return True
        if self.non_finite == "stop":
            raise NonFiniteLossError(
                f"loss is {loss.item():g} at step {self.trainer.global_step} (epoch {self.current_epoch}); this "
                "update was not made. Lower the learning rate, set clip_norm, or set non_finite to skip."
            )
        return False

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Count the batch in ``trainer.global_step``, once, however many optimisers will step in it, and make the draws
        inside the model depend on (seed, batch, rank) alone, so that a resumed run repeats them."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        torch.manual_seed(_key(seed, self.trainer.global_step, self.global_rank))
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()
        # "step" is Lightning's key for the x-axis and for checkpoint names; without it curves are one behind the files.
        self.log("step", float(self.trainer.global_step))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.log("generator_updates", float(self.generator_updates))

    # ---- evaluation: equal for every method ------------------------------------------------------------------------

    def validation_step(self, batch: InpaintingBatch, batch_idx: int) -> Tensor:
        return self._evaluate(batch)

    def test_step(self, batch: InpaintingBatch, batch_idx: int) -> Tensor:
        return self._evaluate(batch)

    def predict_step(self, batch: InpaintingBatch, batch_idx: int) -> Tensor:
        return self(batch.image, batch.mask, **self._guides(batch))

    def _guides(self, batch: InpaintingBatch) -> dict[str, Any]:
        return {"generators": keyed_generators(0, batch.name, 0)} if self.diverse else {}

    def _evaluate(self, batch: InpaintingBatch) -> Tensor:
        inpainted = self(batch.image, batch.mask, **self._guides(batch))
        for metric in self._metrics.values():
            metric.update(inpainted, batch.image, batch.mask)
        return inpainted

    def _start_metrics(self) -> None:
        # Made here, not in __init__: they are no part of the method, and __init__ must work on the meta device.
        self._metrics = {name: ImageMean(name).to(self.device) for name in CHEAP}

    def _log_metrics(self, stage: str) -> None:
        values: dict[str, Any] = {f"{stage}/{name}": metric.compute() for name, metric in self._metrics.items()}
        step = {"step": float(self.trainer.global_step)} if stage == "val" else {}
        self.log_dict(values | step, sync_dist=False)

    def on_validation_epoch_start(self) -> None:
        self._start_metrics()

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    def on_test_epoch_start(self) -> None:
        self._start_metrics()

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test")

    # ---- checkpoints -------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["method"] = type(self).__name__
        checkpoint["generator_updates"] = self.generator_updates
        checkpoint["skipped"] = self.skipped

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Fitting goes on from the raw weights; everything else uses the averaged ones where the file has them."""
        self.generator_updates = checkpoint.get("generator_updates", 0)
        self.skipped = checkpoint.get("skipped", 0)
        fitting = self._trainer is not None and self._trainer.state.fn == "fit"
        averaged = {} if fitting or self.weights == "raw" else checkpoint.get("ema", {})
        for name, state in averaged.items():
            checkpoint["state_dict"].update({f"{name}.{key}": value for key, value in state.items()})
        self.loaded_weights = "ema" if averaged else "raw"


def parameter_counts(module: nn.Module) -> dict[str, int]:
    """Trainable parameters of each network of a method, by attribute."""
    counts = {name: sum(p.numel() for p in child.parameters()) for name, child in module.named_children()}
    return {name: count for name, count in counts.items() if count}


def keyed_generators(seed: int, names: Sequence[str], number: int) -> list[torch.Generator]:
    """One CPU generator an image, keyed by (seed, image name, sample number)."""
    return [torch.Generator().manual_seed(_key(seed, name, number)) for name in names]


def _key(*parts: int | str) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "big")
