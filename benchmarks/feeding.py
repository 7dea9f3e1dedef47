"""How many cores feed one GPU: samples per second of every data set and mask law beside what a training step takes.

    python -m benchmarks.feeding FOLDER_OF_PHOTOGRAPHS [--write]

The data sets are not here: their files are stood in for by JPEGs of their sizes, patched together from the photographs
at their own scale, and read with the data set's own YAML. Process CPU seconds of one core, the least of several rounds.

What a GPU needs follows from the FLOPs of a training step (docs/speed.md, "Hardware utilisation") and an assumption:
that it reaches 30 % of its dense bfloat16 peak, 312 TFLOP/s for an A100 and 989 for an H100 (NVIDIA's data sheets, SXM
modules). A step in float32 without TF32 takes 16 times as long on an A100, so it needs a sixteenth of the cores.
``--write`` puts the tables into docs/speed.md, between the marks.
"""

import argparse
import itertools
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jsonargparse import ArgumentParser

import masks
from datamodules import InpaintingDataModule
from datamodules.files import Files, find_images
from datamodules.reading import read_image
from masks.generator import MaskGenerator, keyed_rng

ROOT = Path(__file__).resolve().parents[1]
SPEED = ROOT / "docs" / "speed.md"
PEAKS = {"A100": 312.0, "H100": 989.0}  # TFLOP/s
REACHED = 0.3
ROUNDS, SECONDS = 5, 0.4  # a round lasts at least this long


class Source(NamedTuple):
    """A YAML of experiments/configs/data and its JPEGs: height, width, quality; None where it has its own."""

    config: str
    file: tuple[int, int, int] | None = None
    image_size: int | None = None


SOURCES = (
    Source("celebahq", (1024, 1024, 95)),
    Source("places2", (512, 683, 75)),
    Source("places2_glcic", (512, 683, 75)),
    Source("places2_lama", (512, 683, 75)),
    Source("places2_512", (512, 683, 75)),
    Source("imagenet", (375, 500, 90)),
    Source("paris_streetview", (537, 936, 90)),
    Source("celeba_glcic", (218, 178, 90)),
    Source("sample_photos"),
    Source("drawn_faces"),
    Source("drawn_faces", image_size=256),
)
# What trains on what: the row of docs/speed.md, and the data set of the published YAML with its image size.
PAIRS = (
    ("ContextEncoder", "paris_streetview"),
    ("GLCIC", "places2_glcic"),
    ("DeepFillV1", "places2"),
    ("DeepFillV2", "places2"),
    ("DeepFillV2", "celebahq"),
    ("PartialConv", "places2_512"),
    ("AOTGAN", "places2_512"),
    ("LaMa", "places2_lama"),
    ("DSIVQVAE", "places2"),
    ("DSIStructure", "places2"),
    ("DSITexture", "places2"),
    ("ICTUpsampler", "imagenet"),
    ("DDPM (552,814,086 parameters, activations recomputed)", "places2"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/speed.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as scratch:
        rates, tables = data_rates(arguments.folder, Path(scratch))
    tables += ["", *law_lines(), "", *need_lines(SPEED.read_text(encoding="utf-8"), rates)]
    print("\n".join(tables))
    if arguments.write:
        text = SPEED.read_text(encoding="utf-8")
        before, rest = text.split("<!-- feeding -->\n")
        after = rest.split("<!-- end feeding -->")[1]
        body = "\n".join(tables)
        SPEED.write_text(f"{before}<!-- feeding -->\n{body}\n<!-- end feeding -->{after}", encoding="utf-8")


def cpu_seconds(sample: Callable[[int], object]) -> float:
    """CPU time of one call, the least over the rounds: a neighbour on the machine only adds to it."""
    least, number = float("inf"), itertools.count()
    sample(next(number))
    for _ in range(ROUNDS):
        start, calls = time.process_time(), 0
        while (spent := time.process_time() - start) < SECONDS:
            sample(next(number))
            calls += 1
        least = min(least, spent / calls)
    return least


# ---- data sets ------------------------------------------------------------------------------------------------------


def data_rates(folder: Path, scratch: Path) -> tuple[dict[str, float], list[str]]:
    """Samples per second by YAML, and the lines of their table; small files have 9/8 of the side read."""
    photographs = [read_image(folder / name) for name in find_images(folder)]
    lines = [
        "| data | files | px | samples / s and core | of it decoding | with small files |",
        "|---|---|---|---|---|---|",
    ]
    rates = {}
    for source in SOURCES:
        data = module_of(source, scratch)
        said, decoding, small = "drawn" if "drawn" in source.config else "its own", "-", "-"
        if source.file:
            height, width, quality = source.file
            root = scratch / f"{height}x{width}"
            names = make_files(root, photographs, source.file)
            rate = rate_of(data, Files(root, names))
            decoded = cpu_seconds(lambda i, root=root, names=names: read_image(root / names[i % len(names)]))
            decoding = f"{decoded * rate:.0%}"
            said = f"{width}x{height} JPEG"
            side = data.shorter_side[1] * 9 // 8
            if data.resize != "none" and side < min(height, width):
                scale = side / min(height, width)
                fitted = (round(height * scale), round(width * scale), quality)
                smaller = scratch / f"{height}x{width}-small"
                small = f"{rate_of(data, Files(smaller, make_files(smaller, photographs, fitted))):.0f}"
        else:
            rate = rate_of(data, data.files("train"))
        rates[source.config] = rates.get(source.config, rate)
        lines.append(f"| `{source.config}` | {said} | {data.image_size} | {rate:.0f} | {decoding} | {small} |")
        print(lines[-1], flush=True)
    return rates, lines


def module_of(source: Source, root: Path) -> InpaintingDataModule:
    """The data module of a YAML, whatever files are below its root."""
    parser = ArgumentParser()
    parser.add_subclass_arguments(InpaintingDataModule, "data")
    path = ROOT / "experiments" / "configs" / "data" / f"{source.config}.yaml"
    words = [f"--data={path}", *([f"--data.init_args.image_size={source.image_size}"] if source.image_size else [])]
    data: InpaintingDataModule = parser.instantiate_classes(parser.parse_args(words)).data
    return data


def rate_of(data: InpaintingDataModule, files: Files) -> float:
    """Training samples per second of one core: read, resized, cropped, masked, as a tensor."""
    data._training, data._files["train"] = None, files
    training = data.training_set()
    return 1 / cpu_seconds(lambda i: training[(0, i % len(training))])


def make_files(root: Path, photographs: list[np.ndarray], file: tuple[int, int, int], count: int = 24) -> list[str]:
    """JPEGs of one size, patched together from photographs at their own scale; made once."""
    height, width, quality = file
    root.mkdir(exist_ok=True)
    names = [f"{index:03}.jpg" for index in range(count)]
    following = itertools.cycle(photographs)
    for name in names:
        if not (root / name).is_file():
            canvas = np.zeros((height, width, 3), np.uint8)
            for top, left in itertools.product(range(0, height, 320), range(0, width, 320)):
                patch = next(following)[:320, :320][: height - top, : width - left]
                canvas[top : top + patch.shape[0], left : left + patch.shape[1]] = patch
            cv2.imwrite(str(root / name), canvas[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return names


# ---- masks ----------------------------------------------------------------------------------------------------------


def laws() -> Iterator[tuple[str, MaskGenerator]]:
    """Every law that needs no argument."""
    for name in masks.__all__:
        cls = getattr(masks, name)
        if isinstance(cls, type) and issubclass(cls, MaskGenerator) and cls is not masks.OwnMasks:  # it draws none
            try:
                yield name, cls()
            except TypeError:
                continue


def law_lines() -> list[str]:
    lines = ["| mask law | microseconds at 256 px | masks / s and core |", "|---|---|---|"]
    for name, law in laws():
        seconds = cpu_seconds(lambda i, law=law: law(256, 256, keyed_rng(0, "mask", 0, i)))
        lines.append(f"| `{name}` | {seconds * 1e6:.0f} | {1 / seconds:,.0f} |")
        print(lines[-1], flush=True)
    return lines


# ---- what a step needs ----------------------------------------------------------------------------------------------


def gigaflops(page: str) -> dict[str, float]:
    """Per image of a training step, by the rows of the page's table of hardware utilisation."""
    rows = re.findall(r"^\| ([^|]+) \| (\d+) x \d+ \|(?:[^|]+\|){3} (\d+) \|", page, re.MULTILINE)
    return {name.split(" (5 disc")[0]: float(flop) / int(batch) for name, batch, flop in rows}


def need_lines(page: str, rates: dict[str, float]) -> list[str]:
    """The images that a step takes per second, and the cores that read them."""
    flop = gigaflops(page)
    heads = [f"{gpu}: images / s | cores" for gpu in PEAKS]
    lines = [f"| method | data | GFLOP / image | {' | '.join(heads)} |", "|---|---|---|" + "---|---|" * len(PEAKS)]
    for method, data in PAIRS:
        cells = []
        for peak in PEAKS.values():
            images = REACHED * peak * 1000 / flop[method]
            cells.append(f"{images:,.0f} | {images / rates[data]:.1f}")
        lines.append(f"| {method} | `{data}` | {flop[method]:.1f} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
