"""What methods with a denoiser share: the choice of a sampler, its progress, and a validation that stays cheap."""

import logging
import sys
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any, ClassVar

import torch
from lightning.pytorch.trainer.states import TrainerFn, TrainerStatus
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torchmetrics import MeanMetric
from tqdm import tqdm

from lit_inpaint.calls import counted
from lit_inpaint.diffusion import samplers
from lit_inpaint.diffusion.samplers import Refinement, Sampler
from lit_inpaint.diffusion.samplers.base import Network
from lit_inpaint.diffusion.schedules import Diffusion, Variance
from lit_inpaint.method import keyed_generators
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch

logger = logging.getLogger(__name__)


class DenoisingModule(InpaintingModule):
    """A method whose ``denoiser`` is called many times per image. Training and loss are the paper's, as everywhere.

    Fit and validate sample with ``validation_sampler``, and only the first ``validation_images`` images; test, predict,
    benchmark and inpaint use ``sampler``. Checkpoints keep both as plain values.
    """

    diverse: ClassVar[bool] = True
    averaged: ClassVar[tuple[str, ...]] = ("denoiser",)
    settings: ClassVar[tuple[str, ...]] = ("sampler", "validation_sampler", "validation_images")
    told_known: bool = False  # whether the denoiser sees the known part beside x_t
    sampler: Sampler
    validation_sampler: Sampler
    validation_images: int
    given: dict[str, Sampler | None]  # those that the constructor was given, by argument

    def choose_samplers(
        self, sampler: Sampler | None, validation_sampler: Sampler | None, published: Sampler, cheap: Sampler
    ) -> None:
        """Called once by the constructor, with those that it was given and those that stand in for None."""
        self.refuse_unsuited(sampler, validation_sampler)
        self.given = {"sampler": sampler, "validation_sampler": validation_sampler}
        self.sampler, self.validation_sampler = sampler or published, validation_sampler or cheap
        self._announced: set[Sampler] = set()

    def refuse_unsuited(self, *given: Sampler | None) -> None:
        """
        Raises:
            ValueError: A sampler is for denoisers that are told the known part, and this one is not; or the other way.
        """
        for sampler in filter(None, given):
            if isinstance(sampler, Refinement) != self.told_known:
                told, wanted = (
                    ("not told", "DDIM or Refinement") if self.told_known else ("told", "RePaint or RePaintDDIM")
                )
                raise ValueError(
                    f"{type(sampler).__name__} is for denoisers that are {told} the known part; give "
                    f"{type(self).__name__} another sampler, such as {wanted}."
                )

    def on_fit_start(self) -> None:
        calls = self.validation_sampler.network_calls
        _say(
            f"validation: {self.validation_sampler}, {calls} network calls per image, {self.validation_images} images: "
            f"{calls * self.validation_images} calls per validation"
        )

    def run_sampler(
        self,
        network: Network,
        diffusion: Diffusion,
        known: Tensor,
        mask: Tensor,
        generators: Sequence[torch.Generator] | None,
        variance: Variance,
    ) -> Tensor:
        """Complete a batch with the sampler of the present command, under a progress bar where one is wanted."""
        state = self._trainer.state if self._trainer is not None else None
        cheap = (  # in a fit, whose panels count, and in validate
            state is not None
            and state.fn in (TrainerFn.FITTING, TrainerFn.VALIDATING)
            and state.status == TrainerStatus.RUNNING
        )
        sampler = self.validation_sampler if cheap else self.sampler
        if sampler not in self._announced and not cheap:
            self._announced.add(sampler)
            cost = f"{sampler.network_calls} network calls per image"
            rank_zero_only(logger.info)("sampling: %s, %s; known pixels are pasted at the end", sampler, cost)
        told = not cheap and logger.isEnabledFor(logging.INFO)
        with (
            tqdm(total=sampler.network_calls, disable=None if told else True, leave=False) as bar,
            nullcontext() if cheap else counted(self, bar.update),
        ):
            return sampler(network, diffusion, known, mask, generators, variance)

    # ---- validation: cheap ---------------------------------------------------------------------------------------

    @abstractmethod
    def denoising_error(self, batch: InpaintingBatch, generators: Sequence[torch.Generator]) -> Tensor:
        """What training minimises, one value per image, (B,), with draws from one CPU generator per image."""

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        self._denoising = MeanMetric().to(self.device)
        self._seen = 0

    def validation_step(self, batch: InpaintingBatch, batch_idx: int) -> Tensor | None:  # type: ignore[override]
        """The denoising error of every image; completions of the first few images, or None once they are done."""
        self._denoising.update(self.denoising_error(batch, keyed_generators(0, batch.name, -1)))
        # This rank holds every world_size-th image of the set.
        quota = -((self.global_rank - self.validation_images) // self.trainer.world_size) - self._seen
        self._seen += len(batch.image)
        if quota <= 0:
            return None
        return self._evaluate(InpaintingBatch(batch.image[:quota], batch.mask[:quota], batch.name[:quota]))

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self.log("val/simple", self._denoising.compute())

    # ---- checkpoints: samplers as plain values -------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        for role, sampler in self.given.items():
            if sampler is not None:
                checkpoint[role] = {"class_path": _name_of(type(sampler)), "init_args": asdict(sampler)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The samplers of the run that wrote the checkpoint, unless this module was given its own.

        Raises:
            ValueError: The checkpoint's sampler cannot be made.
        """
        super().on_load_checkpoint(checkpoint)
        for role, given in self.given.items():
            stored = checkpoint.get(role)
            if given is None and stored:
                try:
                    self.given[role] = _class_of(stored["class_path"])(**stored["init_args"])
                    self.refuse_unsuited(self.given[role])
                except (TypeError, ValueError) as error:
                    raise ValueError(f"the checkpoint's {role} {stored} cannot be made: {error}") from error
                setattr(self, role, self.given[role])


def _name_of(kind: type[Sampler]) -> str:
    ours = getattr(samplers, kind.__name__, None) is kind
    return kind.__name__ if ours else f"{kind.__module__}.{kind.__qualname__}"


def _class_of(path: str) -> type[Sampler]:
    """
    Raises:
        ValueError: There is none of that name among ours and what is imported.
    """
    module, _, name = path.rpartition(".")
    found = getattr(sys.modules.get(module) if module else samplers, name, None)
    if not (isinstance(found, type) and issubclass(found, Sampler)):
        raise ValueError(f"it is not imported. If you trust it, add --import {module or 'package.module'}.")
    return found


@rank_zero_only
def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
