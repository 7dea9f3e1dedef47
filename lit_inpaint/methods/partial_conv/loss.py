"""Total variation inside and around the hole (Liu et al. 2018, equation 6)."""

from torch import Tensor
from torch.nn import functional as F


def hole_total_variation(inpainted: Tensor, mask: Tensor) -> Tensor:
    """Absolute differences of neighbours that both lie in the hole dilated by 1 px, over the count of ALL elements.

    >>> import torch
    >>> mask = torch.zeros(1, 1, 4, 4); mask[..., 1, 1] = 1
    >>> float(hole_total_variation(mask, mask))  # four neighbours differ by 1; 16 elements
    0.25
    """
    region = F.max_pool2d(mask, 3, 1, 1)
    down = (inpainted[:, :, 1:] - inpainted[:, :, :-1]).abs() * (region[:, :, 1:] * region[:, :, :-1])
    right = (inpainted[..., 1:] - inpainted[..., :-1]).abs() * (region[..., 1:] * region[..., :-1])
    return (down.sum() + right.sum()) / inpainted.numel()
