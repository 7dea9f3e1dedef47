"""Lines that guide DeepFill v2 (Yu et al. 2019, section 3.4): in training the edges of the true image."""

import cv2
import numpy as np
import torch
from torch import Tensor

from masks.convention import in_three, to_pixels


def canny_edges(image: Tensor, thresholds: tuple[int, int] = (100, 200)) -> Tensor:
    """Canny edges of grey images (B, 3, H, W) in [-1, 1]: (B, 1, H, W), 1 on an edge.

    The paper's lines are HED's (hed.py), which needs a file of weights; so Canny is the default here. Computed on the
    CPU, image by image.

    Args:
        thresholds: Lower and upper threshold of the hysteresis, of gradients of 8-bit grey values.

    >>> image = torch.ones(1, 3, 8, 8); image[..., :4] = -1
    >>> canny_edges(image)[0, 0, 4].nonzero().flatten().tolist()
    [3]
    """
    grey = [cv2.cvtColor(to_pixels(x), cv2.COLOR_RGB2GRAY) for x in in_three(image)]
    edges = np.stack([cv2.Canny(x, *thresholds) > 0 for x in grey])
    return torch.from_numpy(edges)[:, None].to(image.device, image.dtype)
