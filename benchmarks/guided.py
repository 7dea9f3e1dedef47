"""A sketch guides a DeepFillV2: images to train and test with, and whether completions follow the lines they are given.

    python -m benchmarks.guided images $LIT_INPAINT_DATA/bsds500 runs/guided_images
    lit-inpaint fit --config deepfillv2/guided64.yaml
    python -m benchmarks.guided test runs/deepfillv2_guided64/checkpoints/last.ckpt runs/guided_images/test

Images are 64x64: crops of photographs, and random two-tone shapes. Each held-out image has its centre taken out and is
completed three times: with the edges of its own truth as the sketch, with those of the next image, and without any.
A completion's edge map is the size of its gradient in the hole; it is correlated with each sketch, a pixel blurred.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from experiments.records.intervals import mean_interval
from lit_inpaint.load import load_method
from lit_inpaint.methods import DeepFillV2
from lit_inpaint.methods.deepfillv2.sketch import canny_edges

SIZE = 64


def crop(photograph: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random square of 128 px or more, reduced to 64."""
    side = int(rng.integers(128, min(photograph.shape[:2]) + 1))
    top, left = (int(rng.integers(0, n - side + 1)) for n in photograph.shape[:2])
    return cv2.resize(photograph[top : top + side, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def two_tones(rng: np.random.Generator) -> NDArray[np.uint8]:
    """One to three filled ellipses or polygons of one colour on another, 128 px reduced to 64."""
    tones = rng.integers(0, 256, (2, 3))
    while np.abs(tones[0] - tones[1]).sum() < 200:
        tones = rng.integers(0, 256, (2, 3))
    image = np.full((2 * SIZE, 2 * SIZE, 3), tones[0], np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        centre = rng.integers(32, 96, 2)
        if rng.random() < 0.5:
            axes = (int(rng.integers(12, 48)), int(rng.integers(12, 48)))
            cv2.ellipse(image, centre.tolist(), axes, float(rng.uniform(0, 180)), 0, 360, tones[1].tolist(), -1)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
            points = centre + rng.uniform(16, 56, (len(angles), 1)) * np.stack([np.cos(angles), np.sin(angles)], 1)
            cv2.fillPoly(image, [points.round().astype(np.int32)], tones[1].tolist())
    return cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def write_images(photographs: Path, out: Path) -> None:
    """400 crops of 50 photographs and 400 shapes to train with; 25 crops of 25 others and 25 shapes to test with."""
    rng = np.random.default_rng(0)
    for folder, source, count, each in (("train", "train", 50, 8), ("test", "test", 25, 1)):
        (out / folder).mkdir(parents=True, exist_ok=False)
        for path in sorted((photographs / source).glob("*.jpg"))[:count]:
            pixels = np.asarray(Image.open(path).convert("RGB"))
            for i in range(each):
                Image.fromarray(crop(pixels, rng)).save(out / folder / f"photo-{path.stem}-{i}.png")
        for i in range(count * each):
            Image.fromarray(two_tones(rng)).save(out / folder / f"shape-{i:03d}.png")


def correlation(completed: Tensor, sketch: Tensor) -> float:
    """Correlation of gradient size and blurred lines, both in the hole's square (3, h, w) and (1, h, w)."""
    grey = ((completed.mean(0) + 1) * 127.5).numpy()
    gradient = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    lines = cv2.GaussianBlur(sketch[0].numpy(), (0, 0), 1)
    if not gradient.std() or not lines.std():  # nothing there: no correlation
        return 0.0
    return float(np.corrcoef(gradient.ravel(), lines.ravel())[0, 1])


def test(checkpoint: str, folder: Path, panel: Path | None) -> None:
    method = load_method(checkpoint)
    assert isinstance(method, DeepFillV2) and method.sketch
    files = sorted(folder.glob("*.png"))
    pixels = np.stack([np.asarray(Image.open(f).convert("RGB")) for f in files])
    image = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    mask = torch.zeros(len(image), 1, SIZE, SIZE)
    hole = (..., slice(SIZE // 4, 3 * SIZE // 4), slice(SIZE // 4, 3 * SIZE // 4))
    mask[hole] = 1
    own = canny_edges(image, method.canny) * mask
    # The next image of the same kind: a photograph's lines for a photograph, a shape's for a shape.
    kinds = [[i for i, f in enumerate(files) if f.name.startswith(kind)] for kind in ("photo", "shape")]
    following = {i: kind[(k + 1) % len(kind)] for kind in kinds for k, i in enumerate(kind)}
    other = own[[following[i] for i in range(len(files))]]
    with torch.no_grad():
        drawn, misled, free = (method(image, mask, sketch=s) for s in (own, other, None))
    for said, completions, given, unseen in (
        ("its own sketch", drawn, own, other),
        ("another's sketch", misled, other, own),
        ("no sketch", free, own, other),
    ):
        rows = [[correlation(c[hole], s[i][hole]) for s in (given, unseen)] for i, c in enumerate(completions)]
        values = np.array(rows)
        gain = values[:, 0] - values[:, 1]
        first, second = values.mean(0)
        against = "their own than with another's" if said == "no sketch" else "the given than with the other"
        print(f"given {said}: {(gain > 0).sum()} of {len(gain)} holes correlate more with {against} sketch")
        low, high = mean_interval(gain)
        print(f"    {first:+.3f} and {second:+.3f}, difference {gain.mean():+.3f} [{low:+.3f}, {high:+.3f}]")
    if panel:
        shown = [*range(0, 25, 5), *range(25, 50, 5)]
        columns = [image * (1 - mask), 2 * own - 1, drawn, 2 * other - 1, misled, free, image]
        sheet = torch.cat([torch.cat([c[i].expand(3, -1, -1) for c in columns], 2) for i in shown], 1)
        array = ((sheet + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(array).resize(
            (array.shape[1] * 3 // 2, array.shape[0] * 3 // 2), Image.Resampling.NEAREST
        ).save(panel)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    images = commands.add_parser("images")
    images.add_argument("photographs", type=Path, help="folder with train/ and test/ of BSDS500")
    images.add_argument("out", type=Path)
    tested = commands.add_parser("test")
    tested.add_argument("checkpoint")
    tested.add_argument("folder", type=Path)
    tested.add_argument("--panel", type=Path)
    a = parser.parse_args()
    if a.command == "images":
        write_images(a.photographs, a.out)
    else:
        test(a.checkpoint, a.folder, a.panel)


if __name__ == "__main__":
    main()
