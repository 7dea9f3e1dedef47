"""Training steps beside the published program's, in alternation: process CPU seconds on one thread, float32.

    python -m benchmarks.steps [METHOD ...] --public DIR

DIR holds checkouts of the repositories that :mod:`benchmarks.published` names, at any depth; a program that is not
there is said and left out. Both sides train the same networks on the same random images by the same number of updates,
each in a process of its own, and take turns, so that a busy machine slows both; the ratio is the median over turns of
theirs / ours. Ours is the whole training step inside a Trainer, with what `lit-inpaint fit` sets on a CPU. Backbones
have random weights on both sides.
"""

import argparse
import json
import logging
import multiprocessing
import statistics
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch

from benchmarks import published
from benchmarks.utilisation import SMALL_DENOISER, Row, batches, in_a_fresh_process, make, random_backbones, steps
from lit_inpaint.malloc import keep_freed_memory


class Pair(NamedTuple):
    """Our row, the published program, and what is wanted: theirs / ours, required and aimed at."""

    row: Row
    peer: str
    required: float
    aim: float


UNET7 = {"levels": 7, "variant": "first_version"}
PAIRS = {
    "DeepFillV2": Pair(Row("DeepFillV2", 256, arguments={"variant": "nipponjo"}), "deepfillv2", 1.15, 1.3),
    "DeepFillV1": Pair(Row("DeepFillV1", 256, cycle=6, arguments={"variant": "daa233"}), "deepfillv1", 1.12, 1.2),
    "AOTGAN": Pair(Row("AOTGAN", 256, arguments={"variant": "official"}), "aotgan", 1.35, 1.6),
    "LaMa": Pair(Row("LaMa", 256, arguments={"blocks": 18, "perceptual_weight": 0}), "lama", 1.0, 1.0),
    "LaMa, one pass": Pair(
        Row("LaMa", 256, arguments={"blocks": 18, "perceptual_weight": 0, "share_forward": True}), "lama", 1.2, 1.3
    ),
    "PartialConv": Pair(Row("PartialConv", 256, arguments=UNET7), "partial_conv", 1.0, 1.0),
    "PartialConv, no VGG": Pair(
        Row("PartialConv", 256, arguments=UNET7 | {"perceptual_weight": 0, "style_weight": 0}),
        "partial_conv_without_vgg",
        1.2,
        1.3,
    ),
    "DDPM": Pair(Row("DDPM", 64, 4, arguments=SMALL_DENOISER), "ddpm", 1.08, 1.2),
}


class Alternate(L.Callback):
    """Time every cycle of ours, and let the other process make one after it."""

    def __init__(self, cycle: int, peer: Connection) -> None:
        self.cycle, self.peer = cycle, peer
        self.ours: list[float] = []
        self.theirs: list[float] = []
        self.start = 0.0

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx % self.cycle == 0:
            self.start = time.process_time()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (batch_idx + 1) % self.cycle == 0:
            self.ours.append(time.process_time() - self.start)
            self.peer.send("go")
            self.theirs.append(self.peer.recv())


def serve(name: str, public: Path, connection: Connection) -> None:
    """The other process: seconds of one published cycle for every message. None comes first, or why there are none."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    image, mask, _ = next(iter(batches(PAIRS[name].row, 1)))
    try:
        iterate = getattr(published, PAIRS[name].peer)(public, image, mask)
    except published.MissingCheckoutError as error:
        connection.send(str(error))
        return
    connection.send(None)
    while connection.recv() == "go":
        start = time.process_time()
        iterate()
        connection.send(time.process_time() - start)


def measure(name: str, repeats: int, peer: Connection) -> tuple[list[float], list[float]]:
    """Seconds of our cycles and of theirs, the first of either (allocation, first choice of kernels) left out."""
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    keep_freed_memory()
    row = PAIRS[name].row
    turns = Alternate(row.cycle, peer)
    with random_backbones():
        steps(make(row), row, row.cycle * (1 + repeats), [turns])
    return turns.ours[1:], turns.theirs[1:]


def beside(name: str, public: Path, repeats: int) -> tuple[list[float], list[float]] | str:
    """Both lists of seconds, or why they were not measured. Either side has a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    peer = context.Process(target=serve, args=(name, public, theirs), daemon=True)
    peer.start()
    theirs.close()
    try:
        missing = ours.recv()
        return missing if missing else in_a_fresh_process(measure, name, repeats, ours)
    finally:
        peer.terminate()


def ratios(public: Path, names: list[str], repeats: int) -> dict[str, float]:
    """Print one line per row; return theirs / ours by name."""
    found = {}
    print("| method | batch x side | published s | ours s | theirs / ours (least to most) | required | aim |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        row, _, required, aim = PAIRS[name]
        times = beside(name, public, repeats)
        if isinstance(times, str):
            print(f"| {name} | not measured: {times} |")
            continue
        ours, theirs = times
        each = sorted(b / a for a, b in zip(ours, theirs, strict=True))
        found[name] = statistics.median(each)
        print(
            f"| {name} | {row.batch} x {row.size} | {statistics.median(theirs):.2f} | {statistics.median(ours):.2f} | "
            f"**{found[name]:.2f}** ({each[0]:.2f}-{each[-1]:.2f}) | {required} | {aim} |",
            flush=True,
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", help=f"only these of {', '.join(PAIRS)}")
    parser.add_argument("--public", type=Path, required=True, help="folder with checkouts of the published code")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the ratios into this file")
    a = parser.parse_args()
    if unknown := set(a.methods) - set(PAIRS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; allowed: {', '.join(PAIRS)}")
    found = ratios(a.public, a.methods or list(PAIRS), a.repeats)
    if a.json:
        a.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
