"""A GPU beside the CPU's tables: every method in float32, bfloat16, channels_last and compiled; PatchMatch of a batch.

    python -m benchmarks.gpu [METHOD ...] [--forms FORM ...] [--times 4] [--photographs FOLDER] [--device cuda]

Rows, networks, steps and random backbones are those of benchmarks.utilisation, with --times as many images a batch;
each cell is measured in a process of its own. The peak is that of a bfloat16 product of 8192x8192 matrices in the same
process; fp32 is torch's default there, with convolutions in TF32. FLOPs are of convolutions and products. Times are
of the clock between synchronisations, the median of the steps; MiB is what torch's allocator held at most. FOLDER has
images/ and masks/ of the same names, which PatchMatch completes all at once. Sampling has a command of its own,
benchmarks.sampling, and so does contextual attention, benchmarks.attention; both take --device.
"""

import argparse
import logging
import statistics
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import lightning as L
import numpy as np
import torch

from benchmarks.utilisation import (
    ROWS,
    Measured,
    Row,
    Stopwatch,
    batches,
    counter,
    forward_pass,
    in_a_fresh_process,
    make,
    now,
    random_backbones,
)
from lit_inpaint.callbacks import Compile
from lit_inpaint.methods import PatchMatch
from lit_inpaint.metrics import metric, round_to_8_bits
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


def median(run: Callable[[], Any], device: str, repeats: int) -> float:
    seconds = []
    for _ in range(repeats + 1):  # the first one warms up, or compiles
        begun = now(device)
        run()
        seconds.append(now(device) - begun)
    return statistics.median(seconds[1:])


def peak(device: str) -> float:
    """GFLOP a second of a bfloat16 matrix product that suits the hardware."""
    side = 8192 if device == "cuda" else 512
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / median(lambda: a @ b, device, 5) / 1e9


def measure(row: Row, form: Form, device: str, repeats: int) -> Measured:
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    reached = peak(device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with random_backbones():
        method = make(row).to(device)
        trained = not isinstance(method, InpaintingModule) or method.trainable
        if not trained and form != Form():
            raise ValueError("completes in float32 under every precision")
        if form.channels_last:
            method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        batch = next(iter(batches(row, 1)))
        batch = batch._replace(image=batch.image.to(device), mask=batch.mask.to(device))
        network, step = forward_pass(method.eval(), batch), None
        precision = {"precision": "bf16-mixed" if form.bfloat16 else "32-true"}

        def fit(count: int, callbacks: list[L.Callback]) -> None:
            L.Trainer(
                accelerator="gpu" if device == "cuda" else "cpu", devices=1, max_steps=count,
                callbacks=callbacks, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                enable_model_summary=False, num_sanity_val_steps=0, **precision,  # type: ignore[arg-type]
            ).fit(method, batches(row, count))  # fmt: skip

        with torch.no_grad(), counter() as counted:
            network()
        forward_flops = counted.get_total_flops() / 1e9
        if trained:
            method.train()
            with counter() as counted:
                fit(row.cycle, [])
            watch, compiling = Stopwatch(device), [Compile()] if form.compiled else []
            fit(row.cycle * (repeats + 2), [*compiling, watch])
            measured = watch.seconds[2 * row.cycle :]
            cycles = [sum(measured[i : i + row.cycle]) for i in range(0, len(measured), row.cycle)]
            step = counted.get_total_flops() / 1e9 / row.cycle, statistics.median(cycles) / row.cycle
            method.to(device).eval()
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=form.bfloat16):
            forward = forward_flops, median(network, device, repeats)
    memory = torch.cuda.max_memory_allocated(device) / 2**20 if device == "cuda" else float("nan")
    return Measured(forward, step, reached, memory)


def patchmatch(folder: Path, device: str) -> str:
    """What a batch of all photographs of the folder costs, and how well their holes are filled."""
    images, masks = [], []
    for path in sorted((folder / "images").iterdir()):
        pixels, mask = cv2.imread(str(path)), cv2.imread(str(folder / "masks" / path.name), cv2.IMREAD_GRAYSCALE)
        images.append(torch.from_numpy(pixels[..., ::-1].copy()).permute(2, 0, 1) / 127.5 - 1)
        masks.append(torch.from_numpy(mask > 127)[None].float())
    image, mask = torch.stack(images), torch.stack(masks)
    scale = [(np.asarray(i.double().permute(1, 2, 0)) + 1) * 127.5 for i in image]
    holes, seeds = [m[0].numpy() == 1 for m in mask], [0] * len(mask)
    results: list[torch.Tensor] = []
    seconds = median(
        lambda: results.append(PatchMatch().complete_at_once(scale, holes, seeds, device).cpu()), device, 1
    )
    filled = (results[-1] / 127.5 - 1).permute(0, 3, 1, 2).float()
    psnr = metric("psnr_hole")(round_to_8_bits(torch.where(mask == 1, filled, image)), image, mask).mean()
    return f"PatchMatch, {len(image)} images at once: {seconds / len(image):.3f} s an image, {psnr:.2f} dB in the hole"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", help="only these")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--times", type=int, default=4, help="as many images a batch as the CPU's table has")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    a = parser.parse_args()
    device = a.device
    if device == "cuda" and not torch.cuda.is_available():
        print("GPU: not measured, torch finds none")
        return
    name = torch.cuda.get_device_name(device) if device == "cuda" else device
    print(f"torch {torch.__version__}, {name}")
    columns = ["method", "batch x side", "form", "forward ms", "images / s", "of bf16 peak"]
    columns += ["step ms", "images / s", "of bf16 peak", "MiB", "peak TFLOP/s"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in [row for row in ROWS if not a.methods or row.method in a.methods]:
        row, title = row._replace(batch=row.batch * a.times), f"{row.method} ({row.note})" if row.note else row.method
        for form in a.forms:
            begins = f"| {title} | {row.batch} x {row.size} | {form} |"
            try:
                forward, step, reached, memory = in_a_fresh_process(measure, row, FORMS[form], device, a.repeats)
            except Exception as error:  # the table says which do not run, and goes on
                print(f"{begins} {type(error).__name__}: {(str(error).splitlines() or [''])[0]} |", flush=True)
                continue
            cells = [
                f"{1000 * part[1]:.1f} | {row.batch / part[1]:.1f} | {part[0] / part[1] / reached:.2f}"
                if part
                else "- | - | -"
                for part in (forward, step)
            ]
            print(f"{begins} {' | '.join(cells)} | {memory:.0f} | {reached / 1000:.0f} |", flush=True)
    if a.photographs:
        print(patchmatch(a.photographs, device))


if __name__ == "__main__":
    main()
