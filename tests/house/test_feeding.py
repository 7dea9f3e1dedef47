"""The cores per GPU that docs/speed.md states follow from the tables beside them."""

import re

from benchmarks import feeding
from tests.support.house import ROOT

PAGE = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")


def rates() -> dict[str, float]:
    """Samples per second by YAML; of two rows of one YAML, the first."""
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| \d+ \| (\d+) \|", PAGE, re.MULTILINE)
    return {name: float(rate) for name, rate in reversed(rows)}


def test_cores_follow_from_flops_and_samples_of_the_same_page():
    lines = feeding.need_lines(PAGE, rates())
    assert len(lines) == 2 + len(feeding.PAIRS)
    stated = [line for line in PAGE.splitlines() if line.startswith(tuple(f"| {m} | `" for m, _ in feeding.PAIRS))]
    numbers = [[float(cell.replace(",", "")) for cell in line.split("|")[3:-1]] for line in (*lines[2:], *stated)]
    for computed, written in zip(numbers[: len(stated)], numbers[len(stated) :], strict=True):
        assert all(abs(a - b) <= 0.1 + 0.01 * a for a, b in zip(computed, written, strict=True))
    assert len(stated) == len(feeding.PAIRS)


def test_flops_per_image_are_those_of_a_step_over_its_batch():
    assert feeding.gigaflops("| LaMa | 2 x 256 | 127 | 2133 | 0.67 | 982 | 17861 | 0.62 | 0.11 | 2406 |") == {
        "LaMa": 491
    }


def test_every_law_without_arguments_is_measured():
    names = [name for name, _ in feeding.laws()]
    assert {"LaMaThick", "CoModGANMask", "Wide"} <= set(names) and "MaskFolder" not in names
