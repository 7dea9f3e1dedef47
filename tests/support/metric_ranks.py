"""One rank of the test that metrics are equal on any number of processes; in a module that a new process can import."""

import json
from pathlib import Path

import torch
from torch import Tensor

from lit_inpaint.metrics import ImageMean, metric
from lit_inpaint.metrics.inception import InceptionMetrics


def toy_features(image: Tensor) -> Tensor:
    return image.unflatten(2, (2, -1)).unflatten(4, (2, -1)).mean((3, 5)).flatten(1)  # 12 block means


def numbers_of_rank(rank: int, world: int, names: tuple[str, ...], images: int) -> dict[str, float]:
    """What one process computes on every world-th image, in batches of 2."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(images, 3, 32, 32, generator=generator) * 2 - 1
    prediction = target + torch.linspace(0.01, 0.5, images).view(-1, 1, 1, 1) * torch.randn(
        target.shape, generator=generator
    )
    prediction = prediction.clamp(-1, 1)
    mask = (torch.rand(images, 1, 32, 32, generator=generator) > 0.7).float()
    mask[3] = 0  # an empty hole, and an image without error
    prediction[5] = target[5]
    means = {name: ImageMean(name) for name in names}
    of_a_set = ("fd_dinov2", "fid", "kid", "kid_paired", "p_ids", "u_ids")
    for name in of_a_set:
        metric(name).least = min(metric(name).least, 2)
    features = InceptionMetrics(of_a_set, toy_features)
    for batch in torch.arange(rank, images, world).split(2):
        for name, m in means.items():
            several = torch.stack([prediction[batch], target[batch]])  # diversity is of completions, (n, B, 3, H, W)
            first = several if name == "diversity_lpips" else prediction[batch]
            m.update(first, target[batch], mask[batch])
        features.update(prediction[batch], target[batch])
    out = {name: m.compute().item() for name, m in means.items()}
    out |= {name: value.item() for name, value in features.compute().items()}
    if "psnr_hole" in means and torch.distributed.is_initialized():
        means["psnr_hole"].sync()
        out["left out of psnr_hole"] = int(means["psnr_hole"].left_out)
    return out


def rank_of(rank: int, world: int, port: int, names: tuple[str, ...], images: int) -> None:
    """Leave the numbers of a rank in ``<rank>.json`` in the working folder."""
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    try:
        Path(f"{rank}.json").write_text(json.dumps(numbers_of_rank(rank, world, names, images)))
    finally:
        torch.distributed.destroy_process_group()
