"""Feature loss of DSI (Peng et al. 2021, section 3.3; ``feature_loss`` in net/nn.py)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def feature_loss(distances: Tensor, indices: Tensor, sharpness: float = 10.0) -> Tensor:
    """Cross-entropy of choosing the true image's codes from the distances of a completed image's features.

    The distances to the codes are standardised over the codes, and ``-sharpness * tanh`` of that are the logits.

    Args:
        distances: Squared distances to every code, (B, H, W, codes).
        indices: Codes of the true image, (B, H, W).
    """
    deviation, mean = torch.std_mean(distances, dim=-1, correction=0, keepdim=True)
    logits = -sharpness * torch.tanh((distances - mean) / deviation)
    return F.cross_entropy(logits.flatten(0, -2), indices.flatten())
