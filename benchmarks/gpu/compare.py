"""Every method's completion and one training step, float32, on the device against the CPU."""

from typing import Any

import torch

from benchmarks.gpu.support import ROWS, STEPS, DrawnOnTheCPU, batches, bounded, difference, exact, gradients, make
from lit_inpaint.module import InpaintingModule

# Float32 in another order of sums, relative to the largest value or the norm: 4e-6 and 3e-5 at most between a CPU with
# oneDNN and without it. A wrong mask or another draw is far off.
OUTPUT, GRADIENT = 1e-3, 1e-3
OTHERWISE = {"PatchMatch"}  # a GPU has an algorithm of its own, which the part patchmatch compares


def items(part: str, device: str) -> list[str]:
    return [f"{name}, completion" for name, _ in ROWS] + [f"{case}, step" for case in STEPS]


def complete(method: InpaintingModule, device: str) -> torch.Tensor:
    batch = next(iter(batches(1)))
    method = method.to(device).eval()
    image, mask = batch.image.to(device), batch.mask.to(device)
    with torch.no_grad():
        out = method(image, mask, **method.draws(0, batch.name))
    known = (mask == 0).expand_as(out)
    assert out.device.type == device and torch.equal(out[known], image[known]), "known pixels are not untouched"
    return out.cpu()


def run(item: str, part: str, device: str) -> dict[str, Any]:
    name, _, kind = item.rpartition(", ")
    if kind == "step":
        with DrawnOnTheCPU():
            expected = gradients(name, "cpu", [])
            with exact(device):
                found = gradients(name, device, [])
        return {"difference": bounded("relative difference of the gradients", difference(found, expected), GRADIENT)}
    arguments = dict(ROWS)[name]
    with DrawnOnTheCPU():
        whole = complete(make(name, arguments), "cpu")
        with exact(device):
            out = complete(make(name, arguments), device)
    assert torch.isfinite(out).all(), "the completion is not finite"
    error = float((out - whole).abs().max() / whole.abs().max())
    most = float("inf") if name in OTHERWISE else OUTPUT
    return {"difference": bounded("largest difference of the completion", error, most)}
