"""The local view of a discriminator: a square around the hole."""

import torch
from torch import Tensor


def local_crop(image: Tensor, mask: Tensor, size: int) -> Tensor:
    """A ``size`` px square of each image, centred on the bounding box of its hole and clamped to the image.

    Without a hole it is the centre. No value leaves the device.

    Args:
        image: (B, C, H, W).
        mask: (B, 1, H, W), 1 = hole.

    Returns:
        (B, C, size, size).

    >>> image = torch.arange(36.0).view(1, 1, 6, 6)
    >>> mask = torch.zeros(1, 1, 6, 6); mask[..., 2:4, 5:] = 1
    >>> local_crop(image, mask, 2)  # rows 2-3, columns 4-5
    tensor([[[[16., 17.],
              [22., 23.]]]])
    """
    _check(image, size)
    starts = []
    for hole in (mask.amax((1, 3)), mask.amax((1, 2))):
        first, end = _extent(hole)
        starts.append(((first + end - size) // 2).clamp(0, hole.shape[1] - size))
    return crop_at(image, (starts[0], starts[1]), size)


def random_corner(mask: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Tops and lefts, (B,) each, of ``size`` px squares that contain the hole of their image, all such squares alike.

    A hole that is longer than the square contains the square; without a hole it lies anywhere.
    """
    _check(mask, size)
    starts = []
    for hole in (mask.amax((1, 3)), mask.amax((1, 2))):
        (first, end), last, there = _extent(hole), hole.shape[1] - size, hole.amax(1) > 0
        low = torch.where(there, torch.minimum((end - size).clamp(min=0), first), 0)
        high = torch.where(there, torch.maximum(first.clamp(max=last), end - size), last)
        drawn = low + (torch.rand(len(mask), device=mask.device) * (high - low + 1)).long()
        starts.append(torch.minimum(drawn, high))  # float32 may round up to the end
    return starts[0], starts[1]


def crop_at(image: Tensor, corner: tuple[Tensor, Tensor], size: int) -> Tensor:
    """The ``size`` px square of each image whose top and left are ``corner``, (B,) each."""
    along = torch.arange(size, device=image.device)
    rows, columns = (start[:, None] + along for start in corner)
    samples = torch.arange(len(image), device=image.device)[:, None, None]
    return image[samples, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _extent(hole: Tensor) -> tuple[Tensor, Tensor]:
    """First position with a hole along one axis and the one after the last, from whether each (B, N) has one."""
    return (hole > 0).int().argmax(1), hole.shape[1] - (hole > 0).int().flip(1).argmax(1)


def _check(image: Tensor, size: int) -> None:
    if size > min(image.shape[-2:]):
        raise ValueError(
            f"images are {tuple(image.shape[-2:])}; a local discriminator of {size} px needs images at least as large."
        )
