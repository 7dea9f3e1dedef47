"""What a number is: the definition that goes into a protocol's hash, and how tables show it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from masks.convention import check_image, check_mask

Rows = NDArray[np.float64]  # (n, d): the features of n images


@dataclass(frozen=True)
class Quantity:
    """How a number is shown and ranked.

    >>> Quantity("PSNR", higher_is_better=True, unit="dB", decimals=2).unit
    'dB'

    Args:
        title: Its name in prose.
        higher_is_better: Which end of the scale wins; None where neither does.
        unit: Unit of the value: "dB", "%".
        decimals: Digits after the point in tables.
        column: Heading of its column, as papers write it; default: the title.
    """

    title: str
    higher_is_better: bool | None
    unit: str = ""
    decimals: int = 4
    column: str = ""


@dataclass(frozen=True)
class Features:
    """A network whose per-image features are kept for set metrics.

    >>> from lit_inpaint.metrics import fid
    >>> fid.features.folder, fid.features.dimensions
    ('features', 2048)

    Args:
        folder: Name of the folder of an evaluation that keeps them.
        extract: (B, 3, H, W) in [-1, 1] to (B, ``dimensions``), on the device of the images.
    """

    folder: str
    extract: Callable[[Tensor], Tensor]
    dimensions: int


class Metric(Protocol):
    """A metric function with its definition from :func:`defined`.

    >>> from lit_inpaint.metrics import metric
    >>> metric("psnr").quantity.unit, metric("fid").of_set
    ('dB', True)
    """

    __name__: str
    definition: str
    quantity: Quantity
    higher_is_better: bool
    validation: int | None
    headline: bool
    of_set: bool
    of_samples: bool
    of_prompts: bool
    after_mean: Callable[[float], float] | None
    features: Features | None
    score: Callable[[Rows, Rows], Mapping[str, float]] | None
    least: int
    least_per_dimension: int
    backbone: str | None
    package: str | None

    def __call__(
        self, prediction: Tensor, target: Tensor, mask: Tensor | None = None, /, **prompts: Sequence[str]
    ) -> Tensor: ...


def defined(
    text: str,
    *,
    title: str,
    higher_is_better: bool,
    unit: str = "",
    decimals: int = 4,
    column: str = "",
    validation: int | None = None,
    headline: bool = False,
    of_samples: bool = False,
    of_prompts: bool = False,
    after_mean: Callable[[float], float] | None = None,
    features: Features | None = None,
    score: Callable[[Rows, Rows], Mapping[str, float]] | None = None,
    least: int = 1,
    least_per_dimension: int = 0,
    backbone: str | None = None,
    package: str | None = None,
) -> Callable[[Callable[..., Tensor]], Metric]:
    """Give a metric its definition; everything that lists, ranks, formats or computes metrics looks it up there.

    >>> @defined("1: mean of the absolute difference", title="Difference", higher_is_better=False)
    ... def difference(prediction, target, mask=None):
    ...     return (prediction - target).abs().mean((1, 2, 3))
    >>> difference.definition
    'difference/1: mean of the absolute difference'

    Args:
        text: "<version>: <formula and what is left out>", a part of every protocol's hash. Whoever changes a value
            raises the version.
        title, higher_is_better, unit, decimals, column: See :class:`Quantity`.
        validation: Place among the metrics that every validation logs; None for one that is not logged.
        headline: Whether it stands for a run where only one number is shown.
        of_samples: It takes all completions of the images, (n, B, 3, H, W), not the first alone.
        of_prompts: It takes ``prompts``, one for each image, which the protocol names.
        after_mean: What is done to the mean over the images; the number then belongs to the set.
        features: Features that a set metric is computed from.
        score: From features of completions and truths to numbers by metric; called once for all metrics that share it.
        least: Fewest images of which the number is given.
        least_per_dimension: The same, for each dimension of ``features``.
        backbone: Name in :mod:`lit_inpaint.backbones` of the network that it needs.
        package: Module that it needs and that only the extra ``metrics`` brings.
    """
    assert (features is None) == (score is None), "a metric on features needs a score of them"

    def give(function: Callable[..., Tensor]) -> Metric:
        metric = cast(Metric, function)
        metric.definition = f"{metric.__name__}/{text}"
        metric.quantity = Quantity(title, higher_is_better, unit, decimals, column or title)
        metric.higher_is_better = higher_is_better
        metric.validation, metric.headline = validation, headline
        metric.of_set = features is not None or after_mean is not None
        metric.of_samples, metric.of_prompts, metric.after_mean = of_samples, of_prompts, after_mean
        metric.features, metric.score = features, score
        metric.least, metric.least_per_dimension = least, least_per_dimension
        metric.backbone, metric.package = backbone, package
        return metric

    return give


def one_per_image(metric: Metric, values: object, images: int) -> Tensor:
    """What a metric has returned, (B,): a mean over the images would be taken for the value of every one.

    Raises:
        ValueError: It is anything else.

    >>> import torch
    >>> from lit_inpaint.metrics import psnr
    >>> one_per_image(psnr, torch.tensor(21.5), images=2)
    Traceback (most recent call last):
    ValueError: psnr returned a tensor of shape (), not one value per image, a tensor of shape (2,).
    """
    if not isinstance(values, Tensor) or values.shape != (images,):
        given = f"a tensor of shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"{metric.__name__} returned {given}, not one value per image, a tensor of shape ({images},).")
    return values


# Numbers that are logged or shown beside metrics. What is not here and no metric is shown without a best.
QUANTITIES = {
    "loss": Quantity("Loss", False),
    "accuracy": Quantity("Accuracy", True),
    "votes": Quantity("Votes", True, "%", 1),
    "images_per_second": Quantity("Images per second", True, decimals=1),
    "data_wait": Quantity("Share of time spent waiting for data", False),
}


def check_pair(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
    """Reject input that a metric is not defined for; it would silently give a wrong value.

    Raises:
        ValueError: No floats in [-1, 1], NaN, or shapes that do not belong together.
    """
    check_image(target, "target")
    check_image(prediction, "prediction")
    if prediction.shape != target.shape:
        shapes = f"{tuple(prediction.shape)}, target {tuple(target.shape)}"
        raise ValueError(f"prediction has shape {shapes}; expected the same. Compare images at one size.")
    if mask is not None:
        check_mask(mask, target)
