"""Frechet distance of DINOv2 features: fd_dinov2 (Stein et al. 2023), closer to human judgement than Inception's."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from lit_inpaint.metrics import _pretrained
from lit_inpaint.metrics._definition import Features, Rows, defined
from lit_inpaint.metrics.inception import frechet_distance, of_set

_SIDE = 224
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet


@cache
def _network(device: torch.device) -> Any:
    return _pretrained.network("dinov2_large", "Dinov2Model", device)


def dinov2_input(image: Tensor) -> Tensor:
    """(B, 3, H, W) in [-1, 1] to what layer6ai-labs/dgm-eval gives the network: 8 bits, 224x224 bicubic, normalised."""
    return _pretrained.resized(image, (_SIDE, _SIDE), _MEAN, _DEVIATION)


@torch.no_grad()
def dinov2_features(image: Tensor) -> Tensor:
    """(B, 3, H, W) in [-1, 1], rounded to 8 bits, to the normalised class tokens (B, 1024) of ViT-L/14."""
    with torch.autocast(image.device.type, enabled=False):
        network = _network(image.device)
        return torch.cat([network(dinov2_input(part)).pooler_output for part in image.split(16)])


def _distance_of(fake: Rows, real: Rows) -> dict[str, float]:
    return {"fd_dinov2": frechet_distance(fake, real)}


@defined("1: Frechet distance of the normalised class tokens (1024) of DINOv2 ViT-L/14, images rounded to 8 bits, "
         "resized to 224x224 (bicubic, antialiased, 8 bits), ImageNet normalisation; at least 1000 images",
         title="FD on DINOv2", column="FD-DINOv2", higher_is_better=False, decimals=2,
         features=Features("dinov2", dinov2_features, 1024), score=_distance_of, least=1000,
         backbone="dinov2_large", package="transformers")  # fmt: skip
def fd_dinov2(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Frechet distance of two sets (N, 3, H, W) in [-1, 1], N >= 1000, a scalar (Stein et al. 2023).

    >>> fd_dinov2.least, fd_dinov2.features.dimensions
    (1000, 1024)
    """
    return of_set(fd_dinov2, prediction, target)
