"""Every training in bf16-mixed, two rounds, and the completion after it: losses, weights and pixels are finite."""

from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.support import STEPS, batches, exact, finite, make, on, small_batches, trainer
from lit_inpaint.module import InpaintingModule


def items(part: str, device: str) -> list[str]:
    return [case for case, (name, _, _) in STEPS.items() if device == "cuda" or case == name]


def run(item: str, part: str, device: str) -> dict[str, Any]:
    name, arguments, count = STEPS[item]
    method = make(name, arguments)
    with exact(device):
        fit = trainer(Path(), max_steps=2 * count, limit_val_batches=0, precision="bf16-mixed", **on(device))
        fit.fit(method, small_batches(arguments, 2 * count))  # stops at a non-finite loss by itself
        finite("weights", method.to(device).named_parameters())
        losses = {k: float(v) for k, v in fit.callback_metrics.items() if k.startswith("train/")}
        finite("losses", ((k, torch.tensor(v)) for k, v in losses.items()))
        if isinstance(method, InpaintingModule) and name != "Forms" and "image_size" not in arguments:
            batch = next(iter(batches(1)))
            with torch.no_grad(), torch.autocast(device, torch.bfloat16):
                out = method.eval()(batch.image.to(device), batch.mask.to(device), **method.draws(0, batch.name))
            finite("completion", iter([("pixels", out)]))
    return {"losses": losses}
