"""`masks show` takes every name that `fit` takes, and draws the masks of the generator that `fit` would train with."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import ArgumentParser
from PIL import Image

import masks
from experiments.catalogue.masks import contact_sheet, draw_masks, main, recipe_of
from experiments.files.find import INSTALLED
from experiments.train.arguments import installed
from masks.build import build, describe
from masks.files import write_mask
from masks.fixed import FixedSet
from masks.generator import MaskGenerator, keyed_rng

YAMLS = sorted((INSTALLED / "masks").glob("*.yaml"))
ARGUMENTS: dict[str, dict[str, Any]] = {  # of the generators that need some; a class may stand for its defaults
    "AreaBounded": {"generator": "RandomRectangle", "low": 0.05, "high": 0.3},
    "Augmented": {"generator": {"class_path": "masks.CenterRectangle", "init_args": {"height": 0.25}}},
    "Inset": {"generator": "masks.rectangles.CenterRectangle"},
    "MaskFolder": {"root": "drawn"},
    "SquareCrop": {"generator": {"class_path": "masks.LaMaThick", "init_args": {"cap": 1}}},
    "Mixture": {"generators": ["Half", {"class_path": "Text"}], "weights": [1, 2]},
}
LAW = """
from dataclasses import dataclass
import numpy as np
from masks.generator import MaskGenerator

@dataclass(frozen=True)
class Stripe(MaskGenerator):
    rows: int = 2

    def __call__(self, height, width, rng):
        mask = np.zeros((height, width), np.uint8)
        mask[: self.rows] = 1
        return mask
"""


class Holder:
    def __init__(self, mask: MaskGenerator) -> None:
        self.mask = mask


@pytest.fixture(autouse=True)
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of masks, and a lab's own package."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drawn").mkdir()
    for index in range(3):
        write_mask(masks.LaMaThick()(64, 64, keyed_rng(0, "m", index)), tmp_path / "drawn" / f"{index}.png")
    (tmp_path / "a_lab").mkdir()
    (tmp_path / "a_lab" / "stripes.py").write_text(LAW)
    monkeypatch.syspath_prepend(tmp_path)


def of_fit(name: str) -> MaskGenerator:
    """Parsed value of ``--data.init_args.mask NAME`` of `fit`."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Holder, "data")
    parsed = parser.parse_args(["--data", f"{__name__}.Holder", f"--data.mask={installed(name)}"])
    found = parser.instantiate(parsed).data.mask
    assert isinstance(found, MaskGenerator)
    return found


def of_show(name: str) -> MaskGenerator:
    return build(recipe_of(name)["mask"])


def check_picture(name: str) -> None:
    assert main(["show", name, "--out", "sheet.png", "--count", "3", "--size", "64"]) == 0
    expected = contact_sheet(draw_masks(of_fit(name), 3, 64, 64))
    assert Image.open("sheet.png").tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", masks.__all__)
def test_a_class_is_shown_by_its_name_its_path_and_with_arguments(name: str):
    cls = getattr(masks, name)
    given = ARGUMENTS.get(name, {})
    for path in (name, f"masks.{name}", f"{cls.__module__}.{name}"):
        with_arguments = json.dumps({"class_path": path, "init_args": given})
        generator = of_fit(with_arguments)
        assert type(generator) is cls and of_show(with_arguments) == generator
        assert given or of_show(path) == of_fit(path) == generator
    if name != "OwnMasks":  # which has no picture without images
        check_picture(with_arguments)
    every = {key: value for key, value in describe(generator)["init_args"].items() if value is not None}
    assert set(every) <= set(inspect.signature(cls).parameters)
    assert of_show(json.dumps({"class_path": name, "init_args": every})) == generator


@pytest.mark.parametrize("file", YAMLS, ids=lambda path: path.stem)
def test_an_installed_yaml_is_shown_by_its_name(file: Path):
    if "MaskFolder" in file.read_text():
        pytest.skip("it names a folder of the user's")
    expected = of_fit(f"masks/{file.name}")
    for name in (f"masks/{file.name}", file.name, f"masks/{file.stem}", file.stem, str(file)):
        assert of_show(name) == expected


def test_a_class_of_a_package_of_ones_own_is_shown_written_and_written_again():
    taller = "{class_path: a_lab.stripes.Stripe, init_args: {rows: 5}}"
    inside = "{class_path: Inset, init_args: {generator: a_lab.stripes.Stripe, border: 3}}"
    Path("own.yaml").write_text(taller)
    for name in ("a_lab.stripes.Stripe", taller, inside, "own.yaml"):
        assert of_show(name) == of_fit(name)
    check_picture(taller)
    asked = ["write", "a_lab.stripes.Stripe", "--out", "set", "--count", "2", "--size", "8"]
    assert main(asked) == 0
    assert "class_path: a_lab.stripes.Stripe" in Path("set/set.yaml").read_text()
    assert main(["write", "set/set.yaml", "--out", "again"]) == 0
    assert FixedSet(build("a_lab.stripes.Stripe"), 0, 2, 8, 8).sha256() in Path("again/set.yaml").read_text()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lama_thik_512", "Did you mean 'lama_thick_512'?"),
        ("masks.Narow", "Did you mean 'Narrow'?"),
        ("masks.lama.Narow", "Did you mean 'Narrow'?"),
        ("no_such_lab.Stripe", "'no_such_lab.Stripe' is not a mask generator"),
        ("os.path.join", "'os.path.join' is not a mask generator"),
        ("masks.build.build", "'masks.build.build' is not a mask generator"),
        (
            "{class_path: a_lab.stripes.Stripe, init_args: {row: 1}}",
            "Stripe has no argument 'row'. Did you mean 'rows'?",
        ),
        ("{class_path: Half", "is not YAML"),
        ("{init_args: {rows: 1}}", "class_path"),
        ("Inset", "missing 1 required positional argument: 'generator'"),
    ],
)
def test_a_wrong_name_is_one_line(name: str, message: str):
    with pytest.raises(ValueError) as error:
        of_show(name)
    assert message in str(error.value)
