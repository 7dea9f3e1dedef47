"""Refuse images that a network cannot take by their sides, before torch does it by those of some inner map."""

from torch import Tensor

from masks.size import Size, sides


def check_sides(
    image: Tensor, network: str, least: int = 1, multiple: int = 1, exactly: Size | None = None, otherwise: str = ""
) -> None:
    """Raise a ValueError unless (..., H, W) has sides of at least ``least`` px, multiples of ``multiple`` (of one size:
    ``exactly``).

    Args:
        network: Name for the message.
        otherwise: Alternative to changing the images.

    >>> import torch
    >>> check_sides(torch.zeros(1, 3, 8, 64), "the discriminator", least=24)
    Traceback (most recent call last):
    ValueError: image is 64x8; the discriminator needs at least 24 pixels per side. Enlarge it (image_size of the data).
    """
    height, width = image.shape[-2:]
    if min(height, width) < least:
        problem, advice = f"needs at least {least} pixels per side", "Enlarge it"
    elif height % multiple or width % multiple:
        problem, advice = f"needs sides that are multiples of {multiple}", "Pad or resize it"
    elif exactly and (height, width) != sides(exactly):
        problem, advice = "is built for {1}x{0}".format(*sides(exactly)), "Resize it"
    else:
        return
    raise ValueError(f"image is {width}x{height}; {network} {problem}. {advice} (image_size of the data){otherwise}.")
