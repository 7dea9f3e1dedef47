"""The mask that belongs to the image of a sample, for generators that know no images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass

import numpy as np

from masks.files import Alpha, White, check_reading
from masks.generator import Mask, MaskGenerator

Find = Callable[[MaskGenerator], Mask]
_find: ContextVar[Find | None] = ContextVar("finds the mask of a sample's image", default=None)


@contextmanager
def found_by(find: Find) -> Iterator[None]:
    """Context in which ``find`` gives a generator that pairs the mask of the present image, as large as the sample."""
    token = _find.set(find)
    try:
        yield
    finally:
        _find.reset(token)


def own_mask(law: MaskGenerator, height: int, width: int) -> Mask:
    """The mask of the present image.

    Raises:
        ValueError: There is no image, or the mask would have to change its size, and so move against its image.
    """
    find = _find.get()
    if find is None:
        raise ValueError(
            f"{law} gives each image of a data set its own mask, and draws none. Use it in fit and in evaluation sets, "
            "or draw masks: MaskFolder with pairing='draw'."
        )
    mask = find(law)
    if mask.shape != (height, width):
        raise ValueError(
            f"{law} is used inside a generator that changes the size ({height}x{width} of {mask.shape[0]}x"
            f"{mask.shape[1]}): the hole would move. Use it directly, or in a Mixture."
        )
    return mask


@dataclass(frozen=True)
class OwnMasks(MaskGenerator):
    """The mask that the data set names beside each image: the column ``mask`` of a list, or of a Hugging Face data set.

    Cropped, flipped and resized with its image. Inside a :class:`masks.Mixture` it takes turns with drawn masks.

    >>> OwnMasks(white="known")
    OwnMasks(white='known', threshold=None, alpha=None)

    Args:
        white: What white pixels are: "hole" or "known".
        threshold: Grey value from which a pixel counts as white; without it, grey pixels are rejected.
        alpha: The side of an alpha channel that is the hole, "opaque" or "transparent"; without it such files are
            refused.
    """

    white: White = "hole"
    threshold: int | None = None
    alpha: Alpha | None = None

    def __post_init__(self) -> None:
        check_reading(self.white, self.threshold, self.alpha)

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        return own_mask(self, height, width)


def laws_in(*generators: MaskGenerator) -> Iterator[MaskGenerator]:
    """Every generator, those inside others included."""
    for generator in generators:
        yield generator
        names = [field.name for field in fields(generator)] if is_dataclass(generator) else list[str]()
        for value in (getattr(generator, name) for name in names):
            inner = value if isinstance(value, (tuple, list)) else [value]
            yield from laws_in(*(item for item in inner if isinstance(item, MaskGenerator)))
