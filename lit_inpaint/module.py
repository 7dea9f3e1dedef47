"""An inpainting method as a LightningModule: what it takes to be trained, and equal evaluation."""

from typing import Any, ClassVar

from torch import Tensor

from lit_inpaint.method import Method
from lit_inpaint.metrics import CHEAP, ImageMean
from lit_inpaint.stage import Stage
from masks.convention import InpaintingBatch


class InpaintingModule(Stage, Method):
    """One paper: its networks, its training step, and :meth:`fill`.

    The base owns only what must be equal for a fair comparison. ``training_step`` and ``configure_optimizers`` are the
    paper's; every optimiser step goes through :meth:`Stage.optimise`.

    >>> from lit_inpaint.methods import PartialConv
    >>> issubclass(PartialConv, InpaintingModule), PartialConv.trainable, PartialConv.year
    (True, True, 2018)

    Args:
        optimisation: ``accumulate``, ``clip_norm``, ``non_finite``, ``optimizers``, ``schedules`` of :class:`Stage`.
    """

    stages: ClassVar[dict[str, type[Stage]]] = {}

    @classmethod
    def arguments_of(cls, checkpoints: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """The constructor's arguments from checkpoints of the ``stages``; raises if they do not belong together."""
        raise NotImplementedError(f"{cls.__name__} has no stages.")

    def __init__(self, **optimisation: Any) -> None:
        super().__init__(**optimisation)
        self._metrics: dict[str, ImageMean] = {}

    forward = Method.forward  # before Lightning's

    def validation_step(self, batch: InpaintingBatch, batch_idx: int) -> Tensor:
        return self._evaluate(batch)

    def test_step(self, batch: InpaintingBatch, batch_idx: int) -> Tensor:
        return self._evaluate(batch)

    def predict_step(self, batch: InpaintingBatch, batch_idx: int) -> Tensor:
        return self.complete_unchecked(batch.image, batch.mask, **self.draws(0, batch.name))

    def _evaluate(self, batch: InpaintingBatch) -> Tensor:
        inpainted = self.complete_unchecked(batch.image, batch.mask, **self.draws(0, batch.name))
        for metric in self._metrics.values():
            metric.update(inpainted, batch.image, batch.mask)
        return inpainted

    def _start_metrics(self) -> None:
        # Made here, not in __init__: they are no part of the method, and __init__ must work on the meta device.
        self._metrics = {name: ImageMean(name).to(self.device) for name in CHEAP}

    def _log_metrics(self, stage: str) -> None:
        values: dict[str, Tensor | float] = {
            f"{stage}/{name}": metric.compute() for name, metric in self._metrics.items()
        }
        step = {"step": float(self.trainer.global_step)} if stage == "val" else {}
        self.log_dict({**values, **step}, sync_dist=False)

    def on_validation_epoch_start(self) -> None:
        self._start_metrics()

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    def on_test_epoch_start(self) -> None:
        self._start_metrics()

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test")
