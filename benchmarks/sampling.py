"""Sampling in bfloat16: how much faster than float32, and what it does to the completions.

    python -m benchmarks.sampling CHECKPOINT FOLDER [--device cuda]

CHECKPOINT is a DDPM, FOLDER the images of its test split (as for benchmarks.sampler_table). Each form completes the
same images under the same holes from the same noise; LPIPS is AlexNet's after upsampling to 256, its difference to
float32 paired by image. The weights stay float32: bfloat16 is autocast.
"""

import argparse
import time

import numpy as np
import torch

from datamodules import ImageFolder
from experiments.records.intervals import mean_interval
from lit_inpaint.callbacks.compile import compile_in_place
from lit_inpaint.diffusion.samplers import DDNM
from lit_inpaint.load import load_method
from lit_inpaint.methods import DDPM
from lit_inpaint.metrics import metric
from masks import Wide

FORMS = {  # dtype of autocast, memory format, compiled
    "float32": (None, torch.contiguous_format, False),
    "float32, channels_last": (None, torch.channels_last, False),
    "bfloat16": (torch.bfloat16, torch.contiguous_format, False),
    "bfloat16, channels_last": (torch.bfloat16, torch.channels_last, False),
    "bfloat16, channels_last, compiled": (torch.bfloat16, torch.channels_last, True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("images")
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--steps", type=int, default=20, help="of DDNM")
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args()
    method = load_method(a.checkpoint, device=a.device)
    assert isinstance(method, DDPM) and method.fixed_size
    method.sampler = DDNM(a.steps)
    clock = time.process_time if a.device == "cpu" else time.perf_counter
    size = {"image_size": method.fixed_size, "limit_eval": a.limit}
    data = ImageFolder(a.images, Wide(), val_share=0.02, test_share=0.2786, **size)
    items = list(data.evaluation_set("test"))  # type: ignore[call-overload]
    image, mask = (torch.stack([getattr(i, k) for i in items]).to(a.device) for k in ("image", "mask"))
    names = [i.name for i in items]
    print(f"{method.sampler}, {len(items)} images of {method.fixed_size}x{method.fixed_size} at once on {a.device}, "
          f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")  # fmt: skip
    print("| form | s | float32 / it | images per minute | LPIPS | difference to float32 [95 % interval] |")
    print("|---|---|---|---|---|---|")
    lpips = metric("lpips_alex_up256")
    first: tuple[float, np.ndarray] | None = None
    for name, (dtype, layout, compiled) in FORMS.items():
        method.denoiser.to(memory_format=layout)
        if compiled:
            compile_in_place(method.denoiser)
        for _ in range(2):  # the second is timed
            begun = clock()
            with torch.no_grad(), torch.autocast(a.device, dtype or torch.bfloat16, enabled=dtype is not None):
                completed = method.sample(image, mask, 1, seed=0, names=names)[0]
            if a.device != "cpu":
                torch.cuda.synchronize()
            seconds = clock() - begun
        with torch.no_grad():
            scores = lpips(completed.float(), image, mask).numpy(force=True)
        first = first or (seconds, scores)
        difference = scores - first[1]
        interval = mean_interval(difference) if name != "float32" else None
        bounds = f" [{interval[0]:+.4f}, {interval[1]:+.4f}]" if interval else ""
        print(
            f"| {name} | {seconds:.1f} | {first[0] / seconds:.2f} | {60 * len(items) / seconds:.0f} | "
            f"{scores.mean():.4f} | {difference.mean():+.4f}{bounds} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
