"""A mask file of any mode and depth is read for what it is, or refused by name: never silently "no hole"."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, TiffImagePlugin

from datamodules.evaluation import EvaluationSet
from datamodules.files import Files
from datamodules.reading import decode_image
from datamodules.transforms import evaluation_transform, place_mask
from experiments.catalogue.masks import main as masks_command
from experiments.evaluate.benchmark import main as benchmark
from masks import AreaBounded, Augmented, CenterRectangle, MaskFolder, Mixture
from masks.files import read_mask, write_mask
from masks.generator import MaskGenerator, keyed_rng

HOLE = np.zeros((6, 8), np.uint8)
HOLE[:, :2] = 1


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(colour: int, bits: int, rows: list[bytes], extra: bytes = b"") -> bytes:
    """A PNG of HOLE's size that Pillow does not write."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 6, bits, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + extra + data + chunk(b"IEND", b"")


def deep(kind: type, white: int, channels: int = 1) -> np.ndarray:
    values = HOLE.astype(kind) * kind(white)
    return values if channels == 1 else np.repeat(values[..., None], channels, 2)


WRITE: dict[str, Callable[[Path, int], Any]] = {
    "16 bits.png": lambda p, w: Image.fromarray(deep(np.uint16, w)).save(p),
    "16 bits.tif": lambda p, w: Image.fromarray(deep(np.uint16, w)).save(p),
    "16 bits.pgm": lambda p, w: cv2.imwrite(str(p), deep(np.uint16, w)),
    "32 bits.tif": lambda p, w: Image.fromarray(deep(np.int32, w)).save(p),
    "floats.tif": lambda p, w: Image.fromarray(deep(np.float32, w)).save(p),
    "48 bits.png": lambda p, w: cv2.imwrite(str(p), deep(np.uint16, w, 3)),
    "48 bits.tif": lambda p, w: cv2.imwrite(str(p), deep(np.uint16, w, 3)),
    "48 bits.ppm": lambda p, w: cv2.imwrite(str(p), deep(np.uint16, w, 3)),
}


@pytest.mark.parametrize("white", [1, 255, 65535])
@pytest.mark.parametrize("name", WRITE)
def test_a_deep_mask_of_two_values_is_read_whatever_its_white_is(name: str, white: int, tmp_path: Path) -> None:
    WRITE[name](tmp_path / name, white)
    for threshold in (None, 128):
        np.testing.assert_array_equal(read_mask(tmp_path / name, threshold=threshold), HOLE)
    np.testing.assert_array_equal(read_mask(tmp_path / name, white="known"), 1 - HOLE)


@pytest.mark.parametrize("name", WRITE)
def test_a_deep_mask_whose_white_is_not_known_is_refused_by_name_with_and_without_a_threshold(
    name: str, tmp_path: Path
) -> None:
    for white in (200, 4095):  # 8 bits that are not full, and 12 bits: under 128 of 255 when scaled
        WRITE[name](tmp_path / name, white)
        for threshold in (None, 128):
            with pytest.raises(ValueError, match=f"{name}: .*{white}"):
                read_mask(tmp_path / name, threshold=threshold)


def test_soft_masks_of_any_depth_go_by_the_threshold(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 1, 256), (4, 1))
    Image.fromarray((ramp * 255).round().astype(np.uint8)).save(tmp_path / "8.png")
    Image.fromarray((ramp * 65535).round().astype(np.uint16)).save(tmp_path / "16.png")
    Image.fromarray(ramp.astype(np.float32)).save(tmp_path / "f.tif")
    expected = read_mask(tmp_path / "8.png", threshold=100)
    assert expected[0].sum() == 156
    for name in ("16.png", "f.tif"):
        np.testing.assert_array_equal(read_mask(tmp_path / name, threshold=100), expected)
        with pytest.raises(ValueError, match="grey"):
            read_mask(tmp_path / name)


def test_pixels_that_are_no_number_or_negative_are_refused(tmp_path: Path) -> None:
    for number, wrong in enumerate((np.nan, np.inf, -1)):
        values = HOLE.astype(np.float32)
        values[3, 3] = wrong
        Image.fromarray(values).save(tmp_path / f"{number}.tif")
        with pytest.raises(ValueError, match=rf"{number}\.tif: has negative or NaN pixels"):
            read_mask(tmp_path / f"{number}.tif", threshold=128)


def test_the_files_of_other_programs(tmp_path: Path) -> None:
    bits = [np.packbits(row).tobytes() for row in HOLE]
    shifted = [int("".join(f"{v * 15:04b}" for v in row), 2).to_bytes(4, "big") for row in HOLE]
    (tmp_path / "1 bit.png").write_bytes(png(0, 1, bits))
    (tmp_path / "4 bits.png").write_bytes(png(0, 4, shifted))
    indexed = Image.fromarray(HOLE)
    indexed.putpalette([0, 0, 0, 255, 255, 255])
    indexed.save(tmp_path / "palette.png"), indexed.save(tmp_path / "palette.gif")
    inverted = TiffImagePlugin.ImageFileDirectory_v2()
    inverted[262] = 0  # white is stored as zero
    Image.fromarray(HOLE * 255).save(tmp_path / "inverted.tif", tiffinfo=inverted)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(np.rot90(HOLE * 255).copy()).save(tmp_path / "turned.png", exif=turned)
    Image.fromarray(HOLE.astype(bool)).save(tmp_path / "bits.pbm")
    Image.fromarray(HOLE * 255).convert("CMYK").save(tmp_path / "CMYK.tif")
    for file in sorted(tmp_path.iterdir()):
        np.testing.assert_array_equal(read_mask(file), HOLE, err_msg=file.name)
    Image.fromarray(deep(np.uint16, 65535)).save(tmp_path / "inverted16.tif", tiffinfo=inverted)
    with pytest.raises(ValueError, match=r"inverted16\.tif: .*0 as white"):
        read_mask(tmp_path / "inverted16.tif")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_transparent_value_of_a_grey_png_has_the_depth_of_its_pixels(bits: int) -> None:
    """Pillow scales the pixels to 8 bits; of 2 and 4 bits it does not scale the value that is transparent."""
    for key in {0, 1, 2**bits - 1}:
        other = 0 if key else 2**bits - 1
        rows = ["".join(f"{key if hole else other:0{bits}b}" for hole in row) for row in HOLE]
        content = png(0, bits, [int(row, 2).to_bytes(bits, "big") for row in rows], chunk(b"tRNS", bytes([0, key])))
        np.testing.assert_array_equal(read_mask("a.png", alpha="transparent", content=content), HOLE)
        picture = decode_image("a.png", content, background=(9, 9, 9))
        np.testing.assert_array_equal(picture[..., 0], np.where(HOLE, 9, 0 if key else 255))


def test_deep_files_that_pillow_misreads_are_refused_as_masks_and_as_pictures(tmp_path: Path) -> None:
    grey, colour = deep(np.uint16, 65535), deep(np.uint16, 65535, 3)
    keyed = chunk(b"tRNS", b"\0\xff")  # of another value than any pixel: the file is opaque
    (tmp_path / "grey.png").write_bytes(png(0, 16, [row.astype(">u2").tobytes() for row in grey], keyed))
    rows = [row.astype(">u2").tobytes() for row in colour]
    (tmp_path / "colour.png").write_bytes(png(2, 16, rows, chunk(b"tRNS", b"\0\xff" * 3)))
    tifffile.imwrite(tmp_path / "planes.tif", colour.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    for name, words in {"grey.png": "without an", "colour.png": "without an", "planes.tif": "one after"}.items():
        for alpha in (None, "opaque"):
            with pytest.raises(ValueError, match=rf"{name}: .*{words}"):
                read_mask(tmp_path / name, alpha=alpha)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=rf"{name}: .*{words}"):
            decode_image(name, (tmp_path / name).read_bytes())


def test_alpha_says_which_side_is_the_hole_and_without_it_the_refusal_names_the_flag(tmp_path: Path) -> None:
    black = np.zeros((6, 8, 3), np.uint8)
    photo = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    for name, colours in {"black.png": black, "white.png": black + 255, "photo.png": photo}.items():
        Image.fromarray(np.dstack([colours, HOLE * 255])).save(tmp_path / name)
    Image.fromarray(np.dstack([HOLE * 0, HOLE * 255])).save(tmp_path / "grey.png")
    indexed = Image.fromarray(HOLE)
    indexed.putpalette([0, 0, 0, 255, 255, 255])
    indexed.save(tmp_path / "palette.png", transparency=0)
    cv2.imwrite(str(tmp_path / "64 bits.png"), np.dstack([deep(np.uint16, 0, 3), deep(np.uint16, 65535)]))
    rows = [b"".join(struct.pack(">HH", 0, v * 255) for v in row.tolist()) for row in HOLE]
    (tmp_path / "32 bits.png").write_bytes(png(4, 16, rows))
    for file in sorted(tmp_path.iterdir()):
        np.testing.assert_array_equal(read_mask(file, alpha="opaque"), HOLE, err_msg=file.name)
        np.testing.assert_array_equal(read_mask(file, alpha="transparent"), 1 - HOLE, err_msg=file.name)
        with pytest.raises(
            ValueError, match=f"{file.name}: has transparent pixels.*--mask-alpha opaque or --mask-alpha"
        ):
            read_mask(file)
    write_mask(HOLE, tmp_path / "plain.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "plain.png", alpha="transparent"), HOLE)
    with pytest.raises(ValueError, match="expected 'opaque' or 'transparent'"):
        read_mask(tmp_path / "plain.png", alpha="hole")  # type: ignore[arg-type]


def test_every_reader_of_masks_takes_alpha(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    Image.fromarray(np.dstack([HOLE * 0, HOLE * 255])).save(folder / "a.png")
    drawn = MaskFolder(str(folder), alpha="transparent")(6, 8, keyed_rng(0, "m"))
    np.testing.assert_array_equal(drawn, 1 - HOLE)
    for flag in ("--alpha", "--mask-alpha"):
        assert masks_command(["measure", str(folder), flag, "opaque"]) == 0
        assert "hole 25.0% on average" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--mask-alpha"):
        masks_command(["measure", str(folder)])


# ---- in an evaluation ------------------------------------------------------------------------------------------------


def photographs(folder: Path, count: int = 3, shape: tuple[int, int] = (32, 48)) -> Files:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(folder / f"p{i}.png")
    return Files(folder, [f"p{i}.png" for i in range(count)])


@pytest.mark.parametrize("resize", ["shorter", "direct", "none"])
@pytest.mark.parametrize("shape", [(32, 48), (48, 33), (65, 97), (20, 31), (32, 32)])
def test_a_mask_goes_where_its_image_goes(shape: tuple[int, int], resize: Any) -> None:
    """The mask as a picture, through the image's own resize and crop, differs on the hole's edges at most."""
    mask = np.zeros(shape, np.uint8)
    mask[shape[0] // 4 : shape[0] // 2 + 3, shape[1] // 3 : shape[1] // 2 + 4] = 1
    as_image = evaluation_transform(32, resize)(np.repeat(mask[..., None] * 255, 3, 2), keyed_rng(0, "x"))[..., 0]
    placed = place_mask(mask, shape, 32, resize)
    assert placed is not None and placed.shape == (32, 32)
    clear = (as_image < 80) | (as_image > 175)
    assert clear.mean() > 0.9 and (placed == (as_image > 127))[clear].all()
    half = mask[::2, ::2] if shape[0] % 2 == shape[1] % 2 == 0 else mask
    assert place_mask(half, shape, 32, resize) is not None  # of another size, in its proportions
    assert place_mask(mask[:, : shape[1] // 2], shape, 32, resize) is None


def test_a_paired_mask_is_cropped_with_its_turned_image_and_another_shape_is_refused(tmp_path: Path) -> None:
    files = photographs(tmp_path / "img", 1)
    turned = Image.Exif()
    turned[0x0112] = 6
    with Image.open(tmp_path / "img" / "p0.png") as image:
        upright = np.asarray(image)
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "img" / "p0.png", exif=turned)
    (tmp_path / "masks").mkdir()
    mask = np.zeros((32, 48), np.uint8)
    mask[8:20, 20:30] = 1
    write_mask(mask, tmp_path / "masks" / "p0.png")
    data = EvaluationSet(files, MaskFolder(str(tmp_path / "masks"), pairing="name"), 32)
    np.testing.assert_array_equal(data.draw_mask(0), mask[:, 8:40])
    np.testing.assert_array_equal(data[0].image[0], upright[:, 8:40, 0].astype(np.float32) / np.float32(127.5) - 1)
    write_mask(mask[:, :40], tmp_path / "masks" / "p0.png")
    with pytest.raises(
        ValueError, match=r"masks.p0\.png is 40x32, its image .*img.p0\.png 48x32: with a different shape"
    ):
        data.draw_mask(0)


def folder_of_masks(root: Path, *masks: np.ndarray) -> Path:
    root.mkdir()
    for i, mask in enumerate(masks):
        write_mask(mask, root / f"p{i}.png")
    return root


def test_a_mask_file_without_a_hole_stops_an_evaluation_by_name(tmp_path: Path) -> None:
    files, empty, square = photographs(tmp_path / "img"), np.zeros((32, 48), np.uint8), np.zeros((32, 48), np.uint8)
    square[8:16, 2:6] = 1  # outside of the centre crop
    some = np.ones((32, 48), np.uint8) * (np.arange(48) < 24).astype(np.uint8)
    root = str(folder_of_masks(tmp_path / "masks", some, empty, square))
    named = EvaluationSet(files, MaskFolder(root, pairing="name"), 32)
    assert named.draw_mask(0).any()
    with pytest.raises(ValueError, match=r"masks.p1\.png: every pixel is known"):
        named.draw_mask(1)
    with pytest.raises(ValueError, match=r"masks.p2\.png: its hole lies outside"):
        named.draw_mask(2)
    with pytest.raises(ValueError, match=r"p[12]\.png"):
        named.fingerprint()
    only = str(folder_of_masks(tmp_path / "only", empty))
    laws: list[MaskGenerator] = [MaskFolder(only), Mixture((MaskFolder(only), MaskFolder(only)), (1, 1))]
    for law in laws:
        assert not law(32, 32, keyed_rng(0, "m")).any()  # in training it is what it is
        with pytest.raises(ValueError, match=r"only.p0\.png: every pixel is known"):
            EvaluationSet(files, law, 32).draw_mask(0)


def test_a_law_may_leave_an_image_whole(tmp_path: Path) -> None:
    files = photographs(tmp_path / "img")

    class Nothing(MaskGenerator):
        def __call__(self, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
            return np.zeros((height, width), np.uint8)

    assert not EvaluationSet(files, Nothing(), 32).draw_mask(0).any()
    some = np.zeros((32, 32), np.uint8)
    some[8:24, 8:24] = 1
    root = str(folder_of_masks(tmp_path / "masks", np.zeros((32, 32), np.uint8), some))
    bounded = AreaBounded(MaskFolder(root), 0.1, 0.5)  # draws again until a file suits: the empty one never comes out
    assert all(EvaluationSet(files, bounded, 32).draw_mask(i).any() for i in range(3))
    assert EvaluationSet(files, Augmented(MaskFolder(root)), 32).draw_mask(0).any()
    assert EvaluationSet(files, CenterRectangle(), 32).draw_mask(0).any()


def test_the_benchmark_stops_with_the_name_of_the_mask(tmp_path: Path) -> None:
    photographs(tmp_path / "img")
    root = folder_of_masks(tmp_path / "masks", *[np.zeros((32, 48), np.uint8)] * 3)
    protocol = tmp_path / "own.yaml"
    protocol.write_text(
        "name: own\nsize: 32\nmetrics: [psnr_hole]\n"
        f"mask: {{class_path: masks.MaskFolder, init_args: {{root: {root}, pairing: name}}}}\n"
    )
    out = str(tmp_path / "out")
    with pytest.raises(ValueError, match=r"masks.p0\.png: every pixel is known"):
        benchmark([str(protocol), "--images", str(tmp_path / "img"), "--methods", "Telea", "--out", out])
    assert not os.path.exists(out)
