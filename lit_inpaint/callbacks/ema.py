"""Exponential moving average of the networks that evaluation uses, and of nothing else."""

import copy
from typing import Any

import lightning as L
import torch
from torch import nn

from lit_inpaint.stage import Stage


class EMA(L.Callback):
    """Average ``module.averaged`` (the generator, the denoiser) after each of its updates.

    weights <- decay * weights + (1 - decay) * new weights, and so for the running statistics of batch norm, which at
    one moment are not those of averaged weights; other buffers are copied. Validation uses the average. It is kept
    beside the raw weights as ``checkpoint["ema"] = {attribute: state_dict}``. Lightning's own callback averages the
    discriminator too, and under manual optimisation counts steps so that an even period never fires.

    >>> EMA(decay=0.999).decay
    0.999

    Args:
        decay: Decay of the average, per update of the generator.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay:g}; expected 0 <= decay < 1, 0.999 for runs of about 10,000 updates.")
        self.decay = decay
        self.average: dict[str, nn.Module] = {}
        self._restored: dict[str, dict[str, torch.Tensor]] | None = None
        self._swapped = False

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not isinstance(pl_module, Stage):
            raise ValueError(
                f"EMA averages the networks listed in `averaged` of a Stage; {type(pl_module).__name__} is not a Stage."
            )
        if missing := [name for name in pl_module.averaged if not hasattr(pl_module, name)]:
            raise ValueError(
                f"{type(pl_module).__name__} has no network {missing[0]!r} to average: name its networks in the class "
                "attribute `averaged`, or call the one that completes images `generator`."
            )
        self.average = {
            name: copy.deepcopy(getattr(pl_module, name)).requires_grad_(False) for name in pl_module.averaged
        }
        for name, state in (self._restored or {}).items():
            self.average[name].load_state_dict(state)

    @torch.no_grad()
    def on_generator_update(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by ``Stage.optimise`` after each optimiser step that moved an averaged network."""
        for name, average in self.average.items():
            network = getattr(pl_module, name)
            torch._foreach_lerp_([*average.parameters()], [p.detach() for p in network.parameters()], 1 - self.decay)
            for (key, mine), theirs in zip(average.named_buffers(), network.buffers(), strict=True):
                if key.endswith(("running_mean", "running_var")):
                    mine.lerp_(theirs, 1 - self.decay)
                else:
                    mine.copy_(theirs)

    def _swap(self, pl_module: L.LightningModule) -> None:
        """Exchange the values in place: optimisers and DDP keep their hold on the tensors."""
        self._swapped = not self._swapped
        with torch.no_grad():
            for name, average in self.average.items():
                for a, b in zip(
                    [*average.parameters(), *average.buffers()],
                    [*getattr(pl_module, name).parameters(), *getattr(pl_module, name).buffers()],
                    strict=True,
                ):
                    kept = a.clone()
                    a.copy_(b)
                    b.copy_(kept)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.average and not self._swapped:
            self._swap(pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._swapped:
            self._swap(pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if self._swapped:
            self._swap(pl_module)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        if not self.average:
            return
        if self._swapped:  # saved during validation: state_dict holds the average, self.average the raw weights
            raw = {n: {k: v.clone() for k, v in m.state_dict().items()} for n, m in self.average.items()}
            checkpoint["ema"] = {n: getattr(pl_module, n).state_dict() for n in self.average}
            for name, state in raw.items():
                checkpoint["state_dict"].update({f"{name}.{k}": v for k, v in state.items()})
        else:
            checkpoint["ema"] = {name: average.state_dict() for name, average in self.average.items()}

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._restored = checkpoint.get("ema")
