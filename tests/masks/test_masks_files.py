"""Masks in files: polarity, grey pixels, pairing, fixed sets, the command and every YAML."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from jsonargparse import ArgumentParser
from PIL import Image

import masks
from experiments.catalogue.masks import contact_sheet, main, touches_border
from masks import Augmented, DeepFillV2Mask, Half, MaskFolder, Mixture, Narrow
from masks.area import BUCKETS, bucket
from masks.build import build, describe
from masks.files import read_mask, resize_mask, write_mask
from masks.fixed import FixedSet
from masks.generator import MaskGenerator, keyed_rng

YAMLS = sorted((Path(__file__).parents[2] / "experiments" / "configs" / "masks").glob("*.yaml"))


def save(values: object, path: Path, mode: str | None = None) -> Path:
    image = Image.fromarray(np.asarray(values))
    (image.convert(mode) if mode else image).save(path)
    return path


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """6x8, white in the left quarter."""
    grey = np.zeros((6, 8), np.uint8)
    grey[:, :2] = 255
    return save(grey, tmp_path / "left.png")


def test_white_is_the_hole_unless_it_is_said_to_be_known(left: Path) -> None:
    hole, known = read_mask(left), read_mask(left, white="known")
    assert hole.dtype == np.uint8 and hole[:, :2].all() and hole[:, 2:].sum() == 0
    np.testing.assert_array_equal(known, 1 - hole)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_mask_reads_the_same_in_every_mode_of_the_file(left: Path, mode: str, tmp_path: Path) -> None:
    grey = np.asarray(Image.open(left))
    path = tmp_path / f"mode.{'tif' if mode == 'CMYK' else 'png'}"
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(grey).convert("RGB").convert(mode).save(path)
    np.testing.assert_array_equal(read_mask(path), read_mask(left))


def test_zeros_and_ones_are_black_and_white(tmp_path: Path) -> None:
    values = np.eye(4, dtype=np.uint8)
    np.testing.assert_array_equal(read_mask(save(values, tmp_path / "m.png")), values)


def test_a_soft_mask_is_refused_with_its_share_and_the_option(tmp_path: Path) -> None:
    grey = np.zeros((10, 10), np.uint8)
    grey[:5], grey[5] = 255, 90
    path = save(grey, tmp_path / "soft.png")
    with pytest.raises(
        ValueError, match=r"soft\.png: 10\.00% of its pixels are grey \(90 to 90\).*--mask-threshold 128"
    ):
        read_mask(path)
    assert read_mask(path, threshold=128).sum() == 50 and read_mask(path, threshold=90).sum() == 60
    assert read_mask(path, white="known", threshold=128).sum() == 50


def test_what_is_no_mask_is_refused_by_name(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"photo\.png is a colour picture.*swapped"):
        read_mask(save(colours, tmp_path / "photo.png"))
    clear = np.full((4, 4, 4), 255, np.uint8)
    clear[0, 0, 3] = 0
    with pytest.raises(ValueError, match=r"clear\.png: has transparent pixels.*--mask-alpha opaque"):
        read_mask(save(clear, tmp_path / "clear.png"))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png: not a picture"):
        read_mask(tmp_path / "text.png")
    whole = save(np.zeros((64, 64), np.uint8), tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.png: cannot be read as a mask"):
        read_mask(tmp_path / "cut.png")
    with pytest.raises(ValueError, match=r"gone\.png: no such file"):
        read_mask(tmp_path / "gone.png")
    with pytest.raises(ValueError, match="expected 'hole' or 'known'"):
        read_mask(tmp_path / "text.png", white="valid")  # type: ignore[arg-type]


def test_resizing_takes_the_nearest_pixel() -> None:
    mask = Narrow()(256, 256, keyed_rng(0, "m"))
    for height, width in ((101, 77), (311, 512), (64, 64)):  # sizes at which no pixel is as near as another
        expected = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
        np.testing.assert_array_equal(resize_mask(mask, height, width), expected)


def test_written_masks_come_back_bit_for_bit(tmp_path: Path) -> None:
    mask = Narrow()(97, 131, keyed_rng(0, "m"))
    write_mask(mask, tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), mask)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five masks of 8x8, file i with i + 1 hole columns."""
    for i, name in enumerate(("a.png", "b_mask000.png", "sub/c.png", "sub/d.png", ".hidden/e.png")):
        (tmp_path / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        mask = np.zeros((8, 8), np.uint8)
        mask[:, : i + 1] = 1
        write_mask(mask, tmp_path / "masks" / name)
    return tmp_path / "masks"


def test_a_mask_folder_draws_every_visible_file_by_the_seed(folder: Path) -> None:
    masks = MaskFolder(str(folder))
    drawn = [int(masks(8, 8, keyed_rng(0, "m", i))[0].sum()) for i in range(200)]
    assert set(drawn) == {1, 2, 3, 4} and min(drawn.count(k) for k in range(1, 5)) > 30
    assert MaskFolder(str(folder), white="known")(16, 16, keyed_rng(0, "m", 0)).sum() == 256 - drawn[0] * 2 * 16


def test_masks_pair_with_images_by_name(folder: Path) -> None:
    masks = MaskFolder(str(folder), pairing="name")
    pairs = masks.pairs(["sub/d.jpg", "a.jpg", "b.jpg"])
    assert pairs == ["sub/d.png", "a.png", "b_mask000.png"]
    assert masks.read(pairs[0])[0].sum() == 4
    with pytest.raises(ValueError, match=r"no mask for 1 of 2 images, the first is 'x.jpg'; its own first is 'a.png'"):
        masks.pairs(["a.jpg", "x.jpg"])
    with pytest.raises(ValueError, match=r"pairing='name'.* gives each image .* pairing='draw'"):
        masks(8, 8, keyed_rng(0, "m"))


def test_masks_pair_with_images_by_order_only_when_there_are_as_many(folder: Path) -> None:
    masks = MaskFolder(str(folder), pairing="order")
    assert masks.pairs(["0.png", "1.png", "2.png", "3.png"]) == ["a.png", "b_mask000.png", "sub/c.png", "sub/d.png"]
    with pytest.raises(ValueError, match="4 masks for 3 images"):
        masks.pairs(["0.png", "1.png", "2.png"])


def test_a_list_of_names_restricts_a_folder(folder: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("sub/c.png\n\n")
    assert MaskFolder(str(folder), names=str(listed)).files == ["sub/c.png"]
    listed.write_text("sub/c.png\nz.png\n")
    with pytest.raises(ValueError, match=r"lists 2 masks, 1 of them are not below.*the first is 'z.png'"):
        _ = MaskFolder(str(folder), names=str(listed)).files
    with pytest.raises(ValueError, match="no such folder"):
        _ = MaskFolder(str(tmp_path / "nowhere")).files


def test_real_masks_have_their_stated_share(data_dir: Path) -> None:
    masks = MaskFolder(str(data_dir / "hifill_masks"))
    shares = [masks(256, 256, keyed_rng(0, "m", i)).mean() for i in range(60)]
    assert len(masks.files) == 100 and min(shares) >= 0.16 and max(shares) <= 0.25
    augmented = Augmented(masks, size=256)
    assert 0.2 < np.mean([augmented(256, 256, keyed_rng(0, "m", i)).mean() for i in range(20)]) < 0.9


def test_a_fixed_set_is_regenerated_from_its_recipe_and_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, again = tmp_path / "set", tmp_path / "deep" / "again"
    asked = ["write", "LaMaThick", "--out", str(out), "--count", "5", "--size", "48x64", "--seed", "3"]
    assert main(asked) == 0
    recipe = yaml.safe_load((out / "set.yaml").read_text())
    assert recipe["sha256"] == FixedSet(build("LaMaThick"), 3, 5, 48, 64).sha256()
    assert main(["write", str(out / "set.yaml"), "--out", str(again)]) == 0
    assert "The same as in" in capsys.readouterr().out
    files = sorted(out.iterdir())
    assert [file.name for file in files] == [*(f"{i:05d}.png" for i in range(5)), "set.yaml"]
    assert all(file.read_bytes() == (again / file.name).read_bytes() for file in files)
    for i, mask in enumerate(FixedSet.from_recipe(recipe)):
        np.testing.assert_array_equal(read_mask(out / f"{i:05d}.png"), mask)
    with pytest.raises(ValueError, match="is never overwritten"):
        main(asked)
    assert not list(tmp_path.glob(".*"))  # no half-written set is left


def test_a_recipe_that_gives_other_bits_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = FixedSet(DeepFillV2Mask(), 0, 2, 32, 32).recipe() | {"sha256": "0" * 64}
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["write", str(tmp_path / "old.yaml"), "--out", str(tmp_path / "new")]) == 1
    assert "These are not the masks of" in capsys.readouterr().err


def test_a_failing_set_leaves_nothing_behind(tmp_path: Path) -> None:
    impossible = build(
        {"class_path": "AreaBounded", "init_args": {"generator": {"class_path": "Half"}, "low": 0.6, "high": 0.7}}
    )
    with pytest.raises(ValueError, match="none of 1000 masks"):
        FixedSet(impossible, 0, 2, 16, 16).write(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_the_contact_sheet_shows_holes_white_and_never_overwrites(tmp_path: Path) -> None:
    sheet = contact_sheet([Half()(32, 32, keyed_rng(0, "m"))] * 3, columns=2, tile=64).convert("L")
    assert sheet.size == (2 * 68, 2 * 80 + 14)
    assert sheet.getpixel((60, 30)) == 255 and sheet.getpixel((10, 30)) == 0
    out = tmp_path / "sheet.png"
    assert main(["show", "Text", "--out", str(out), "--count", "4", "--size", "64"]) == 0
    assert Image.open(out).size[0] == 4 * 132
    with pytest.raises(ValueError, match="exists"):
        main(["show", "Text", "--out", str(out)])


def test_measure_counts_buckets_and_border_contact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    for name, box in {"centre": (20, 44), "corner": (0, 20), "all": (0, 64)}.items():
        mask = np.zeros((64, 64), np.uint8)
        mask[box[0] : box[1], box[0] : box[1]] = 1
        write_mask(mask, folder / f"{name}.png")
    assert main(["measure", str(folder), "--lists", str(tmp_path / "lists")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["(0.1,", "0.2]", "1", "0", "1"] in rows and ["(0.01,", "0.1]", "0", "1", "1"] in rows
    lists = {path.name: path.read_text() for path in (tmp_path / "lists").iterdir()}
    assert lists == {
        "hole_10_20_clear.txt": "centre.png\n",
        "hole_01_10_border.txt": "corner.png\n",
        "hole_60_100_border.txt": "all.png\n",
    }
    listed = MaskFolder(str(folder), names=str(tmp_path / "lists" / "hole_10_20_clear.txt"))
    assert listed(64, 64, keyed_rng(0, "m")).mean() == 24**2 / 64**2
    with pytest.raises(ValueError, match="never overwritten"):
        main(["measure", str(folder), "--lists", str(tmp_path / "lists")])


def test_measure_says_when_the_polarity_looks_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.ones((16, 16), np.uint8)
    mask[4:8] = 0
    write_mask(mask, tmp_path / "m.png")
    assert main(["measure", str(tmp_path)]) == 0
    assert "pass --white known" in capsys.readouterr().out
    assert main(["measure", str(tmp_path), "--white", "known"]) == 0
    assert "pass --white" not in capsys.readouterr().out


def test_buckets_exclude_their_low_end() -> None:
    assert [BUCKETS[bucket(share)] for share in (0.01, 0.1, 0.6)] == [(0, 0.01), (0.01, 0.1), (0.5, 0.6)]
    mask = np.zeros((512, 512), np.uint8)
    mask[50, 256] = 1
    assert not touches_border(mask, 50 / 512)
    mask[49, 256] = 1
    assert touches_border(mask, 50 / 512)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "Narow", "--out", "x.png"], "'Narow' is not a mask generator. Did you mean 'Narrow'?"),
        (["write", "nowhere.yaml", "--out", "x"], "there is no file and no configuration 'nowhere.yaml'"),
        (["measure", "nowhere"], "nowhere: no such folder"),
        (["write", "Half", "--out", "x", "--count", "0"], "at least one mask"),
        (["show", "Half", "--out", "x.png", "--count", "0"], "'0' is not a whole number from 1"),
        (["show", "Half", "--out", "x.png", "--tile", "-5"], "'-5' is not a whole number from 1"),
        (["show", "Half", "--out", "x.png", "--columns", "0"], "'0' is not a whole number from 1"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        main(arguments)


def test_a_wrong_argument_in_a_configuration_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"LaMaThick has no argument 'sise'. Did you mean 'size'?"):
        build({"class_path": "masks.LaMaThick", "init_args": {"sise": 512}})
    with pytest.raises(ValueError, match=r"Mixture: .*missing.*'generators'"):
        build("Mixture")


class Holder:
    def __init__(self, mask: MaskGenerator) -> None:
        self.mask = mask


@pytest.mark.parametrize("file", YAMLS, ids=lambda path: path.stem)
def test_every_yaml_gives_the_same_generator_here_and_through_the_command_line(file: Path) -> None:
    generator = build(yaml.safe_load(file.read_text()))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Holder, "data")
    parsed = parser.parse_args(["--data", f"{__name__}.Holder", "--data.mask", str(file)])
    assert parser.instantiate(parsed).data.mask == generator == build(describe(generator))
    if "MaskFolder" not in repr(generator):
        assert 0 < generator(64, 64, keyed_rng(0, "m")).mean() < 1


def test_a_nested_configuration_comes_back() -> None:
    mixture = Mixture((Half(), Narrow(cap=0.4)), (1, 2))
    assert build(yaml.safe_load(yaml.safe_dump(describe(mixture)))) == mixture


def test_the_command_imports_no_torch() -> None:
    code = "import experiments.catalogue.masks, sys; sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], timeout=60).returncode == 0


def test_the_page_on_masks_shows_every_generator() -> None:
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "masks.md").read_text()
    assert [name for name in masks.__all__ if f"**{name}**" not in page] == []
    pictures = re.findall(r"\((images/masks/\w+\.png)\)", page)
    assert {path.name for path in (docs / "images" / "masks").iterdir()} == {Path(picture).name for picture in pictures}
    assert sum((docs / picture).stat().st_size for picture in pictures) < 600_000
