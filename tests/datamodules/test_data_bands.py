"""Extra bands and values of other than 8 bits are read as specified or rejected by name."""

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from datamodules import EvaluationSet, ImageFolder
from datamodules.files import Files
from datamodules.reading import UnreadableImageError, read_image
from experiments.cli import main
from masks import CenterRectangle

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
INFRARED = RNG.integers(0, 256, (24, 32, 1), dtype=np.uint8)
INFRARED[:, :16] = 0  # water
FOUR = np.concatenate([RGB, INFRARED], -1)
TWELVE = (RGB.astype(np.uint32) * 4095 // 255).astype(np.uint16)


@pytest.mark.parametrize("tag", ["unassalpha", "assocalpha", "unspecified"])
@pytest.mark.parametrize("deep", [False, True])
def test_a_fourth_band_is_refused_unless_it_is_named(tmp_path: Path, tag: str, deep: bool):
    path = tmp_path / "tile.tif"
    tifffile.imwrite(path, FOUR.astype(np.uint16) * 257 if deep else FOUR, photometric="rgb", extrasamples=[tag])
    with pytest.raises(UnreadableImageError, match=r"tile\.tif: has a fourth band.*Set bands to rgb .* or alpha"):
        read_image(path)
    np.testing.assert_array_equal(read_image(path, bands="rgb"), RGB)  # also where alpha would be divided out
    if tag == "unspecified":
        with pytest.raises(UnreadableImageError, match="not tagged alpha"):
            read_image(path, bands="alpha")
    else:
        assert (read_image(path, bands="alpha")[:, :16] == 255).all()
    if deep:
        np.testing.assert_array_equal(read_image(path, bands="rgb", white_level=65535), RGB)


def test_other_formats_and_numbers_of_bands(tmp_path: Path):
    tifffile.imwrite(tmp_path / "two.tif", FOUR[..., :2], photometric="minisblack", extrasamples=["unassalpha"])
    five = np.concatenate([FOUR, INFRARED], -1)
    tifffile.imwrite(tmp_path / "five.tif", five, photometric="rgb", extrasamples=["unspecified"] * 2)
    for name, held in (("two", "a second band"), ("five", "5 bands for 3 of colour")):
        with pytest.raises(UnreadableImageError, match=rf"{name}\.tif: has {held}"):
            read_image(tmp_path / f"{name}.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "five.tif", bands="rgb"), RGB)
    Image.fromarray(FOUR).save(tmp_path / "a.jp2")
    with pytest.raises(UnreadableImageError, match=r"a\.jp2: has a fourth band"):
        read_image(tmp_path / "a.jp2")
    for name in ("a.png", "a.webp", "a.tga"):  # here alpha is transparency
        Image.fromarray(FOUR).save(tmp_path / name)
        assert read_image(tmp_path / name, bands="rgb").shape == (24, 32, 3)
        assert (read_image(tmp_path / name)[:, :16] == 255).all(), name
    for mode in ("RGB", "L", "CMYK", "P"):  # as many bands as colours
        Image.fromarray(RGB).convert(mode).save(tmp_path / "a.tif")
        assert read_image(tmp_path / "a.tif").shape == (24, 32, 3)


def test_deep_bands_one_after_another_which_pillow_misreads_are_refused(tmp_path: Path):
    planes = TWELVE.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    with pytest.raises(UnreadableImageError, match=r"a\.tif: holds bands of 16 bits stored one after another"):
        read_image(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", RGB.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif"), RGB)


def test_a_tiff_whose_white_is_zero_is_no_negative_and_signed_values_are_refused(tmp_path: Path):
    ramp = np.linspace(0, 255, 32).round().astype(np.uint8)[None].repeat(24, 0)
    tifffile.imwrite(tmp_path / "8.tif", 255 - ramp, photometric="miniswhite")
    tifffile.imwrite(tmp_path / "1.tif", ramp < 128, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "8.tif")[..., 0], ramp)
    np.testing.assert_array_equal(read_image(tmp_path / "1.tif")[..., 0], (ramp >= 128) * 255)
    tifffile.imwrite(tmp_path / "16.tif", (255 - ramp).astype(np.uint16) * 257, photometric="miniswhite")
    tifffile.imwrite(tmp_path / "zip.tif", ramp.astype(np.uint16), photometric="miniswhite", compression="zlib")
    tifffile.imwrite(tmp_path / "signed.tif", (ramp.astype(int) - 128).astype(np.int8), photometric="minisblack")
    for name, words in {"16": "0 as white", "zip": "0 as white", "signed": "its 8 bits are signed"}.items():
        for given in ({}, {"white_level": 4095}):
            with pytest.raises(UnreadableImageError, match=rf"{name}\.tif: .*{words}\. Save it as a PNG of 8 bits\."):
                read_image(tmp_path / f"{name}.tif", **given)


@pytest.mark.parametrize("name", ["grey.png", "colour.png", "grey.tif", "colour.tif"])
def test_twelve_bits_in_a_file_of_sixteen_are_scaled_only_when_asked(tmp_path: Path, name: str):
    path, grey = tmp_path / name, name.startswith("grey")
    cv2.imwrite(str(path), TWELVE[..., 0] if grey else TWELVE[..., ::-1])
    truth = np.repeat(RGB[..., :1], 3, 2) if grey else RGB
    assert read_image(path).max() <= 16
    np.testing.assert_array_equal(read_image(path, white_level=4095), truth)
    with pytest.raises(
        UnreadableImageError, match=rf"{name}: holds values up to 4,095, above white_level 1,023\. Raise"
    ):
        read_image(path, white_level=1023)


def test_files_that_state_their_range_are_taken_at_their_word(tmp_path: Path):
    grey, truth = TWELVE[..., 0], np.repeat(RGB[..., :1], 3, 2)
    (tmp_path / "a.pgm").write_bytes(b"P5 32 24 4095\n" + grey.astype(">u2").tobytes())
    (tmp_path / "a.tif").write_bytes(_tiff_of_12_bits(grey))
    for name in ("a.pgm", "a.tif"):
        for given in ({}, {"white_level": 4095}, {"white_level": 1023}):
            np.testing.assert_array_equal(read_image(tmp_path / name, **given), truth)


def _tiff_of_12_bits(values: np.ndarray) -> bytes:
    """Two values in three bytes, as scanners and cameras write them."""
    first, second = values.reshape(-1, 2).astype(int).T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8).tobytes()
    height, width = values.shape
    tags = {256: width, 257: height, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(packed)}
    ifd = b"".join(
        np.array([tag, 4], "<u2").tobytes() + np.array([1, value], "<u4").tobytes() for tag, value in tags.items()
    )
    return b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + struct.pack("<H", len(tags)) + ifd + bytes(4)


def test_the_settings_reach_training_evaluation_and_the_hash(tmp_path: Path):
    for i in range(3):
        tifffile.imwrite(tmp_path / f"{i}.tif", FOUR, photometric="rgb", extrasamples=["unassalpha"])

    def data(**given: Any) -> ImageFolder:
        return ImageFolder(tmp_path, CenterRectangle(), image_size=24, resize="none", num_workers=0, **given)

    with pytest.raises(ValueError, match="fourth band"):
        data().evaluation_set("test")[0]
    (image, _, _) = data(bands="rgb").evaluation_set("test")[0]
    np.testing.assert_array_equal(((image + 1) * 127.5).round().permute(1, 2, 0).numpy(), RGB[:, 4:28])
    assert data(bands="rgb").training_set()[0].image.shape == (3, 24, 24)
    prints = [
        data(**given).evaluation_set("test").fingerprint() for given in ({}, {"bands": "rgb"}, {"bands": "alpha"})
    ]
    assert "reading" not in prints[0] and prints[1]["reading"] != prints[2]["reading"]
    for wrong in ({"bands": "nir"}, {"white_level": 255}, {"white_level": 70000}):
        with pytest.raises(ValueError, match="expected"):
            data(**wrong)
    assert EvaluationSet(Files(tmp_path, ["0.tif"], reading={"bands": "rgb"}), CenterRectangle(), 24)[0].image.any()


def test_benchmark_and_inpaint_take_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    tifffile.imwrite("in/a.tif", FOUR, photometric="rgb", extrasamples=["unassalpha"])
    hole = np.zeros((24, 32), np.uint8)
    hole[8:12, 8:12] = 255
    Image.fromarray(hole).save("mask.png")
    Path("own.yaml").write_text("{name: own, size: 24, metrics: [psnr], mask: {class_path: masks.CenterRectangle}}")
    commands = (
        ["benchmark", "own.yaml", "--methods", "Telea", "--images", "in", "--out"],
        ["inpaint", "--method", "Telea", "--image", "in/a.tif", "--mask", "mask.png", "--out"],
    )
    for command, out in zip(commands, ("out", "a.png"), strict=True):
        with pytest.raises(SystemExit) as end:
            main([*command, out])
        said = " ".join(" ".join(capsys.readouterr()).split())
        assert end.value.code in (1, 2) and "Set bands to rgb (drop the band) or alpha" in said
        with pytest.raises(SystemExit) as end:
            main([*command, out, "--bands", "rgb", "--overwrite"][: None if out == "a.png" else -1])
        said = capsys.readouterr().out
        assert not end.value.code and ("a fourth band tagged alpha left out" in said) == (out == "a.png"), said
    known = hole == 0
    np.testing.assert_array_equal(np.asarray(Image.open("a.png"))[known], RGB[known])
    tifffile.imwrite("twelve.tif", TWELVE, photometric="rgb")
    command = ["inpaint", "--method", "Telea", "--image", "twelve.tif", "--mask", "mask.png", "--out", "b.png"]
    for more, dark in ([], True), (["--white-level", "4095", "--overwrite"], False):
        with pytest.raises(SystemExit) as end:
            main([*command, *more])
        assert not end.value.code and ("dark: at most 15 of 255 (--white-level)" in capsys.readouterr().out) == dark
    np.testing.assert_array_equal(np.asarray(Image.open("b.png"))[known], RGB[known])
