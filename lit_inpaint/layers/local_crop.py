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
    if size > min(image.shape[-2:]):
        raise ValueError(
            f"images are {tuple(image.shape[-2:])}; a local discriminator of {size} px needs images at least as large."
        )
    rows, columns = _window(mask.amax((1, 3)), size), _window(mask.amax((1, 2)), size)
    samples = torch.arange(len(image), device=image.device)[:, None, None]
    return image[samples, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _window(hole: Tensor, size: int) -> Tensor:
    """Indices (B, size) along one axis from whether there is a hole at each position (B, N)."""
    length = hole.shape[1]
    first, last = (hole > 0).int().argmax(1), length - 1 - (hole > 0).int().flip(1).argmax(1)
    start = ((first + last + 1 - size) // 2).clamp(0, length - size)
    return start[:, None] + torch.arange(size, device=hole.device)
