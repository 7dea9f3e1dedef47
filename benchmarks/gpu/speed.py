"""A method at its published size, completion and whole training step: float32, bfloat16, channels_last, compiled.

Rows, networks, steps and random backbones are those of benchmarks.utilisation, with four times the images per batch.
The peak is that of a bfloat16 product of 8192x8192 matrices in the same process; fp32 is torch's default there, with
convolutions in TF32. FLOPs are of convolutions and products. Times are of the clock between synchronisations, the
median of the steps; MiB is what torch's allocator held at most.
"""

import statistics
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import lightning as L
import torch

from benchmarks.gpu.compiled import require_compilers
from benchmarks.gpu.support import SMALL, STEPS, Skipped, exact, forget, memory, on
from benchmarks.utilisation import ROWS, Row, Stopwatch, batches, counter, forward_pass, make, now, random_backbones
from lit_inpaint.callbacks import Compile
from lit_inpaint.callbacks.compile import compile_in_place
from lit_inpaint.module import InpaintingModule


class Form(NamedTuple):
    bfloat16: bool = False
    channels_last: bool = False
    compiled: bool = False


FORMS = {
    "fp32": Form(),
    "bf16": Form(True),
    "bf16+channels_last": Form(True, True),
    "bf16+channels_last+compile": Form(True, True, True),
}


def rows(part: str, device: str) -> dict[str, Row]:
    """The rows of one method, by note."""
    found = [row for row in ROWS if row.method == part.removeprefix("speed/")]
    if device == "cpu":
        small = found[0]
        arguments = STEPS[small.method][1] if small.method in STEPS else SMALL[small.method]
        side, cycle = arguments.get("image_size", 64), min(small.cycle, 2)
        return {"small": small._replace(size=side, batch=2, cycle=cycle, arguments=arguments)}
    return {row.note or "published": row._replace(batch=4 * row.batch) for row in found}


def items(part: str, device: str) -> list[str]:
    forms = [form for form in FORMS if device == "cuda" or form != "bf16"]  # on the CPU channels_last tries both
    return [f"{note}, {form}" for note in rows(part, device) for form in forms]


def median(run: Callable[[], Any], device: str, repeats: int) -> float:
    seconds = []
    for _ in range(repeats + 1):  # the first one warms up, or compiles
        begun = now(device)
        run()
        seconds.append(now(device) - begun)
    return statistics.median(seconds[1:])


def peak(device: str) -> float:
    """GFLOP a second of a bfloat16 matrix product that suits the hardware."""
    side = 8192 if device == "cuda" else 256
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / max(median(lambda: a @ b, device, 5), 1e-9) / 1e9


def run(item: str, part: str, device: str) -> dict[str, Any]:
    note, _, name = item.rpartition(", ")
    row, form = rows(part, device)[note], FORMS[name]
    if form.compiled and device == "cpu":
        raise Skipped("on a CPU the part compiled is enough")
    if form.compiled:
        require_compilers(device)
    # Also in bfloat16, which oneDNN gets wrong on maps of one pixel.
    with random_backbones(), exact(device) if device == "cpu" else nullcontext():
        method = make(row)
        if form.compiled and not any(network not in method.uncompiled for network in method.averaged):
            raise Skipped("; ".join(f"{network}: {why}" for network, why in method.uncompiled.items()))
        try:
            return measure(method, row, form, device)
        except torch.OutOfMemoryError:
            size = torch.cuda.get_device_properties(0).total_memory / 2**30
            raise Skipped(f"out of memory: the GPU has {size:.0f} GiB") from None


def measure(method: Any, row: Row, form: Form, device: str) -> dict[str, Any]:
    reached, repeats = peak(device), 5 if device == "cuda" else 1
    forget(device)
    method.to(device)
    if form.channels_last:
        method.to(memory_format=torch.channels_last)
    batch = next(iter(batches(row, 1)))
    batch = batch._replace(image=batch.image.to(device), mask=batch.mask.to(device))
    network = forward_pass(method.eval(), batch)

    def autocast() -> torch.autocast:
        return torch.autocast(device, torch.bfloat16, enabled=form.bfloat16)

    def fit(count: int, callbacks: list[L.Callback]) -> None:
        L.Trainer(
            max_steps=count, callbacks=callbacks, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0, precision="bf16-mixed" if form.bfloat16 else "32-true",
            **on(device),
        ).fit(method, batches(row, count))  # fmt: skip

    with torch.no_grad(), autocast(), counter() as counted:
        network()
    forward_flops, step = counted.get_total_flops() / 1e9, {}
    if not isinstance(method, InpaintingModule) or method.trainable:
        method.train()
        with counter() as counted:
            fit(row.cycle, [])
        flops = counted.get_total_flops() / 1e9 / row.cycle
        watch = Stopwatch(device)
        fit(row.cycle * (repeats + 2), [*([Compile()] if form.compiled else []), watch])
        measured = watch.seconds[2 * row.cycle :]
        cycles = [sum(measured[i : i + row.cycle]) for i in range(0, len(measured), row.cycle)]
        step = {f"step_{key}": value for key, value in cell(flops, statistics.median(cycles) / row.cycle, row, reached)}
        method.to(device).eval()
    elif form.compiled:
        for name in method.averaged:
            compile_in_place(getattr(method, name))
    with torch.no_grad(), autocast():
        forward = cell(forward_flops, median(network, device, repeats), row, reached)
    return {
        "batch": f"{row.batch} x {row.size}", **dict(forward), **step, "mib": memory(device),
        "peak_tflops": round(reached / 1000, 3),
    }  # fmt: skip


def cell(gflop: float, seconds: float, row: Row, reached: float) -> list[tuple[str, float]]:
    seconds = max(seconds, 1e-9)
    rate = row.batch / seconds
    return [
        ("ms", round(1000 * seconds, 2)), ("images_a_second", round(rate, 1)),
        ("of_peak", round(gflop / seconds / reached, 3)),
    ]  # fmt: skip
