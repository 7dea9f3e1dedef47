"""From one value per image to the number of a table, exact on any number of processes."""

import torch
from torch import Tensor
from torchmetrics import Metric

from lit_inpaint.metrics._definition import one_per_image
from lit_inpaint.metrics.pixel import round_to_8_bits
from masks.convention import check_image


class ImageMean(Metric):
    """Mean of a metric over the images on which it is defined; ``psnr_pooled`` takes its logarithm after the mean.

    An image whose prediction is not finite is left out and counted: a diverged network ends no training by a metric.

    Sums are kept in double precision and added over processes; give every image to exactly one process (Lightning's
    ``UnrepeatedDistributedSampler``: a padding sampler would count some twice).

    >>> mean = ImageMean("l1_mean")
    >>> mean.update(torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4))
    >>> round(float(mean.compute()), 2)
    0.5

    Args:
        name: Name of a per-image metric, as accepted by :func:`lit_inpaint.metrics.metric`.
        round_first: Round both images to 8 bits, as what is measured would be stored.
    """

    full_state_update = False
    total: Tensor
    count: Tensor
    left_out: Tensor

    def __init__(self, name: str, round_first: bool = True) -> None:
        super().__init__()
        from lit_inpaint.metrics import metric  # the lookup is in the package that exports this class

        self.name, self.round_first = name, round_first
        self.function = metric(name)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("left_out", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Images (B, 3, H, W) in [-1, 1], mask (B, 1, H, W)."""
        check_image(target, "target")  # rounding would hide another range
        finite = prediction.isfinite().flatten(1).all(1)
        prediction = torch.where(finite.view(-1, 1, 1, 1), prediction, target)
        if self.round_first:
            prediction, target = round_to_8_bits(prediction), round_to_8_bits(target)
        values = one_per_image(self.function, self.function(prediction, target, mask), len(finite))
        values = values.where(finite, torch.nan)
        defined = ~values.isnan()
        self.total += values.where(defined, 0).double().sum()
        self.count += defined.sum()
        self.left_out += (~defined).sum()

    def compute(self) -> Tensor:
        """The mean; nan if no image defines it."""
        mean = self.total / self.count
        after = self.function.after_mean
        return mean if after is None else mean.new_tensor(after(mean.item()))
