"""Samplers on one denoiser: the same images, holes and noise seeds under RePaint's six masks, a Markdown table.

    python -m benchmarks.sampler_table runs/ddpm_faces32/checkpoints/last.ckpt $LIT_INPAINT_DATA/synthetic_faces256

LPIPS is measured after upsampling to 256. Calls count a backward pass as another. Diversity is the mean LPIPS between
two completions of the first images. The last column is the mean paired difference of LPIPS to the first sampler
(RePaint), as a share of its LPIPS, with its 95 % interval. --gradients adds the samplers that need backward passes.
"""

import argparse
import time

import numpy as np
import torch

from datamodules import ImageFolder
from experiments.records.intervals import mean_interval
from lit_inpaint.diffusion.samplers import DDNM, DDRM, DPS, MCG, CoPaint, RePaint, RePaintDDIM, Replacement, Sampler
from lit_inpaint.load import load_method
from lit_inpaint.methods import DDPM
from lit_inpaint.metrics import metric
from masks import AlternatingLines, Expand, Half, Narrow, SuperResolve2x, Wide
from masks.generator import MaskGenerator

MASKS: list[MaskGenerator] = [Wide(), Narrow(), SuperResolve2x(), AlternatingLines(), Half(), Expand()]
SAMPLERS: list[Sampler] = [
    RePaint(50, 5, 5),
    Replacement(50),
    RePaintDDIM(20, 5, 2),
    DDNM(20),
    DDRM(20),
]
GRADIENTS: list[Sampler] = [MCG(100), DPS(100), CoPaint(40)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("images", help="folder of ddpm/faces32.yaml: the 100 images of its test split are used")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--diversity", type=int, default=20, help="the first images, completed twice")
    parser.add_argument("--masks", nargs="+", default=[type(mask).__name__ for mask in MASKS])
    parser.add_argument("--gradients", action="store_true")
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args()
    method = load_method(a.checkpoint, device=a.device)
    assert isinstance(method, DDPM) and method.fixed_size
    clock = time.process_time if a.device == "cpu" else time.perf_counter  # other jobs of the machine do not count
    lpips, psnr, diversity = metric("lpips_alex_up256"), metric("psnr_hole"), metric("diversity_lpips")
    print("| mask | sampler | LPIPS | hole PSNR | diversity | calls | s / image | LPIPS against RePaint |")
    print("|---|---|---|---|---|---|---|---|")
    for mask in [mask for mask in MASKS if type(mask).__name__ in a.masks]:
        data = ImageFolder(
            a.images, mask, val_share=0.02, test_share=0.2786, image_size=method.fixed_size, limit_eval=a.limit
        )
        items = list(data.evaluation_set("test"))  # type: ignore[call-overload]
        reference = None
        for sampler in SAMPLERS + GRADIENTS * a.gradients:
            method.sampler, scores, decibels, spread, seconds = sampler, [], [], [], 0.0
            for start in range(0, len(items), a.batch_size):
                part = items[start : start + a.batch_size]
                image, hole = (torch.stack([getattr(i, k) for i in part]).to(a.device) for k in ("image", "mask"))
                begun = clock()
                n = 2 if start < a.diversity else 1
                with torch.no_grad():
                    samples = method.sample(image, hole, n, seed=0, names=[i.name for i in part])
                seconds += (clock() - begun) / n
                with torch.no_grad():
                    scores += lpips(samples[0], image, hole).tolist()
                    decibels += psnr(samples[0], image, hole).tolist()
                    if n > 1:
                        large = [torch.nn.functional.interpolate(s, 256, mode="bilinear") for s in samples]
                        spread += diversity(torch.stack(large)).tolist()
            values = np.array(scores)
            reference = values if reference is None else reference
            difference, interval = values - reference, mean_interval(values - reference)
            share = 100 / reference.mean()
            bounds = f" [{interval[0] * share:+.1f}, {interval[1] * share:+.1f}]" if interval else ""
            print(
                f"| {type(mask).__name__} | {sampler} | {values.mean():.4f} | {np.nanmean(decibels):.2f} | "
                f"{np.mean(spread) if spread else float('nan'):.4f} | {sampler.network_calls} | "
                f"{seconds / len(items):.2f} | {difference.mean() * share:+.1f} %{bounds} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
