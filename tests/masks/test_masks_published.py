"""Our laws beside the masks that published programs draw: hole shares and contact with the border.

tests/support/published_masks.py says how the kept quantiles were drawn; where LIT_INPAINT_PUBLIC names a folder with
the checkouts, the programs draw again.
"""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp

from experiments.catalogue.masks import recipe_of
from masks import AreaBounded, CoModGANMask, LaMaThick, MaskFolder, RePaintWide, SquareCrop, Wide
from masks.build import build
from masks.fixed import FixedSet
from tests.support.published_masks import COUNT, FIXTURE, LEVELS, PUBLISHED, commit, drawn, gap, measured

KEPT = json.loads(FIXTURE.read_text())
SIZES = {name: 512 if "512" in name else 256 for name in PUBLISHED}
OURS = 1000
# Two samples of one law are further apart in one case of twenty.
USUAL = 1.36 * math.sqrt(1 / COUNT + 1 / OURS)


def ours(name: str, count: int = OURS) -> dict[str, np.ndarray]:
    """The installed YAML of the same name; LaMa's on pictures higher than wide beside it."""
    size = SIZES[name]
    portrait = name == "lama_thick_256_portrait"
    law = SquareCrop(LaMaThick(cap=1), aspect=3 / 4) if portrait else build(recipe_of(name)["mask"])
    return measured(iter(FixedSet(law, 0, count, size, size)))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_law_agrees_with_the_published_generator(name: str) -> None:
    found = ours(name)
    for key, values in found.items():
        assert gap(values, KEPT[name][key]) < USUAL, key
    if public := os.environ.get("LIT_INPAINT_PUBLIC"):
        found, theirs = ours(name, COUNT), measured(drawn(Path(public), name))
        assert commit(Path(public), name) in KEPT[name]["source"]
        for key, values in found.items():
            assert ks_2samp(values, theirs[key]).pvalue > 0.05, key
            # Not by gap: border shares are ties of many, on whose far side a kept quantile may be rounded.
            assert np.quantile(theirs[key], LEVELS) == pytest.approx(KEPT[name][key], abs=1e-5), key


@pytest.mark.parametrize("name", [name for name in PUBLISHED if "numbers" in KEPT[name]])
def test_a_yaml_has_the_numbers_of_its_program(name: str) -> None:
    law = build(recipe_of(name)["mask"])
    share = 1.0
    if isinstance(law, AreaBounded):  # the program takes the sum of its hole range, at most 1, of each number
        share, law = law.low + law.high, law.generator
    assert isinstance(law, CoModGANMask) and law.size == SIZES[name]
    assert [law.small, law.large, law.strokes] == [int(share * number) for number in KEPT[name]["numbers"]]


def test_repaints_wide_files_agree_with_the_law_named_after_them_and_not_with_lamas_weights() -> None:
    files = json.loads((FIXTURE.parent / "repaint_thick.json").read_text())
    kept = {"hole": np.array(files["hole"]) / 256**2, "border": np.array(files["border"]) / (4 * 256)}
    if data := os.environ.get("LIT_INPAINT_DATA"):
        folder = MaskFolder(f"{data}/repaint_masks/thick", white="known")
        found = measured(folder.read(file) for file in folder.files)
        assert {key: values.tolist() for key, values in found.items()} == {k: v.tolist() for k, v in kept.items()}
    ours = measured(iter(FixedSet(RePaintWide(), 0, COUNT, 256, 256)))
    for key, values in ours.items():
        assert ks_2samp(values, kept[key]).pvalue > 0.05, key
    lamas = measured(iter(FixedSet(Wide(), 0, COUNT, 256, 256)))
    assert ks_2samp(lamas["border"], kept["border"]).pvalue < 0.05
    free = {"files": kept["border"], "ours": ours["border"], "LaMa's": lamas["border"]}
    assert {name: round(float((border == 0).mean()), 1) for name, border in free.items()} == {
        "files": 0.5,
        "ours": 0.5,
        "LaMa's": 0.4,
    }
