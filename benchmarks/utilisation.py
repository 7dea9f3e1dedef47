"""How near to the hardware every method runs: FLOPs, time, share of the convolution peak, memory. One thread.

    python -m benchmarks.utilisation [METHOD ...]

Each row runs in a process of its own: the published network and its whole training step (every optimiser, the losses;
their backbones have random weights) on random images of the published size. FLOPs are those of convolutions and matrix
products, counted by torch; a Fourier transform counts nothing. The peak is that of a 3x3 convolution of 256 channels,
measured in the same process before and after; time is process CPU time, the least of the repeats (a neighbour of the
machine only adds to it), of which there are more than asked for where they are short; memory is the process's highest
resident memory above that of its imports.
"""

import argparse
import logging
import math
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar
from unittest import mock

import lightning as L
import torch
import torchvision
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from lit_inpaint import methods
from lit_inpaint.classes import stage_classes
from lit_inpaint.malloc import keep_freed_memory
from lit_inpaint.memory import resident_peak
from lit_inpaint.methods import DDPM
from lit_inpaint.methods.dsi.stages import DSIStructure, DSITexture
from lit_inpaint.methods.ict.palette import make_palette
from lit_inpaint.methods.ict.stages import ICTTransformer, ICTUpsampler
from lit_inpaint.methods.lama.loss import DilatedResNet50, HighReceptiveFieldFeatures
from lit_inpaint.module import InpaintingModule
from lit_inpaint.stage import Stage
from masks.convention import InpaintingBatch

T = TypeVar("T")


class Row(NamedTuple):
    """A method at its published size; ``cycle``: batches until every network has stepped."""

    method: str
    size: int
    batch: int = 2
    cycle: int = 1
    arguments: dict[str, Any] | None = None
    note: str = ""


SHORT = 5.0  # seconds that a forward pass, and a training, is repeated for at least
SMALL_DENOISER = {
    "image_size": 64, "model_channels": 64, "num_res_blocks": 2, "channel_mult": [1, 2, 3, 4],
    "attention_resolutions": [16, 8], "num_head_channels": 32,
}  # fmt: skip
ROWS = [
    Row("ContextEncoder", 128, 8),
    Row("GLCIC", 256),
    Row("DeepFillV1", 256, cycle=6, note="5 discriminator batches to 1 of the generator"),
    Row("PartialConv", 512),
    Row("DeepFillV2", 256),
    Row("AOTGAN", 512, 1),
    Row("LaMa", 256),
    Row("LaMa", 256, arguments={"blocks": 18}, note="18 blocks"),
    Row("DSIVQVAE", 256),
    Row("DSIStructure", 256),
    Row("DSITexture", 256),
    Row("ICTTransformer", 256, 1, note="48x48 tokens"),
    Row("ICTUpsampler", 256),
    Row("DDPM", 64, 4, arguments=SMALL_DENOISER, note="64 channels"),
    Row("DDPM", 256, 1, arguments={"use_checkpoint": True}, note="552,814,086 parameters, activations recomputed"),
    Row("MIGAN", 512, 1, note="released weights alone"),
]


def make(row: Row) -> Stage:
    method: Stage = (getattr(methods, row.method, None) or stage_classes()[row.method])(**(row.arguments or {}))
    if isinstance(method, DSIStructure | DSITexture):
        method.vqvae.top.updates += 1  # counts as trained
    if isinstance(method, ICTTransformer | ICTUpsampler):
        method.palette.copy_(make_palette("uniform", len(method.palette), method.grid, None))
    return method


def forward_pass(method: Any, batch: InpaintingBatch) -> Callable[[], Any]:
    """What one completion costs; of a stage, what its validation computes; of a DDPM, one call of its network."""
    if isinstance(method, DDPM):
        t = torch.zeros(len(batch.image), dtype=torch.long, device=batch.image.device)
        return lambda: method.denoiser(batch.image, t)
    if isinstance(method, InpaintingModule):
        return lambda: method.predict(batch.image, batch.mask)
    return lambda: (method.evaluation_loss if hasattr(method, "evaluation_loss") else method._validate)(batch)


def now(device: str = "cpu") -> float:
    """Seconds: of this process on a CPU, of the clock on a GPU that has done its work."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


class Stopwatch(L.Callback):
    """Seconds of every training step, without the time between them."""

    def __init__(self, device: str = "cpu") -> None:
        self.device, self.start = device, 0.0
        self.seconds: list[float] = []

    def on_train_batch_start(self, *arguments: Any) -> None:
        self.start = now(self.device)

    def on_train_batch_end(self, *arguments: Any) -> None:
        self.seconds.append(now(self.device) - self.start)


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


@contextmanager
def random_backbones() -> Iterator[None]:
    """The networks of perceptual losses with random weights, whether or not their files are here: the time is equal."""

    def state(name: str) -> dict[str, torch.Tensor]:
        return getattr(torchvision.models, name)(weights=None).features.state_dict()

    def resnet(features: HighReceptiveFieldFeatures) -> DilatedResNet50:
        return DilatedResNet50().eval().requires_grad_(False)

    with (
        mock.patch.multiple("lit_inpaint.losses.perceptual", features_state=state, backbone=mock.DEFAULT),
        mock.patch.multiple(HighReceptiveFieldFeatures, require=lambda _: None, _load=resnet),
    ):
        yield


def in_a_fresh_process(function: Callable[..., T], *arguments: Any) -> T:
    """What ``function`` returns, in a process of its own: its peak of memory is of nothing else."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def steps(method: Stage, row: Row, count: int, callbacks: list[L.Callback]) -> None:
    trainer = L.Trainer(
        accelerator="cpu", devices=1, max_steps=count, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, callbacks=callbacks,
    )  # fmt: skip
    trainer.fit(method, batches(row, count))


class _Everything:
    """Instead of the counter's hooks into modules, which a gradient of a gradient breaks."""

    parents = ("Global",)

    def __enter__(self) -> None: ...

    def __exit__(self, *error: Any) -> None: ...


def counter() -> FlopCounterMode:
    mode = FlopCounterMode(display=False)
    mode.mod_tracker = _Everything()  # type: ignore[assignment]
    return mode


class Measured(NamedTuple):
    """GFLOP and seconds of a forward pass and of a batch of training; of the process, GFLOP a second and MiB."""

    forward: tuple[float, float]
    step: tuple[float, float] | None
    peak: float
    memory: float


def measure(row: Row, repeats: int) -> Measured:
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    keep_freed_memory()  # as fit does on a CPU
    reached = peak()
    before = resident_peak()
    with random_backbones():
        method = make(row).eval()
        network = forward_pass(method, next(iter(batches(row, 1))))
        with torch.no_grad():
            with counter() as counted:
                network()
            seconds: list[float] = []
            while len(seconds) < repeats or sum(seconds) < SHORT:
                start = time.process_time()
                network()
                seconds.append(time.process_time() - start)
        forward, step = (counted.get_total_flops() / 1e9, min(seconds)), None
        if not isinstance(method, InpaintingModule) or method.trainable:
            method.train()
            with counter() as counted:
                steps(method, row, row.cycle, [])
            watch = Stopwatch()
            # A step is three forward passes or more.
            enough = max(repeats, math.ceil(SHORT / (3 * row.cycle * forward[1])))
            steps(method, row, row.cycle * (1 + enough), [watch])
            measured = watch.seconds[row.cycle :]  # in the first cycle optimisers make their state
            cycles = [sum(measured[i : i + row.cycle]) for i in range(0, len(measured), row.cycle)]
            step = counted.get_total_flops() / 1e9 / row.cycle, min(cycles) / row.cycle
    return Measured(forward, step, max(reached, peak()), (resident_peak() - before) / 2**20)


def shares(names: list[str], repeats: int) -> dict[str, float]:
    """Print one line per row; return by name the fraction of the convolution peak."""
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread, float32")
    columns = ["method", "batch x side", "forward GFLOP", "ms", "of peak", "step GFLOP", "ms", "of peak"]
    columns += ["images / s", "MiB", "peak GFLOP/s"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    found = {}
    for row in [row for row in ROWS if not names or row.method in names]:
        name = f"{row.method} ({row.note})" if row.note else row.method
        try:
            forward, step, reached, memory = in_a_fresh_process(measure, row, repeats)
        except BrokenProcessPool:
            print(f"| {name} | {row.batch} x {row.size} | its process was killed, most likely for want of memory |")
            found |= {f"{name}, {kind}": 0.0 for kind in ("forward", "step")}
            continue
        cells = []
        for kind, part in (("forward", forward), ("step", step)):
            if part is None:
                cells.append("- | - | -")
                continue
            found[f"{name}, {kind}"] = part[0] / part[1] / reached
            cells.append(f"{part[0]:.0f} | {1000 * part[1]:.0f} | {found[f'{name}, {kind}']:.2f}")
        rate = f"{row.batch / step[1]:.2f}" if step else "-"
        ends = f"{rate} | {memory:.0f} | {reached:.0f}"
        print(f"| {name} | {row.batch} x {row.size} | {' | '.join(cells)} | {ends} |", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", help="only these")
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()
    if unknown := set(a.methods) - {row.method for row in ROWS}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; allowed: {', '.join({row.method for row in ROWS})}")
    shares(a.methods, a.repeats)


if __name__ == "__main__":
    main()
