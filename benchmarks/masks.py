"""Time of a mask beside the published generators, in alternation, process CPU time, one core.

    python -m benchmarks.masks --public DIR

DIR holds checkouts of advimman/lama and nipponjo/deepfillv2-pytorch at any depth; without it only our own times and the
replay of the same drawing calls are printed.
"""

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest import mock

import cv2
import numpy as np

from benchmarks.published import MissingCheckoutError
from masks import DeepFillV2Mask, FreeFormStrokes, LaMaThick, NoiseBlobs, Text
from masks.generator import MaskGenerator, keyed_rng
from masks.shapes import Box, Shape, Stroke

SIZE = 256
ROUNDS, MASKS = 30, 256


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--public", type=Path, help="folder with checkouts of the published code")
    ratios(parser.parse_args().public)
    for generator in (DeepFillV2Mask(), LaMaThick(), NoiseBlobs(), Text()):
        medians, _ = alternate([one_by_one(generator)])
        print(f"{generator}: {medians[0]:.0f} us")
    return 0


def ratios(public: Path | None) -> dict[str, float]:
    """Print the comparisons; by name, the drawing calls' time and the published generator's over ours."""
    cv2.setNumThreads(1)
    thick, strokes = LaMaThick(cap=1), FreeFormStrokes()
    found = compare("LaMa thick 256, not capped", thick, thick_shapes, published(published_thick, public))
    return found | compare("DeepFill v2 strokes", strokes, strokes.shapes, published(published_strokes, public))


def published(make: Callable[[Path], Callable[[int], None]], public: Path | None) -> Callable[[int], None] | None:
    """The published generator, or None; a checkout that is missing is said."""
    try:
        return make(public) if public else None
    except MissingCheckoutError as error:
        print(f"not measured: {error}")
        return None


def compare(
    name: str,
    generator: LaMaThick | FreeFormStrokes,
    shapes: Callable[[int, int, np.random.Generator], list[Shape]],
    published: Callable[[int], None] | None,
) -> dict[str, float]:
    """Print microseconds a mask and the ratios."""
    runs = [one_by_one(generator), in_block(generator), replay(shapes)]
    labels = ["seeded one by one", f"blocks of {MASKS}", "replay of the drawing calls"]
    if published:
        runs.append(published)
        labels.append("published")
    times, least = alternate(runs)
    print(name)
    for label, median, fastest in zip(labels, times, least, strict=True):
        print(f"  {label:<28}{median:7.1f} us a mask ({fastest:.1f} in the fastest round)")
    print(f"  {'one by one / replay':<28}{times[0] / times[2]:7.2f}")
    found = {f"{name}, replay": times[2] / times[0]}
    if published:
        found[f"{name}, published"] = times[3] / times[0]
        print(f"  {'one by one / published':<28}{times[0] / times[3]:7.2f}")
        print(f"  {'block / published':<28}{times[1] / times[3]:7.2f}")
    return found


def alternate(runs: list[Callable[[int], None]]) -> tuple[list[float], list[float]]:
    """Median and least microseconds a mask of each run; they take turns, so that a busy machine slows all of them."""
    times = np.zeros((ROUNDS, len(runs)))
    for turn in range(-3, ROUNDS):  # three rounds to warm up
        for place, run in enumerate(runs):
            start = time.process_time_ns()
            run(abs(turn))
            if turn >= 0:
                times[turn, place] = (time.process_time_ns() - start) / 1e3 / MASKS
    return np.median(times, axis=0).tolist(), times.min(axis=0).tolist()


def one_by_one(generator: MaskGenerator) -> Callable[[int], None]:
    """Every mask from its own key, as training and evaluation draw them."""

    def run(turn: int) -> None:
        for index in range(MASKS):
            generator(SIZE, SIZE, keyed_rng(0, "mask", turn, index))

    return run


def in_block(generator: LaMaThick | FreeFormStrokes) -> Callable[[int], None]:
    """All masks of a round from one key."""

    def run(turn: int) -> None:
        generator.block(MASKS, SIZE, SIZE, keyed_rng(0, "mask", turn))

    return run


def thick_shapes(height: int, width: int, rng: np.random.Generator) -> list[Shape]:
    """The geometry of LaMa's thick masks: one of its two parts, by its weights."""
    mixture = LaMaThick(cap=1).law()
    part = mixture.generators[int(rng.random() * 1.3 >= 1)]
    return part.shapes(height, width, rng)


def replay(shapes: Callable[[int, int, np.random.Generator], list[Shape]]) -> Callable[[int], None]:
    """Only the drawing: geometry made beforehand, one uint8 array cleared for each mask."""
    geometry = []
    for index in range(MASKS * 4):
        calls: list[tuple] = []
        for shape in shapes(SIZE, SIZE, keyed_rng(0, "mask", 0, index)):
            if isinstance(shape, Stroke):
                calls += zip(shape.points, shape.points[1:], shape.widths, strict=False)
            else:
                assert isinstance(shape, Box)
                calls.append(tuple(shape))
        geometry.append(calls)
    canvas = np.zeros((SIZE, SIZE), np.uint8)

    def run(turn: int) -> None:
        first = turn % 4 * MASKS
        for calls in geometry[first : first + MASKS]:
            canvas.fill(0)
            for call in calls:
                if len(call) == 3:
                    cv2.line(canvas, call[0], call[1], 1, call[2])
                else:
                    canvas[call[0] : call[2], call[1] : call[3]] = 1

    return run


def published_thick(public: Path) -> Callable[[int], None]:
    """``MixedMaskGenerator`` with the arguments of configs/data_gen/random_thick_256.yaml."""
    # Only the segmentation masks, which are off, need these two.
    stubs = {
        "saicinpainting": ModuleType("saicinpainting"),
        "saicinpainting.evaluation": ModuleType("saicinpainting.evaluation"),
        "saicinpainting.evaluation.masks": ModuleType("saicinpainting.evaluation.masks"),
        "saicinpainting.evaluation.masks.mask": SimpleNamespace(SegmentationMask=None),
        "saicinpainting.utils": SimpleNamespace(LinearRamp=None),
    }
    with mock.patch.dict(sys.modules, stubs):  # type: ignore[arg-type]
        module = load(public, "saicinpainting/training/data/masks.py")
    generator = module.MixedMaskGenerator(
        irregular_proba=1,
        irregular_kwargs={"min_times": 1, "max_times": 5, "max_width": 100, "max_angle": 4, "max_len": 200},
        box_proba=0.3,
        box_kwargs={"margin": 10, "bbox_min_size": 30, "bbox_max_size": 150, "max_times": 3, "min_times": 1},
        segm_proba=0,
        squares_proba=0,
    )
    image = np.zeros((3, SIZE, SIZE), np.float32)
    return repeat(lambda: generator(image))


def published_strokes(public: Path) -> Callable[[int], None]:
    """``brush_stroke_mask`` of nipponjo/deepfillv2-pytorch."""
    module = load(public, "utils/misc.py")
    config = SimpleNamespace(img_shapes=(SIZE, SIZE, 3))
    return repeat(lambda: module.brush_stroke_mask(config))


def repeat(draw: Callable[[], object]) -> Callable[[int], None]:
    def run(turn: int) -> None:
        for _ in range(MASKS):
            draw()

    return run


def load(public: Path, path: str) -> ModuleType:
    """A published file as a module."""
    found = sorted(file for file in public.rglob(Path(path).name) if file.as_posix().endswith(path))
    if not found:
        raise MissingCheckoutError(
            f"{public} holds no {path}: check out advimman/lama and nipponjo/deepfillv2-pytorch there"
        )
    specification = importlib.util.spec_from_file_location("published", found[0])
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
