"""Masks of published programs, drawn by their own generators from checkouts, and what the tests keep of them.

    python -m tests.support.published_masks DIR [NAME ...]

writes tests/fixtures/published_masks.json: repository and commit of each generator, and quantiles of the hole shares
and of the shares of the border that are hole, of 2000 masks from seed 0. DIR holds the checkouts, each as OWNER+NAME
with its commit in .commit. Nothing of the programs is kept.
"""

import importlib.util
import json
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import yaml

FIXTURE = Path(__file__).parents[1] / "fixtures" / "published_masks.json"
LEVELS = np.arange(1, 20) / 20
COUNT = 2000
Draw = Callable[[], np.ndarray]  # (H, W), 1 = hole


class Published(NamedTuple):
    """One published law: where it is written, and the generator that a checkout makes."""

    repository: str
    file: str
    make: Callable[[Path], Draw]


def random_mask(size: int, hole_range: Sequence[float] = (0, 1), hole: int = 0) -> Callable[[Path], Draw]:
    """``RandomMask`` of the CoModGAN family; ``hole`` is its value of a hole."""

    def make(file: Path) -> Draw:
        with mock.patch.dict(sys.modules, {"tensorflow": ModuleType("tensorflow")}):
            module = _load(file)
        return lambda: module.RandomMask(size, list(hole_range))[0] == hole

    return make


def stroke_mask(file: Path) -> Draw:
    """``generate_stroke_mask`` of ICT, which uses numpy 1's ``np.int``."""
    stroke = _function(file, "generate_stroke_mask")
    return lambda: stroke([256, 256])[..., 0] > 0


def cropped_mask(name: str, height: int, width: int) -> Callable[[Path], Draw]:
    """``process_images`` of LaMa's gen_mask_dataset.py on pictures of one size: five masks, each cropped, one of those
    below the cap; a picture without one is left out."""

    def make(file: Path) -> Draw:
        root = file.parents[1]
        module, crop = (
            _lama(root),
            _function(root / "saicinpainting/evaluation/masks/mask.py", "propose_random_square_crop"),
        )
        config = yaml.safe_load((root / f"configs/data_gen/random_{name}.yaml").read_text())
        variants, cropping = config["mask_generator_kwargs"].pop("variants_n"), config["cropping"]
        generator, picture = module.MixedMaskGenerator(**config["mask_generator_kwargs"]), np.zeros((3, height, width))

        def draw() -> np.ndarray:
            kept: list[np.ndarray] = []
            while not kept:
                for mask in [generator(picture)[0] for _ in range(variants)]:
                    left, top, right, bottom = crop(mask, min_overlap=cropping["crop_min_overlap"])
                    square = mask[top:bottom, left:right]
                    kept += [square] if square.mean() <= config["max_tamper_area"] else []
            return kept[np.random.choice(len(kept))]  # noqa: NPY002

        return draw

    return make


def _lama(root: Path) -> ModuleType:
    """Its generators; only segmentation masks, which are off, need what is stubbed."""
    package = "saicinpainting"
    stubs: dict[str, Any] = {name: ModuleType(name) for name in (package, f"{package}.evaluation")}
    stubs[f"{package}.evaluation.masks"] = ModuleType("masks")
    stubs[f"{package}.evaluation.masks.mask"] = SimpleNamespace(SegmentationMask=None)
    stubs[f"{package}.utils"] = SimpleNamespace(LinearRamp=None)
    with mock.patch.dict(sys.modules, stubs):
        return _load(root / "saicinpainting/training/data/masks.py")


def _function(file: Path, name: str) -> Callable[..., Any]:
    """The last function of a file whose head imports what is not installed."""
    source, names = file.read_text(), {"np": _WithInt(), "random": random, "cv2": importlib.import_module("cv2")}
    exec(source[source.index(f"def {name}") :], names)
    return names[name]  # type: ignore[return-value]


class _WithInt:
    int = int

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


PUBLISHED: dict[str, Published] = {
    "comodgan_512": Published("zsyzzsoft/co-mod-gan", "training/mask_generator.py", random_mask(512)),
    "mat_large_512": Published("fenglinglwb/MAT", "datasets/mask_generator_512.py", random_mask(512)),
    "mat_small_512": Published("fenglinglwb/MAT", "datasets/mask_generator_512_small.py", random_mask(512)),
    "mat_large_256": Published("fenglinglwb/MAT", "datasets/mask_generator_256.py", random_mask(256)),
    "mat_small_256": Published("fenglinglwb/MAT", "datasets/mask_generator_256_small.py", random_mask(256)),
    "fcf_256": Published(
        "SHI-Labs/FcF-Inpainting", "training/data/mask_generator.py", random_mask(256, (0.1, 0.7), hole=1)
    ),
    **{
        f"lama_{name}_256_cropped": Published(
            "advimman/lama", "bin/gen_mask_dataset.py", cropped_mask(f"{name}_256", 256, 341)
        )
        for name in ("thin", "medium", "thick")
    },
    "lama_thick_256_portrait": Published(
        "advimman/lama", "bin/gen_mask_dataset.py", cropped_mask("thick_256", 341, 256)
    ),
    "ict": Published("raywzy/ICT", "Transformer/utils/util.py", stroke_mask),
}


def checkout(public: Path, name: str) -> Path:
    return public / PUBLISHED[name].repository.replace("/", "+")


def commit(public: Path, name: str) -> str:
    return (checkout(public, name) / ".commit").read_text()[:7]


def numbers(public: Path, name: str) -> dict[str, list[int]]:
    """The three numbers of ``RandomMask``, where the law has them."""
    text = (checkout(public, name) / PUBLISHED[name].file).read_text()
    found = [int(number) for number in re.findall(r"int\((\d+) \* coef\)", text)]
    return {"numbers": found} if found else {}


def drawn(public: Path, name: str, count: int = COUNT) -> Iterator[np.ndarray]:
    """Masks of a published law from seed 0."""
    draw = PUBLISHED[name].make(checkout(public, name) / PUBLISHED[name].file)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - what the programs draw from
    for _ in range(count):
        yield draw()


def border_share(mask: np.ndarray) -> float:
    """Share of the pixels along the four sides that are hole."""
    return float(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean())


def measured(masks: Iterator[np.ndarray]) -> dict[str, np.ndarray]:
    """Hole share and border share of each mask."""
    pairs = np.array([(mask.mean(), border_share(mask)) for mask in masks])
    return {"hole": pairs[:, 0], "border": pairs[:, 1]}


def gap(found: np.ndarray, quantiles: Sequence[float]) -> float:
    """Largest distance of an empirical distribution from quantiles at :data:`LEVELS`; ties count for either side."""
    found, at = np.sort(found), np.asarray(quantiles)
    below, until = (np.searchsorted(found, at, side) / len(found) for side in ("left", "right"))
    return float(np.maximum(LEVELS - until, below - LEVELS).max())


def _load(file: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location("published", file)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def main() -> None:
    public, kept = Path(sys.argv[1]), json.loads(FIXTURE.read_text())
    for name in sys.argv[2:] or PUBLISHED:
        law, shares = PUBLISHED[name], measured(drawn(public, name))
        kept[name] = {
            "source": f"github.com/{law.repository} at {commit(public, name)}, {law.file}",
            **numbers(public, name),
            **{key: [round(float(q), 5) for q in np.quantile(values, LEVELS)] for key, values in shares.items()},
        }
        print(name, {key: round(float(values.mean()), 4) for key, values in shares.items()}, flush=True)
        lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(kept[key])}" for key in PUBLISHED if key in kept)
        FIXTURE.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
