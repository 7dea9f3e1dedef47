"""Contextual attention as DeepFill has it at 256 px: equal to the CPU's; milliseconds and MiB.

Beside the published forms: ``python -m benchmarks.attention --public DIR --device cuda``.
"""

import statistics
from typing import Any

from benchmarks import attention
from benchmarks.gpu.support import Skipped, bounded, exact, forget, memory

TOLERANCE = 1e-3
PUBLISHED = "published forms"


def items(part: str, device: str) -> list[str]:
    return [f"{c} channels, {kind}" for c in (96, 192) for kind in ("forward", "with backward")] + [PUBLISHED]


def run(item: str, part: str, device: str) -> dict[str, Any]:
    if item == PUBLISHED:
        raise Skipped("needs checkouts: python -m benchmarks.attention --public DIR --device cuda")
    channels, backward, side = int(item.split()[0]), item.endswith("backward"), 64 if device == "cuda" else 16
    form = attention.ours("nipponjo")
    _, expected = attention.run(form, channels, backward, "cpu", side)
    with exact(device):
        attention.run(form, channels, backward, device, side)  # chooses kernels
        forget(device)
        runs = [attention.run(form, channels, backward, device, side) for _ in range(9 if device == "cuda" else 1)]
    error = float((runs[0][1].cpu() - expected).abs().max() / expected.abs().max())
    return {
        "ms": round(1000 * statistics.median(seconds for seconds, _ in runs), 3),
        "mib": memory(device),
        "difference": bounded("difference relative to the largest value", error, TOLERANCE),
    }
