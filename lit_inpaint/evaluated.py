"""Methods without parameters in a Trainer that validates, tests or predicts."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor

from lit_inpaint.classical import ClassicalModule, UnfillableError
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch


class Evaluated(InpaintingModule):
    """A method without parameters as a LightningModule; errors about an image name it."""

    trainable: ClassVar[bool] = False
    averaged: ClassVar[tuple[str, ...]] = ()

    def __init__(self, method: ClassicalModule) -> None:
        super().__init__()
        self.save_hyperparameters(method.hparams)
        self.method, self.loaded_weights = method, method.loaded_weights

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        return self.method.fill(erased, mask, generators=generators)

    def complete_unchecked(self, image: Tensor, mask: Tensor, **guides: Any) -> Tensor:
        return self.method.complete_unchecked(image, mask, **guides)

    def draws(self, seed: int, names: Sequence[str], number: int = 0) -> dict[str, Any]:
        return self.method.draws(seed, names, number)

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> NoReturn:
        self.configure_optimizers()

    def configure_optimizers(self) -> NoReturn:
        name = type(self).__name__
        raise ValueError(f"{name} has no parameters to fit; use test, predict, benchmark or inpaint.")

    def validation_step(self, batch: InpaintingBatch, batch_idx: int) -> Tensor:
        return _naming(super().validation_step, batch, batch_idx)

    def test_step(self, batch: InpaintingBatch, batch_idx: int) -> Tensor:
        return _naming(super().test_step, batch, batch_idx)

    def predict_step(self, batch: InpaintingBatch, batch_idx: int) -> Tensor:
        return _naming(super().predict_step, batch, batch_idx)


def for_trainer(method: ClassicalModule) -> InpaintingModule:
    """What ``Trainer.test`` takes of a method without parameters, under the method's own name.

    >>> from lit_inpaint import load_method
    >>> type(for_trainer(load_method("Telea"))).__name__
    'Telea'
    """
    name = type(method).__name__
    # A local class: a short name in a configuration still means the method alone.
    evaluated: InpaintingModule = type(name, (Evaluated,), {"__qualname__": f"for_trainer.<locals>.{name}"})(method)
    return evaluated


def _naming(step: Callable[[InpaintingBatch, int], Tensor], batch: InpaintingBatch, batch_idx: int) -> Tensor:
    try:
        return step(batch, batch_idx)
    except UnfillableError as error:
        name = batch.name if isinstance(batch.name, str) else batch.name[error.index]
        raise UnfillableError(error.reason, error.index, name) from None
