"""Set metrics on the 2048 features of the FID Inception network: fid, p_ids, u_ids.

Features are computed once per image and shared by all three, and by :mod:`lit_inpaint.metrics.kernel`. The network and
its TensorFlow-style resize are those of torch-fidelity (extra ``metrics``); its weights come through
``lit_inpaint.backbones``.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lit_inpaint.backbones import BackboneMissingError, backbone
from lit_inpaint.metrics._definition import Features, Rows, check_pair, defined
from lit_inpaint.metrics._definition import Metric as Defined
from masks.convention import in_three, to_levels


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

    network = Extractor("fid", ["2048"], feature_extractor_weights_path=str(path)).to(device)
    # Convolutions of a CPU are 1.4 times as fast on it; features differ by 3e-6.
    return network.to(memory_format=torch.channels_last) if device.type == "cpu" else network


@torch.no_grad()
def inception_features(image: Tensor) -> Tensor:
    """(B, 3, H, W) in [-1, 1], rounded to 8 bits, to (B, 2048) on the device of ``image``."""
    with torch.autocast(image.device.type, enabled=False):
        levels = to_levels(in_three(image).float()).byte()
        network = _network(image.device)
        return torch.cat([network(part)[0] for part in levels.split(16)])


INCEPTION = Features("features", inception_features, 2048)
on_inception = partial(defined, features=INCEPTION, backbone="inception_fid", package="torch_fidelity")


def _root(features: Rows) -> Rows:
    """R with R^T R = covariance: at most as many rows as there are images."""
    centred = features - features.mean(0)
    return np.linalg.qr(centred, mode="r") / np.sqrt(len(features) - 1)


def frechet_distance(fake: Rows, real: Rows) -> float:
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


def discriminative_scores(fake: Rows, real: Rows) -> tuple[float, float]:
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


def _fid_of(fake: Rows, real: Rows) -> dict[str, float]:
    return {"fid": frechet_distance(fake, real)}


def _ids_of(fake: Rows, real: Rows) -> dict[str, float]:
    return dict(zip(("p_ids", "u_ids"), discriminative_scores(fake, real), strict=True))


def refusal(metric: Defined, images: int, dimensions: int | None = None) -> str | None:
    """Why so few images do not give that number, or None.

    Two classes of n points in d dimensions are separated by some hyperplane almost surely while n < d (Cover 1965), so
    P-IDS and U-IDS ask for n >= 2d: 4096 images with Inception features.

    >>> from lit_inpaint.metrics import fid
    >>> refusal(fid, images=1)
    'fid needs at least 1000 images, given 1'

    Args:
        dimensions: Dimensions of the features, if they differ from the definition.
    """
    if dimensions is None:
        dimensions = metric.features.dimensions if metric.features else 0
    minimum = max(metric.least, metric.least_per_dimension * dimensions)
    return None if images >= minimum else f"{metric.__name__} needs at least {minimum} images, given {images}"


def from_features(metrics: Sequence[Defined], fake: Rows, real: Rows) -> list[float]:
    """The number of each metric of a set, nan where refused; what several metrics share is computed once."""
    given = [metric for metric in metrics if not refusal(metric, len(real), real.shape[1])]
    scores = {score: score(fake, real) for score in dict.fromkeys(metric.score for metric in given) if score}
    return [scores[m.score][m.__name__] if m in given and m.score else float("nan") for m in metrics]


class InceptionMetrics(Metric):
    """fid and its like over all processes; ``compute`` returns {name: number}, nan for what is refused.

    >>> metrics = InceptionMetrics(["fid"], features=lambda images: images.mean((2, 3)))
    >>> metrics.update(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4))
    >>> metrics.compute()
    {'fid': tensor(nan)}

    Args:
        names: Any of "fid", "kid", "kid_paired", "p_ids", "u_ids".
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
        from lit_inpaint.metrics import metric  # the lookup is in the package that exports this class

        fake, real = (dim_zero_cat(x).double().cpu().numpy() for x in (self.fake, self.real))
        metrics = {name: metric(name) for name in self.names}
        found = from_features([*metrics.values()], fake, real)
        return dict(zip(metrics, map(torch.tensor, found), strict=True))


def of_set(metric: Defined, prediction: Tensor, target: Tensor) -> Tensor:
    """The number of a set metric, from images instead of features.

    Raises:
        ValueError: Images that it is not defined for, or too few.
    """
    check_pair(prediction, target)
    if reason := refusal(metric, len(target)):
        raise ValueError(reason + ".")
    assert metric.features is not None, "defined() gives every metric of a set its features"
    fake, real = (metric.features.extract(x).double().cpu().numpy() for x in (prediction, target))
    (found,) = from_features([metric], fake, real)
    return torch.tensor(found)


@on_inception(
    "1: Frechet distance of 2048 Inception (2015-12-05) features, images rounded to 8 bits, torch-fidelity's "
    "resize to 299; at least 1000 images",
    title="FID",
    higher_is_better=False,
    decimals=2,
    score=_fid_of,
    least=1000,
)
def fid(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Frechet Inception distance of two sets (N, 3, H, W) in [-1, 1], N >= 1000, a scalar (Heusel et al. 2017).

    >>> fid.least, fid.higher_is_better
    (1000, False)
    """
    return of_set(fid, prediction, target)


@on_inception(
    "1: share of pairs in which a linear SVM (scikit-learn LinearSVC, C 1, primal) on 2048 Inception features "
    "finds the completion more real than its truth; at least 4096 images",
    title="P-IDS",
    higher_is_better=True,
    score=_ids_of,
    least_per_dimension=2,
)
def p_ids(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """P-IDS of two paired sets (N, 3, H, W) in [-1, 1], N >= 4096, a share in [0, 1] (Zhao et al. 2021).

    >>> p_ids.least_per_dimension, p_ids.higher_is_better
    (2, True)
    """
    return of_set(p_ids, prediction, target)


@on_inception(
    "1: error share of a linear SVM (scikit-learn LinearSVC, C 1, primal) on 2048 Inception features of "
    "completions and truths, on the set it was fitted to; at least 4096 images",
    title="U-IDS",
    higher_is_better=True,
    score=_ids_of,
    least_per_dimension=2,
)
def u_ids(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """U-IDS of two sets (N, 3, H, W) in [-1, 1], N >= 4096, a share in [0, 0.5] (Zhao et al. 2021).

    >>> u_ids.least_per_dimension, u_ids.higher_is_better
    (2, True)
    """
    return of_set(u_ids, prediction, target)
