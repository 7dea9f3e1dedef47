"""Training samples per second on one core: ours, masked and checked, against OpenCV + albumentations.

    python -m benchmarks.data FOLDER_OF_JPEGS

Both read a file, resize the shorter side to 256, crop 256x256 at random, mirror half of them and make float32 in
[-1, 1]; they take turns, and each turn's ratio is a pair of neighbours in time. The other side draws no mask, checks no
file and does not key its draws.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import torch

from datamodules.files import Files, find_images
from datamodules.training import TrainingSet
from datamodules.transforms import training_transform
from masks import DeepFillV2Mask, LaMaThick
from masks.generator import MaskGenerator

SIZE = 256


def peer(root: Path, names: list[str]) -> Callable[[int], torch.Tensor]:
    compose = A.Compose([A.SmallestMaxSize(SIZE), A.RandomCrop(SIZE, SIZE), A.HorizontalFlip(p=0.5)])

    def sample(index: int) -> torch.Tensor:
        pixels = cv2.cvtColor(cv2.imread(str(root / names[index % len(names)])), cv2.COLOR_BGR2RGB)
        pixels = compose(image=pixels)["image"]
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float().div_(127.5).sub_(1)

    return sample


def ours(root: Path, names: list[str], mask: MaskGenerator) -> Callable[[int], object]:
    transform = training_transform(SIZE, "shorter", (SIZE, SIZE), True, ())
    data = TrainingSet(Files(root, names), mask, transform, SIZE, seed=0, samples=10**9)
    return lambda index: data[(0, index)]


def seconds(sample: Callable[[int], object], count: int) -> float:
    start = time.process_time()  # of this core alone, whatever else the machine does
    for index in range(count):
        sample(index)
    return (time.process_time() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=50, help="of a turn")
    parser.add_argument("--turns", type=int, default=15)
    args = parser.parse_args()
    ratios(args.folder, args.samples, args.turns)


def ratios(folder: Path, samples: int = 50, turns: int = 15) -> dict[str, float]:
    """Print one line per mask; return by name our samples per second over the other side's."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    names, found = find_images(folder)[:200], {}
    theirs = peer(folder, names)
    for mask in (DeepFillV2Mask(), LaMaThick(size=SIZE)):
        mine = ours(folder, names, mask)
        pairs = [(seconds(theirs, samples), seconds(mine, samples)) for _ in range(turns + 1)][1:]
        each = sorted(a / b for a, b in pairs)
        found[type(mask).__name__] = statistics.median(each)
        peer_rate, own_rate = (1 / min(times) for times in zip(*pairs, strict=True))
        print(
            f"{type(mask).__name__}: {own_rate:.0f} masked samples/s, OpenCV + albumentations without masks "
            f"{peer_rate:.0f}/s; ratio {statistics.median(each):.2f} ({each[0]:.2f}-{each[-1]:.2f}, wanted 0.80)"
        )
    return found


if __name__ == "__main__":
    main()
