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
from masks.build import build
from masks.fixed import FixedSet
from tests.support.published_masks import COUNT, FIXTURE, PUBLISHED, commit, drawn, gap, measured

KEPT = json.loads(FIXTURE.read_text())
SIZES = {name: 512 if "512" in name else 256 for name in PUBLISHED}
OURS = 1000
# Two samples of one law are further apart in one case of twenty.
USUAL = 1.36 * math.sqrt(1 / COUNT + 1 / OURS)


def ours(name: str, count: int = OURS) -> dict[str, np.ndarray]:
    """The installed YAML of the same name."""
    size = SIZES[name]
    return measured(iter(FixedSet(build(recipe_of(name)["mask"]), 0, count, size, size)))


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
            assert gap(theirs[key], KEPT[name][key]) < 1e-3, key
