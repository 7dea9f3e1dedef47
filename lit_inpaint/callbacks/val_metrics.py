"""Any metric of docs/metrics.md after each validation, to monitor and to stop by."""

import sys
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor

from lit_inpaint.metrics import (
    CHEAP,
    ImageMean,
    InceptionMetrics,
    Metric,
    metric,
    one_per_image,
    refusal,
    round_to_8_bits,
    unavailable,
)
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch


class ValMetrics(L.Callback):
    """Log ``val/NAME`` for each name beside the metrics that every validation logs.

    What is measured is what the validation completes: for a method that samples, its ``validation_images``. Processes
    merge what they have of each metric, features of set metrics included. On the command line, ``--val_metrics``.

    >>> ValMetrics(["psnr_pooled", "l1_relative_sum"]).names
    ('psnr_pooled', 'l1_relative_sum')

    Args:
        names: Names of metrics, as accepted by :func:`lit_inpaint.metrics.metric`.

    Raises:
        ValueError: A metric is unknown, cannot be computed on this machine, or needs more than one completion and its
            truth.
    """

    def __init__(self, names: Sequence[str]) -> None:
        if isinstance(names, str):
            raise ValueError(f"val_metrics is {names!r}; expected a list of names: [{names}].")
        self.names = tuple(dict.fromkeys(names))
        for name in self.names:
            if reason := _impossible(metric(name)) or unavailable(name):
                raise ValueError(f"val_metrics: {name} cannot be measured: {reason}")
        self._means: dict[str, ImageMean] = {}
        self._sets: list[InceptionMetrics] = []

    def check(self, module: L.LightningModule, images: int, sample: InpaintingBatch | None = None) -> None:
        """Whether a validation of so many images can measure every metric, tried on one of them.

        Raises:
            ValueError: It cannot.
        """
        if self.names and not isinstance(module, InpaintingModule):
            name = type(module).__name__
            raise ValueError(
                f"val_metrics: {name} completes no images, which {self.names[0]} is measured on; remove it."
            )
        most = getattr(module, "validation_images", images)
        limit = f" (validation_images of {type(module).__name__})" if most < images else ""
        for name in self.names:
            function = metric(name)
            if said := refusal(function, min(most, images)):
                others = "kid and kid_paired do with 50" if function.least > 50 else "measure more images"
                raise ValueError(f"val_metrics: {said}{limit}; {others}.")
            if sample is not None:
                image, mask = sample.image[None], sample.mask[None]
                try:
                    if function.features:
                        function.features.extract(image)
                    else:
                        one_per_image(function, function(image, image, mask), 1)
                except ValueError as error:
                    raise ValueError(f"val_metrics: {name} cannot be measured: {error}") from error

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.check(pl_module, sys.maxsize)
        chosen = {name: metric(name) for name in self.names if name not in CHEAP}  # those are the module's to log
        self._means = {name: ImageMean(name).to(pl_module.device) for name, m in chosen.items() if not m.features}
        self._sets = []
        for features in dict.fromkeys(m.features for m in chosen.values() if m.features):
            names = [name for name, m in chosen.items() if m.features == features]
            of_set = InceptionMetrics(names, features.extract).to(pl_module.device)
            none = torch.zeros(0, features.dimensions, device=pl_module.device)  # a process may have no image at all
            of_set.fake, of_set.real = [none], [none]
            self._sets.append(of_set)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: object,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not isinstance(outputs, Tensor):  # a method that samples has completed its validation_images
            return
        completed, truth, mask = outputs.float(), batch.image[: len(outputs)], batch.mask[: len(outputs)]
        for mean in self._means.values():
            mean.update(completed, truth, mask)
        finite = completed.isfinite().flatten(1).all(1)
        if self._sets and finite.any():
            for of_set in self._sets:
                of_set.update(round_to_8_bits(completed[finite]), round_to_8_bits(truth[finite]))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        values: dict[str, Tensor] = {name: mean.compute() for name, mean in self._means.items()}
        for of_set in self._sets:
            values |= of_set.compute()
        pl_module.log_dict({f"val/{name}": value for name, value in values.items()}, sync_dist=False)
        self._means, self._sets = {}, []  # features of a large set are not kept while it trains


def _impossible(function: Metric) -> str | None:
    """Why no validation can measure it."""
    if function.of_samples:
        return (
            "it compares completions of one image, and a validation makes one of each; `lit-inpaint benchmark` has it."
        )
    if function.of_prompts:
        return "it needs the prompt of each image, which a protocol names; `lit-inpaint benchmark` has it."
    return None
