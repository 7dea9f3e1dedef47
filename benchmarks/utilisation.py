"""How near to the hardware every method runs: FLOPs, time, share of the convolution peak, memory. One thread.

    python -m benchmarks.utilisation [METHOD ...]

Each row runs in a process of its own: the published network and its whole training step (every optimiser, the losses
with the backbones that are on this machine) on random images of the published size. FLOPs are those of convolutions
and matrix products, counted by torch; a Fourier transform counts nothing. The peak is that of a 3x3 convolution of 256
channels, measured in the same process before and after; time is process CPU time, the median of the steps.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
import warnings
from typing import Any, NamedTuple

import lightning as L
import torch
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from lit_inpaint import methods
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch


class Row(NamedTuple):
    """A method at its published size; ``cycle``: batches until every network has stepped."""

    method: str
    size: int
    batch: int = 2
    cycle: int = 1
    arguments: dict[str, Any] | None = None
    note: str = ""


NO_VGG19 = {"perceptual_weight": 0, "style_weight": 0}
SMALL_DENOISER = {
    "image_size": 64, "model_channels": 64, "num_res_blocks": 2, "channel_mult": [1, 2, 3, 4],
    "attention_resolutions": [16, 8], "num_head_channels": 32,
}  # fmt: skip
ROWS = [
    Row("ContextEncoder", 128, 8),
    Row("GLCIC", 256),
    Row("DeepFillV1", 256, cycle=5),
    Row("PartialConv", 512),
    Row("DeepFillV2", 256),
    Row("DDPM", 64, 4, 1, SMALL_DENOISER, "64 channels at 64x64, 25 M parameters"),
]


class Stopwatch(L.Callback):
    """CPU seconds of every training step, without the time between them."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.start = 0.0

    def on_train_batch_start(self, *arguments: Any) -> None:
        self.start = time.process_time()

    def on_train_batch_end(self, *arguments: Any) -> None:
        self.seconds.append(time.process_time() - self.start)


def peak() -> float:
    """GFLOP a second of a convolution that suits the hardware."""
    image, weight = torch.randn(1, 256, 64, 64), torch.randn(256, 256, 3, 3)
    best = float("inf")
    with torch.no_grad():
        for _ in range(6):
            start = time.process_time()
            torch.nn.functional.conv2d(image, weight, padding=1)
            best = min(best, time.process_time() - start)
    return 2 * 256 * 256 * 9 * 64 * 64 / best / 1e9


def batches(row: Row, count: int) -> DataLoader:
    items = []
    for index in range(count * row.batch):
        mask = torch.zeros(1, row.size, row.size)
        hole = slice(row.size * 9 // 32, row.size * 23 // 32)  # 56 of 128: the Context Encoder takes no larger one
        mask[:, hole, hole] = 1
        items.append(InpaintingBatch(torch.rand(3, row.size, row.size) * 2 - 1, mask, f"image-{index}"))
    return DataLoader(items, batch_size=row.batch)


def steps(method: InpaintingModule, row: Row, count: int, callbacks: list[L.Callback]) -> None:
    trainer = L.Trainer(
        accelerator="cpu", devices=1, max_steps=count, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, callbacks=callbacks,
    )  # fmt: skip
    trainer.fit(method, batches(row, count))


def measure(row: Row, repeats: int, queue: Any) -> None:
    """Put the cells of one row of the table into ``queue``."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    before, resident = peak(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    method = getattr(methods, row.method)(**(row.arguments or {}))
    batch = next(iter(batches(row, 1)))
    forward = FlopCounterMode(display=False)
    seconds = []
    method.eval()
    with torch.no_grad():
        network = (lambda: method.denoiser(batch.image, torch.zeros(row.batch, dtype=torch.long))) if (
            row.method == "DDPM"
        ) else lambda: method.predict(batch.image, batch.mask)  # fmt: skip
        with forward:
            network()
        for _ in range(repeats):
            start = time.process_time()
            network()
            seconds.append(time.process_time() - start)
    method.train()
    step, watch = FlopCounterMode(display=False), Stopwatch()
    with step:
        steps(method, row, row.cycle, [])
    steps(method, row, row.cycle * (1 + repeats), [watch])
    cycles = [sum(watch.seconds[i : i + row.cycle]) / row.cycle for i in range(0, len(watch.seconds), row.cycle)][1:]
    reached = max(before, peak())
    cells = []
    for flops, taken in ((forward.get_total_flops(), seconds), (step.get_total_flops() / row.cycle, cycles)):
        median = statistics.median(taken)
        cells.append(f"{flops / 1e9:.0f} | {1000 * median:.0f} | {flops / 1e9 / median / reached:.2f}")
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident) / 1024
    name = f"{row.method} ({row.note})" if row.note else row.method
    rate = row.batch / statistics.median(cycles)
    ends = f"{rate:.2f} | {memory:.0f} | {reached:.0f}"
    queue.put(f"| {name} | {row.batch} x {row.size} | {' | '.join(cells)} | {ends} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", help="only these")
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()
    print(f"torch {torch.__version__}, one thread, float32")
    columns = ["method", "batch x side", "forward GFLOP", "ms", "of peak", "step GFLOP", "ms", "of peak"]
    columns += ["images / s", "MiB", "peak GFLOP/s"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    context = multiprocessing.get_context("spawn")
    for row in [row for row in ROWS if not a.methods or row.method in a.methods]:
        queue = context.Queue()
        process = context.Process(target=measure, args=(row, a.repeats, queue))
        process.start()
        process.join()
        failed = f"| {row.method} | failed, exit code {process.exitcode} |"
        print(failed if process.exitcode else queue.get(), flush=True)


if __name__ == "__main__":
    main()
