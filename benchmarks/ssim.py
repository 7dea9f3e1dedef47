"""SSIM beside torchmetrics' at the same value (tests/lit_inpaint/test_metrics.py), in alternation on one thread.

python -m benchmarks.ssim
"""

import statistics
import time

import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from lit_inpaint.metrics import metric


def ratios(turns: int = 5) -> dict[str, float]:
    """Print a line; torchmetrics' CPU seconds over ours for eight images of 256x256."""
    torch.set_num_threads(1)
    image, other = torch.rand(2, 8, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    ours, each = metric("ssim"), []
    for _ in range(turns + 1):
        start = time.process_time()
        structural_similarity_index_measure(other, image, data_range=1.0, reduction="none")
        middle = time.process_time()
        ours(other * 2 - 1, image * 2 - 1)
        each.append(((middle - start) / 8, (time.process_time() - middle) / 8))
    pairs = sorted(theirs / own for theirs, own in each[1:])
    print(
        f"ssim: {1 / min(own for _, own in each):.0f} images/s, torchmetrics {1 / min(t for t, _ in each):.0f}/s; "
        f"ratio {statistics.median(pairs):.1f} ({pairs[0]:.1f}-{pairs[-1]:.1f})"
    )
    return {"torchmetrics": statistics.median(pairs)}


if __name__ == "__main__":
    ratios()
