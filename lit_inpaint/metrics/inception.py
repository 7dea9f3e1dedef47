"""Metrics of a whole set, on the 2048 features of the FID Inception network: fid, p_ids, u_ids.

Features are computed once an image and shared by the three. The network and its TensorFlow-style resize are those of
torch-fidelity (extra ``metrics``); its weights come through ``lit_inpaint.backbones``.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lit_inpaint.backbones import BackboneMissingError, backbone
from lit_inpaint.metrics._definition import check_pair, defined
from masks.convention import to_levels

FID_MINIMUM = 1000  # images; with fewer the number says more about their count than about the method
Features = NDArray[np.float64]


@cache
def _network(device: torch.device) -> nn.Module:
    path = backbone("inception_fid")
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ModuleNotFoundError as error:
        raise BackboneMissingError("torch-fidelity is not installed: pip install 'lit-inpaint[metrics]'") from error

    class Extractor(FeatureExtractorInceptionV3):  # type: ignore[misc]
        def load_state_dict(self, state_dict: dict[str, Tensor], *args: Any, **kwargs: Any) -> Any:
            classifier = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}  # not used by features
            return super().load_state_dict({**classifier, **state_dict}, *args, **kwargs)

    return Extractor("fid", ["2048"], feature_extractor_weights_path=str(path)).to(device)


@torch.no_grad()
def inception_features(image: Tensor) -> Tensor:
    """(B, 3, H, W) in [-1, 1], rounded to 8 bits, to (B, 2048) on the device of ``image``."""
    with torch.autocast(image.device.type, enabled=False):
        levels = to_levels(image.float()).byte()
        network = _network(image.device)
        return torch.cat([network(part)[0] for part in levels.split(16)])


def _root(features: Features) -> Features:
    """R with R^T R = covariance: at most as many rows as there are images."""
    centred = features - features.mean(0)
    return np.linalg.qr(centred, mode="r") / np.sqrt(len(features) - 1)


def frechet_distance(fake: Features, real: Features) -> float:
    """Squared Frechet distance of two Gaussians fitted to (n, d) features (Heusel et al. 2017).

    tr (C1 C2)^(1/2) is the sum of the singular values of R1 R2^T where R^T R = C: real by construction, without the
    matrix square root that fails on few images.

    >>> square = np.array([[0.0, 0], [0, 2], [2, 0], [2, 2]])
    >>> round(frechet_distance(square + 3, square), 9)  # equal covariance: squared distance of the means
    18.0
    """
    fake, real = np.asarray(fake, np.float64), np.asarray(real, np.float64)
    a, b = _root(fake), _root(real)
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(((fake.mean(0) - real.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * shared)


def discriminative_scores(fake: Features, real: Features) -> tuple[float, float]:
    """P-IDS and U-IDS (Zhao et al. 2021) of (n, d) features whose rows are paired: shares in [0, 1].

    A linear SVM learns to tell fake from real. U-IDS is its error on the same features; P-IDS the share of pairs in
    which the fake looks more real than its own truth.
    """
    from sklearn.svm import LinearSVC

    order = np.lexsort(np.asarray(real)[:, :8].T)  # the fit must not depend on the order in which processes hand over
    fake, real = np.asarray(fake, np.float64)[order], np.asarray(real, np.float64)[order]
    svm = LinearSVC(dual=False)
    labels = np.concatenate([np.ones(len(real)), np.zeros(len(fake))])
    svm.fit(np.concatenate([real, fake]), labels)
    unpaired = 1 - svm.score(np.concatenate([real, fake]), labels)
    paired = np.mean(svm.decision_function(fake) > svm.decision_function(real))
    return float(paired), float(unpaired)


def refusal(name: str, images: int, dimensions: int = 2048) -> str | None:
    """Why so few images do not give that number, or None.

    Two classes of n points in d dimensions are separated by some hyperplane almost surely while n < d (Cover 1965), so
    P-IDS and U-IDS ask for n >= 2d: 4096 images with Inception features.
    """
    minimum = FID_MINIMUM if name == "fid" else 2 * dimensions
    return None if images >= minimum else f"{name} needs at least {minimum} images, there are {images}"


def from_features(names: Sequence[str], fake: Features, real: Features) -> dict[str, float]:
    """The set metrics of ``names``, features used once for all of them; refused ones are nan."""
    out = {}
    names_ids = [name for name in names if name != "fid" and not refusal(name, len(real), real.shape[1])]
    if "fid" in names and not refusal("fid", len(real)):
        out["fid"] = frechet_distance(fake, real)
    if names_ids:
        scores = dict(zip(("p_ids", "u_ids"), discriminative_scores(fake, real), strict=True))
        out.update({name: scores[name] for name in names_ids})
    return {name: out.get(name, float("nan")) for name in names}


class InceptionMetrics(Metric):
    """fid, p_ids and u_ids over all processes; ``compute`` returns {name: number}, nan for what is refused.

    Args:
        names: Of "fid", "p_ids", "u_ids".
        features: From images (B, 3, H, W) in [-1, 1] to (B, d).
    """

    full_state_update = False
    fake: list[Tensor] | Tensor
    real: list[Tensor] | Tensor

    def __init__(
        self,
        names: Sequence[str] = ("fid", "p_ids", "u_ids"),
        features: Callable[[Tensor], Tensor] = inception_features,
    ) -> None:
        super().__init__()
        self.names, self.features = tuple(names), features
        self.add_state("fake", [], dist_reduce_fx="cat")
        self.add_state("real", [], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Pairs of images (B, 3, H, W) in [-1, 1]."""
        check_pair(prediction, target, mask)
        self.fake.append(self.features(prediction))  # type: ignore[union-attr]
        self.real.append(self.features(target))  # type: ignore[union-attr]

    def compute(self) -> dict[str, Tensor]:
        fake, real = (dim_zero_cat(x).double().cpu().numpy() for x in (self.fake, self.real))
        return {name: torch.tensor(value) for name, value in from_features(self.names, fake, real).items()}


def _of_set(name: str, prediction: Tensor, target: Tensor) -> Tensor:
    check_pair(prediction, target)
    if reason := refusal(name, len(target)):
        raise ValueError(reason + ".")
    fake, real = (inception_features(x).double().cpu().numpy() for x in (prediction, target))
    return torch.tensor(from_features([name], fake, real)[name])


@defined("1: Frechet distance of 2048 Inception (2015-12-05) features, images rounded to 8 bits, torch-fidelity's "
         "resize to 299; at least 1000 images",
         higher_is_better=False, of_set=True, backbone="inception_fid")  # fmt: skip
def fid(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Frechet Inception distance of two sets (N, 3, H, W) in [-1, 1], N >= 1000, a scalar (Heusel et al. 2017)."""
    return _of_set("fid", prediction, target)


@defined("1: share of pairs in which a linear SVM (scikit-learn LinearSVC, C 1, primal) on 2048 Inception features "
         "finds the completion more real than its truth; at least 4096 images",
         higher_is_better=True, of_set=True, backbone="inception_fid")  # fmt: skip
def p_ids(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """P-IDS of two paired sets (N, 3, H, W) in [-1, 1], N >= 4096, a share in [0, 1] (Zhao et al. 2021)."""
    return _of_set("p_ids", prediction, target)


@defined("1: error share of a linear SVM (scikit-learn LinearSVC, C 1, primal) on 2048 Inception features of "
         "completions and truths, on the set it was fitted to; at least 4096 images",
         higher_is_better=True, of_set=True, backbone="inception_fid")  # fmt: skip
def u_ids(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """U-IDS of two sets (N, 3, H, W) in [-1, 1], N >= 4096, a share in [0, 0.5] (Zhao et al. 2021)."""
    return _of_set("u_ids", prediction, target)
