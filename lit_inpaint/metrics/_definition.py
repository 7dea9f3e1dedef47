"""What a metric's name means, in words that go into the hash of a protocol."""

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

from masks.convention import check_image, check_mask

F = TypeVar("F", bound=Callable[..., object])


def defined(
    text: str, *, higher_is_better: bool, of_set: bool = False, backbone: str | None = None
) -> Callable[[F], F]:
    """Give a metric its definition: its version, then its formula. Whoever changes a value raises the version.

    Args:
        text: "<version>: <formula and what is left out>".
        higher_is_better: Which end of the scale wins.
        of_set: True where the number belongs to the whole set of images and is no mean of one value an image.
        backbone: Name in :mod:`lit_inpaint.backbones` of the network that it needs.
    """

    def give(function: F) -> F:
        function.definition = f"{function.__name__}/{text}"  # type: ignore[attr-defined]
        function.higher_is_better = higher_is_better  # type: ignore[attr-defined]
        function.of_set = of_set  # type: ignore[attr-defined]
        function.backbone = backbone  # type: ignore[attr-defined]
        return function

    return give


def check_pair(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
    """Refuse what a metric does not mean; a number would come out all the same, and be wrong.

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
