"""One's own files: whatever is handed in, a clear line, nothing outside the folder, and the others are done."""

import io
import os
import pickle
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms

from experiments.cli import main
from experiments.inpaint import command as inpaint
from experiments.inpaint.large import available_memory, estimate
from experiments.inpaint.original import kept
from lit_inpaint.methods import DeepFillV2, Harmonic, Telea
from lit_inpaint.windows import TILE, Window, complete_pixels, plan
from masks.files import write_mask
from tests.support.pictures import SIZE, hole, photo


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def call(*argv: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["inpaint", *argv])
    return int(end.value.code or 0)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width: int, height: int, data: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


class Bomb:
    def __reduce__(self):
        return os.system, ("touch ../code_was_run",)


JPEG, PNG, GIF = encoded(photo(), "JPEG"), encoded(photo(), "PNG"), encoded(photo(), "GIF")
BAD_IMAGES: dict[str, bytes] = {  # what is written as in/bad.<ending>, or in/bad.png
    "empty": b"",
    "one byte": b"\x89",
    "text": b"this is no picture\n" * 50,
    "html.jpg": b"<html><script>alert(1)</script></html>",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "zeros": bytes(4096),
    "random": np.random.default_rng(0).bytes(4096),
    "truncated.jpg": JPEG[: len(JPEG) // 2],
    "tail of zeros.jpg": JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2),
    "header alone.jpg": JPEG[:20],
    "truncated": PNG[: len(PNG) // 2],
    "header alone": PNG[:33],
    "flipped bytes": PNG[:60] + bytes(b ^ 0xFF for b in PNG[60:200]) + PNG[200:],
    "truncated.gif": GIF[:30],
    "truncated.webp": encoded(photo(), "WEBP")[:60],
    "truncated.bmp": encoded(photo(), "BMP")[:100],
    "truncated.tif": encoded(photo(), "TIFF")[:60],
    "truncated.tga": encoded(photo(), "TGA")[:10],
    "truncated.ppm": encoded(photo(), "PPM")[:40],
    "bomb of a claimed gigapixel": png_claiming(100_000, 100_000),
    "bomb of 100 megapixels": png_claiming(10_000, 10_000, bytes(1000)),
    "bomb in a gif.gif": GIF[:6] + struct.pack("<HH", 65535, 65535) + GIF[10:],
    "zero wide": png_claiming(0, 10),
    "NaN.tif": encoded(Image.fromarray(np.full((32, 40), np.nan, np.float32)), "TIFF"),
    "infinite.tif": encoded(Image.fromarray(np.full((32, 40), np.inf, np.float32)), "TIFF"),
    "32 bits.tif": encoded(Image.fromarray(np.full((32, 40), 7, np.int32)), "TIFF"),
    "pickle": pickle.dumps(Bomb()),
    "zip.jpg": b"PK\x03\x04" + bytes(200),
    "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 32\n(touch x) run\n",
    "pdf": b"%PDF-1.4\n1 0 obj\n",
}


def ending(name: str) -> str:
    return Path(name).suffix or ".png"


def prepare(images: dict[str, bytes]) -> None:
    Path("in").mkdir()
    for name, content in images.items():
        (Path("in") / name).write_bytes(content)
    write_mask(hole(), "m.png")


def outside(root: Path) -> list[str]:
    """Everything beside the working folder, which was empty at first."""
    return [path.name for path in root.iterdir() if path.name != "work"]


@pytest.fixture(scope="module")
def clean() -> bytes:
    """The result for ``photo(1)`` from a run with only good files."""
    filled = complete_pixels(Telea(), np.asarray(photo(1)), hole(), "good")
    return filled.tobytes()


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_is_one_line_and_the_others_are_as_in_a_clean_run(name, clean, tmp_path, capsys):
    bad = f"bad{ending(name)}"
    prepare({bad: BAD_IMAGES[name], "good.png": encoded(photo(1), "PNG")})
    assert call("--method", "Telea", "--image", "in", "--mask", "m.png", "--out", "out") == 1
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("lit-inpaint:") and bad in line and "Traceback" not in line
    assert np.asarray(Image.open("out/good.png")).tobytes() == clean and "1 of 2" in said.out
    assert {p.name for p in Path("out").iterdir()} == {"good.png", ".lit-inpaint"} and not outside(tmp_path)


ODD_IMAGES: dict[str, Callable[[], bytes]] = {
    "LAB.tif": lambda: encoded(photo(1).convert("LAB"), "TIFF"),
    "grey": lambda: encoded(photo(1, mode="L"), "PNG"),
    "palette": lambda: encoded(photo(1, mode="P"), "PNG"),
    "RGBA": lambda: encoded(photo(1, mode="RGBA"), "PNG"),
    "grey with alpha": lambda: encoded(photo(1, mode="LA"), "PNG"),
    "one bit": lambda: encoded(photo(1, mode="1"), "PNG"),
    "CMYK.jpg": lambda: encoded(photo(1, mode="CMYK"), "JPEG"),
    "48 bits": lambda: cv2.imencode(".png", np.full((32, 40, 3), 32768, np.uint16))[1].tobytes(),
    "transparent palette": lambda: encoded(photo(1, mode="P"), "PNG", transparency=0),
    "16 bits": lambda: encoded(Image.fromarray(np.full((32, 40), 32768, np.uint16)), "PNG"),
    "animated.gif": lambda: encoded(photo(1), "GIF", save_all=True, append_images=[photo(2), photo(3)]),
    "animated.webp": lambda: encoded(photo(1), "WEBP", save_all=True, append_images=[photo(2)], lossless=True),
    "pages.tif": lambda: encoded(photo(1), "TIFF", save_all=True, append_images=[photo(2)]),
    "a JPEG named.png": lambda: encoded(photo(1), "JPEG"),
    "bytes after its end": lambda: PNG + b"<script>" * 100,
}
SAYS = {
    "RGBA": "transparency composited over white",
    "16 bits": "16 bits scaled to 8",
    "48 bits": "16 bits per channel reduced to 8",
    "palette": "palette to RGB",
    "transparent palette": "palette to RGB, transparency composited over white",
    "grey": "grey to RGB",
    "animated.gif": "first of 3 frames",
    "CMYK.jpg": "CMYK",
    "LAB.tif": "LAB to RGB",
}


@pytest.mark.parametrize("name", ODD_IMAGES)
def test_an_odd_but_whole_image_is_filled_and_its_conversion_said(name, capsys):
    prepare({})
    file = f"x{ending(name)}"
    Path(file).write_bytes(ODD_IMAGES[name]())
    assert call("--method", "Telea", "--image", file, "--mask", "m.png", "--out", "o.png") == 0
    assert SAYS.get(name, "filled") in capsys.readouterr().out
    with Image.open("o.png") as filled:
        assert filled.size == SIZE and filled.mode == "RGB"


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def with_thumbnail(tags: bytes) -> bytes:
    """Pillow's EXIF with a second directory behind it, as cameras write one: a thumbnail of what was photographed."""
    entries = 14 + struct.unpack("<H", tags[14:16])[0] * 12 + 2
    second = struct.pack("<HHHII", 1, 270, 2, 10, len(tags) - 6 + 18) + bytes(4) + b"thumbnail\0"
    return tags[:entries] + struct.pack("<I", len(tags) - 6) + tags[entries + 4 :] + second


def test_what_a_photograph_says_of_itself_is_kept_upright_and_without_its_thumbnail(capsys):
    prepare({})
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = exif(6)
    tags[ExifTags.Base.Make], tags[ExifTags.Base.Artist] = "a camera", "someone"
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExifImageWidth] = 32
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FNumber] = 2.5
    tags.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    written = with_thumbnail(tags.tobytes())
    for kind in ("jpg", "png", "webp", "tif"):
        options = {} if kind == "webp" else {"dpi": (300, 300)}
        photo(1, (32, 40)).save(f"x.{kind}", exif=tags if kind == "tif" else written, icc_profile=profile, **options)
        assert call("--method", "Telea", "--image", f"x.{kind}", "--mask", "m.png", "--out", f"{kind}.png") == 0
        assert "dropped" not in capsys.readouterr().out
        with Image.open(f"{kind}.png") as filled:
            found = filled.getexif()
            assert filled.size == (40, 32) and filled.info["icc_profile"] == profile, kind
            assert (found[ExifTags.Base.Orientation], found[ExifTags.Base.Make]) == (1, "a camera"), kind
            assert found[ExifTags.Base.Artist] == "someone" and b"thumbnail" not in Path(f"{kind}.png").read_bytes()
            inner = found.get_ifd(ExifTags.IFD.Exif)
            if kind != "tif":  # Pillow's writer of TIFF does without
                assert (inner[ExifTags.Base.FNumber], inner[ExifTags.Base.ExifImageWidth]) == (2.5, 40), kind
                assert found.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N", kind
            assert ExifTags.Base.ImageWidth not in found and ExifTags.Base.StripOffsets not in found, kind
            assert kind == "webp" or filled.info["dpi"] == pytest.approx((300, 300), abs=0.02), kind


def test_a_profile_of_other_colours_and_damaged_tags_are_left_out_and_said(capsys):
    prepare({})
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = b"CMYK"
    photo(1, mode="CMYK").save("cmyk.jpg", icc_profile=bytes(profile))
    photo(1).save("odd.png", icc_profile=b"no profile", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    for name, words in {"cmyk.jpg": "CMYK to RGB, CMYK colour profile dropped", "odd.png": "damaged"}.items():
        assert call("--method", "Telea", "--image", name, "--mask", "m.png", "--out", f"{name}.out.png") == 0
        assert words in capsys.readouterr().out
        with Image.open(f"{name}.out.png") as filled:
            assert "icc_profile" not in filled.info


SECRET = b"the erased face"


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
def test_no_tag_that_may_hold_the_erased_content_reaches_the_completion(kind, capsys):
    prepare({})
    tags = exif(1)
    tags[ExifTags.Base.Artist], tags[37724], tags[ExifTags.Base.DNGPrivateData] = "someone", SECRET, SECRET
    inner = tags.get_ifd(ExifTags.IFD.Exif)
    inner[ExifTags.Base.MakerNote], inner[ExifTags.Base.UserComment], inner[65000] = SECRET, b"ASCII\0\0\0noon", SECRET
    inner[ExifTags.IFD.Interop] = {1: "R03", 4096: SECRET.decode()}
    tags.get_ifd(ExifTags.IFD.GPSInfo).update({ExifTags.GPS.GPSLatitudeRef: "N", 99: SECRET})
    options = {"xmp": SECRET} if kind in ("jpg", "webp") else {}
    tags[ExifTags.Base.XMLPacket] = SECRET
    photo(1).save(f"x.{kind}", exif=tags if kind == "tif" else tags.tobytes(), **options)
    assert SECRET in Path(f"x.{kind}").read_bytes()
    for suffix in ("png", "jpg", "webp"):
        out = Path(f"{kind}.{suffix}")
        assert call("--method", "Telea", "--image", f"x.{kind}", "--mask", "m.png", "--out", str(out)) == 0
        assert SECRET not in out.read_bytes()
        said = capsys.readouterr().out
        assert "dropped" in said and (kind == "tif" or "XMLPacket, MakerNote, tag 37724 and" in said)
        with Image.open(out) as filled:
            found = filled.getexif()
            assert found[ExifTags.Base.Artist] == "someone"
            if kind != "tif":
                assert found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment].endswith(b"noon")
                assert found.get_ifd(ExifTags.IFD.Interop) == {1: "R03"}
                assert found.get_ifd(ExifTags.IFD.GPSInfo) == {ExifTags.GPS.GPSLatitudeRef: "N"}


def test_a_resolution_that_a_header_cannot_hold_is_in_the_exif():
    for given in ((300, 300), (65_536, 70_000), (101_600, 101_600), (0.3, 0.3)):
        photo(1).save("x.png", dpi=given)
        for kind in ("png", "jpeg", "webp"):
            options, said = kept(Path("x.png"), (32, 40, 3), kind)
            photo(1).save(f"o.{kind}", **options)
            with Image.open(f"o.{kind}") as filled:
                tags = filled.getexif()
                in_exif = tags.get(ExifTags.Base.XResolution), tags.get(ExifTags.Base.YResolution)
                found = in_exif if all(in_exif) else filled.info["dpi"]  # Pillow takes one of EXIF's for both
            assert found == pytest.approx(given, rel=0.02) and not said, (kind, given)
    for unit, given in ((2, 300.0), (3, 118.11)):
        photo(1).save("x.tif", resolution_unit=unit, x_resolution=given, y_resolution=given)
        tags = Image.Exif()
        tags.load(kept(Path("x.tif"), (32, 40, 3), "webp")[0]["exif"])
        assert (tags[ExifTags.Base.XResolution], tags[ExifTags.Base.ResolutionUnit]) == (
            pytest.approx(300, abs=0.01),
            2,
        )


def test_what_a_format_cannot_hold_is_said_before_the_fill_or_left_out(monkeypatch, capsys):
    prepare({})
    tags = exif(1)
    tags[ExifTags.Base.ImageDescription] = "x" * 70_000
    photo(1).save("long.png", exif=tags)
    assert call("--method", "Telea", "--image", "long.png", "--mask", "m.png", "--out", "long.jpg") == 0
    assert (
        re.search(r"EXIF of 70,\d{3} bytes dropped", capsys.readouterr().out) and not Image.open("long.jpg").getexif()
    )
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo(1).save("profile.jpg", icc_profile=profile + os.urandom(2**20))
    assert call("--method", "Telea", "--image", "profile.jpg", "--mask", "m.png", "--out", "profile.png") == 0
    assert re.search(r"colour profile of 1,\d{3},\d{3} bytes dropped", capsys.readouterr().out)
    assert Image.open("profile.png").convert("RGB").size == SIZE
    grey = profile[:16] + b"GRAY" + profile[20:]
    photo(1, mode="L").save("grey.png", icc_profile=grey)
    assert kept(Path("grey.png"), (32, 40, 1))[0]["icc_profile"] == grey
    assert kept(Path("grey.png"), (32, 40, 3)) == ({}, ["GRAY colour profile dropped"])
    monkeypatch.setattr(inpaint, "complete_pixels", None)
    for suffix, side in (("webp", 16_383), ("jpg", 65_500)):
        for size in ((side + 1, 8), (8, side + 1)):
            Image.new("RGB", size).save("wide.png")
            write_mask(hole(size), "wide_mask.png")
            given = "--image", "wide.png", "--mask", "wide_mask.png", "--out", f"wide.{suffix}"
            assert call("--method", "Telea", *given) == 2
            assert f"wide.png: {size[0]}x{size[1]} is too large for" in capsys.readouterr().err
        Image.new("RGB", (side, 1)).save(f"largest.{suffix}")


def test_a_turned_photograph_is_filled_upright_and_a_mask_drawn_on_the_unturned_one_is_refused(capsys):
    prepare({})
    photo(1, (32, 40)).save("x.jpg", exif=exif(6))
    assert call("--method", "Telea", "--image", "x.jpg", "--mask", "m.png", "--out", "o.png") == 0
    assert "rotated by its EXIF" in capsys.readouterr().out and Image.open("o.png").size == (40, 32)
    write_mask(hole((32, 40)), "m.png")
    assert call("--method", "Telea", "--image", "x.jpg", "--mask", "m.png", "--out", "p.png") == 2
    assert "Draw it on the image as displayed" in capsys.readouterr().err


BAD_MASKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "not a picture"),
    "text": (lambda: b"mask", "not a picture"),
    "truncated": (lambda: PNG[:100], "cannot be read"),
    "coloured": (lambda: PNG, "a colour picture"),
    "grey": (lambda: encoded(photo(1, mode="L"), "PNG"), "--mask-threshold"),
    "transparent": (lambda: encoded(Image.new("RGBA", SIZE, (255, 255, 255, 9)), "PNG"), "transparent"),
    "floats": (lambda: encoded(Image.fromarray(np.full((32, 40), np.nan, np.float32)), "TIFF"), "NaN pixels"),
    "another size": (lambda: encoded(Image.new("L", (41, 32)), "PNG"), "41x32"),
    "one pixel": (lambda: encoded(Image.new("L", (1, 1)), "PNG"), "1x1"),
    "bomb": (lambda: png_claiming(100_000, 100_000), "cannot be read"),
    "bomb of 100 megapixels": (lambda: png_claiming(10_000, 10_000), "cannot be read"),
}


@pytest.mark.parametrize("name", BAD_MASKS)
def test_a_bad_mask_is_one_line_that_names_it(name, capsys):
    prepare({"a.png": PNG})
    content, word = BAD_MASKS[name]
    Path("m.png").write_bytes(content())
    assert call("--method", "Telea", "--image", "in/a.png", "--mask", "m.png", "--out", "o.png") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "m.png" in line and word in line and not Path("o.png").exists()


REQUESTS: dict[str, tuple[list[str], str]] = {
    "no image": (["--image", "nowhere.png"], "no file or folder"),
    "no mask": (["--mask", "nowhere.png"], "no file or folder"),
    "an empty pattern": (["--image", "in/*.tiff"], "no image matches"),
    "an empty folder": (["--image", "empty"], "without images"),
    "one image and a folder of masks": (["--mask", "in"], "give the mask file"),
    "a GIF as output": (["--out", "o.gif"], "must end in .png"),
    "an output below a file": (["--out", "m.png/o.png"], "m.png"),
    "an output where nothing can be written": (["--out", "/proc/lit-inpaint/o.png"], "/proc/lit-inpaint"),
    "a folder where nothing can be written": (["--image", "in", "--out", "/proc/lit-inpaint"], "/proc/lit-inpaint"),
    "no samples": (["--samples", "0"], "--samples is 0"),
    "no workers": (["--workers", "-1"], "--workers is -1"),
    "a tile of a few pixels": (["--tile", "8"], "--tile is 8"),
    "an unknown method": (["--method", "Telea2"], "Did you mean"),
    "a traversal as a method": (["--method", "../../etc/passwd"], "neither a file nor a method"),
    "a method without weights": (["--method", "DeepFillV2"], "checkpoint"),
    "a sketch for a method without one": (["--sketch", "m.png"], "takes no sketch"),
    "a pickle bomb as a checkpoint": (["--method", "bomb.ckpt"], "none of its code was run"),
    "a torch file with a bomb": (["--method", "torch.ckpt"], "none of its code was run"),
    "a lightning file that names a class": (["--method", "lightning.ckpt"], "lightning.ckpt"),
    "a picture as a checkpoint": (["--method", "in/a.png"], "cannot be read as a checkpoint"),
    "an empty checkpoint": (["--method", "empty.ckpt"], "it is empty"),
    "a folder as a checkpoint": (["--method", "in.ckpt"], "no checkpoint"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_hostile_request_is_one_line_and_runs_no_code(name, tmp_path, capsys):
    prepare({"a.png": PNG})
    Path("empty").mkdir()
    Path("in.ckpt").mkdir()
    Path("bomb.ckpt").write_bytes(pickle.dumps(Bomb()))
    Path("empty.ckpt").touch()
    torch.save({"state_dict": {}, "x": Bomb()}, "torch.ckpt")
    named = {"_class_path": "os.system", "_instantiator": "os.system", "command": "touch ../code_was_run"}
    torch.save({"state_dict": {}, "hyper_parameters": named, "method": "os.system"}, "lightning.ckpt")
    given = {"--method": "Telea", "--image": "in/a.png", "--mask": "m.png", "--out": "o.png"}
    more, word = REQUESTS[name]
    given |= dict(zip(more[::2], more[1::2], strict=True))
    before = sorted(Path().rglob("*"))
    assert call(*(part for pair in given.items() for part in pair)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lit-inpaint:") and word in line, line
    assert sorted(Path().rglob("*")) == before and not outside(tmp_path)


NAMES = ["日本 🌄.png", "ein Bild.png", "-rf.png", "a;touch x.png", "$(touch x).png", "..png", "a\nb.png", "é.png",
         "%2e%2e%2fx.png", "[1].png", "x" * 251 + ".png", "con.png", os.fsdecode(b"\xff\xfe.png")]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_any_kind_stays_inside_the_folder(name, tmp_path, capsys):
    prepare({name: PNG, "good.png": PNG})
    hidden = name.startswith(".")
    assert call("--method", "Telea", "--image", "in", "--mask", "m.png", "--out", "out") == 0
    capsys.readouterr().out.encode("utf-8")
    made = {p.name for p in Path("out").iterdir()}
    assert made == {"good.png", ".lit-inpaint"} | (set() if hidden else {name}) and not outside(tmp_path)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (5000, 10), (20000, 10)])
def test_an_extreme_shape_is_filled_or_refused_in_words_and_known_pixels_stay(size, capsys):
    picture, mask = photo(1, size), np.zeros((size[1], size[0]), np.uint8)
    mask[: max(1, size[1] // 2), : max(1, size[0] // 3)] = 1
    picture.save("x.png"), write_mask(mask, "m.png")
    code = call("--method", "Harmonic", "--image", "x.png", "--mask", "m.png", "--out", "o.png")
    assert code == (2 if size == (1, 1) else 0)
    if code:
        assert "every pixel is hole" in capsys.readouterr().err
    else:
        assert (np.asarray(Image.open("o.png")) == np.asarray(picture))[mask == 0].all()


def test_an_image_without_a_hole_is_copied(capsys):
    prepare({"a.png": PNG})
    write_mask(hole() * 0, "m.png")
    assert call("--method", "Telea", "--image", "in/a.png", "--mask", "m.png", "--out", "o.png") == 0
    assert "has no hole: copied" in capsys.readouterr().out
    assert (np.asarray(Image.open("o.png")) == np.asarray(photo())).all()


def test_an_output_folder_that_links_elsewhere_is_refused(tmp_path, capsys):
    Path("in/sub").mkdir(parents=True), (tmp_path / "elsewhere").mkdir(), Path("out").mkdir()
    photo().save("in/sub/a.png"), photo().save("in/b.png"), write_mask(hole(), "m.png")
    Path("out/sub").symlink_to(tmp_path / "elsewhere")
    assert call("--method", "Telea", "--image", "in", "--mask", "m.png", "--out", "out") == 1
    assert "would lie outside" in capsys.readouterr().err
    assert not list((tmp_path / "elsewhere").iterdir()) and Path("out/b.png").is_file()


def test_a_link_that_dangles_is_an_existing_file(tmp_path, capsys):
    prepare({"a.png": PNG})
    Path("o.png").symlink_to(tmp_path / "elsewhere.png")
    assert call("--method", "Telea", "--image", "in/a.png", "--mask", "m.png", "--out", "o.png") == 2
    assert "o.png exists" in capsys.readouterr().err and not outside(tmp_path)


def test_a_loop_of_links_is_walked_once(capsys):
    prepare({"a.png": PNG})
    Path("in/loop").symlink_to(Path("in").resolve())
    Path("in/dangling.png").symlink_to("nowhere.png")
    assert call("--method", "Telea", "--image", "in", "--mask", "m.png", "--out", "out") == 1
    said = capsys.readouterr()
    assert "dangling.png" in said.err and "1 of 2 images filled" in said.out


def test_an_image_without_a_mask_is_a_line_and_the_rest_is_done(capsys):
    prepare({"a.png": PNG, "b.png": PNG})
    Path("masks").mkdir()
    write_mask(hole(), "masks/a_mask.png")
    assert call("--method", "Telea", "--image", "in", "--mask", "masks", "--out", "out") == 1
    assert "holds no mask for b.png" in capsys.readouterr().err and Path("out/a.png").is_file()


def test_a_pattern_and_several_files_name_outputs_below_their_common_folder():
    Path("in/x").mkdir(parents=True), Path("in/y").mkdir()
    photo(1).save("in/x/a.png"), photo(2).save("in/y/a.png"), write_mask(hole(), "m.png")
    assert call("--method", "Telea", "--image", "in/**/*.png", "--mask", "m.png", "--out", "out") == 0
    assert Path("out/x/a.png").is_file() and Path("out/y/a.png").is_file()
    assert call("--method", "Telea", "--image", "in/x/a.png", "in/y/a.png", "--mask", "m.png", "--out", "two") == 0
    assert Path("two/x/a.png").read_bytes() == Path("out/x/a.png").read_bytes()


def test_what_was_interrupted_goes_on_and_an_edited_image_is_done_again(monkeypatch, capsys):
    prepare({f"{i}.png": encoded(photo(i), "PNG") for i in range(5)})
    command = ["--method", "PatchMatch", "--image", "in", "--mask", "m.png", "--out", "out"]
    fill, seen = inpaint.fill_file, []

    def stop_at_three(method, pair, run):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(pair.name)
        return fill(method, pair, run)

    monkeypatch.setattr(inpaint, "fill_file", stop_at_three)
    assert call(*command) == 130
    times = {p.name: p.stat().st_mtime_ns for p in Path("out").glob("*.png")}
    assert len(times) == 3
    monkeypatch.setattr(inpaint, "fill_file", fill)
    assert call(*command) == 0
    assert "5 of 5 images filled, 3 of them earlier" in capsys.readouterr().out
    assert all((Path("out") / name).stat().st_mtime_ns == time for name, time in times.items())
    assert call("--method", "PatchMatch", "--image", "in", "--mask", "m.png", "--out", "whole") == 0
    assert all((Path("whole") / f"{i}.png").read_bytes() == (Path("out") / f"{i}.png").read_bytes() for i in range(5))
    photo(9).save("in/0.png")
    assert call(*command) == 2 and "0.png exists" in capsys.readouterr().err
    assert call(*command, "--overwrite") == 0 and "4 of them earlier" in capsys.readouterr().out


@pytest.mark.slow
def test_two_workers_write_the_same_files_as_one(capsys):
    prepare({f"{i}.png": encoded(photo(i), "PNG") for i in range(4)} | {"bad.png": b"no image"})
    command = ["--method", "PatchMatch", "--image", "in", "--mask", "m.png", "--seed", "3"]
    assert call(*command, "--out", "one") == 1 and call(*command, "--out", "two", "--workers", "2") == 1
    for i in range(4):
        assert (Path("one") / f"{i}.png").read_bytes() == (Path("two") / f"{i}.png").read_bytes()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here to read the memory of a process from")
def test_a_thousand_images_take_no_more_memory_than_two_hundred(monkeypatch):
    prepare({f"{i}.jpg": JPEG for i in range(1000)})
    fill, peaks = inpaint.fill_file, [0]

    def watched(method, pair, run):
        done = fill(method, pair, run)
        peaks.append(max(peaks[-1], resident()))
        return done

    monkeypatch.setattr(inpaint, "fill_file", watched)
    assert call("--method", "Telea", "--image", "in", "--mask", "m.png", "--out", "out") == 0
    print(f"{peaks[200]} pages after 200 images, {peaks[1000]} after 1000")
    assert peaks[1000] <= 1.05 * peaks[200] and len(list(Path("out").glob("*.png"))) == 1000


# ---- large images ---------------------------------------------------------------------------------------------------


def holes_of_all_kinds() -> np.ndarray:
    mask = np.zeros((900, 1500), np.uint8)
    mask[10:14, 20:50] = mask[860:880, 1400:1420] = 1  # far apart
    mask[300:700, 400:1000] = 1  # larger than a window
    mask[np.random.default_rng(0).integers(0, 900, 200), np.random.default_rng(1).integers(0, 1500, 200)] = 1
    return mask


def test_windows_cover_every_hole_and_none_is_larger_than_the_tile():
    mask, covered = holes_of_all_kinds(), np.zeros((900, 1500), bool)
    for window in plan(mask, 256):
        top, left, bottom, right = window.box
        assert (
            bottom - top <= 256 and right - left <= 256 and top >= 0 and left >= 0 and bottom <= 900 and right <= 1500
        )
        core = window.core
        assert top <= core[0] and left <= core[1] and core[2] <= bottom and core[3] <= right
        covered[core[0] : core[2], core[1] : core[3]] = True
    assert covered[mask == 1].all()
    assert plan(mask, 0) == [Window((0, 0, 900, 1500), (0, 0, 900, 1500))]


def test_windows_fill_every_hole_pixel_from_what_is_known_alone():
    mask = holes_of_all_kinds()
    constant = np.full((900, 1500, 3), 90, np.uint8)
    poisoned = np.where(mask[..., None] == 1, np.uint8(255), constant)
    assert (complete_pixels(Harmonic(), poisoned, mask, "x", tile=256) == constant).all()


def test_one_window_around_a_hole_equals_the_method_on_that_crop():
    picture = np.asarray(photo(0, (700, 600)))
    mask = np.zeros((600, 700), np.uint8)
    mask[280:320, 300:340] = 1
    torch.manual_seed(0)
    network = DeepFillV2(width=8).eval()
    (window,) = plan(mask, 256)
    top, left, bottom, right = window.box
    crop = complete_pixels(network, picture[top:bottom, left:right], mask[top:bottom, left:right], "x")
    assert (complete_pixels(network, picture, mask, "x", tile=256)[top:bottom, left:right] == crop).all()


def test_the_estimate_of_a_network_grows_with_the_window_and_too_much_is_refused_with_a_way_out(monkeypatch, capsys):
    network = DeepFillV2(width=8).eval()
    small, large = (estimate(network, [Window((0, 0, s, s), (0, 0, s, s))], s, s) for s in (256, 1024))
    assert 15 < large / small < 20
    assert (available_memory(torch.device("cpu")) or 1) > 0
    monkeypatch.setattr("experiments.inpaint.large.available_memory", lambda device: 1000)
    photo(0, (TILE + 1, TILE)).save("x.png")
    write_mask(hole((TILE + 1, TILE)), "m.png")
    command = ["--method", "Telea", "--image", "x.png", "--mask", "m.png", "--out", "o.png", "--tile", "0"]
    assert call(*command) == 2
    assert "give a --tile" in capsys.readouterr().err and not Path("o.png").exists()


def test_a_sketch_changes_the_hole_and_nothing_else():
    torch.manual_seed(0)
    network = DeepFillV2(width=8, sketch=True).eval()
    for weight in network.generator.parameters():
        weight.data *= 3  # so that an untrained network's answer is more than a grey level
    torch.save({"method": "DeepFillV2", "state_dict": network.state_dict(), "hyper_parameters": dict(network.hparams)},
               "sketch.ckpt")  # fmt: skip
    prepare({"a.png": PNG})
    Image.fromarray(np.eye(32, 40, dtype=np.uint8) * 255).save("lines.png")
    command = ["--method", "sketch.ckpt", "--image", "in/a.png", "--mask", "m.png"]
    assert (
        call(*command, "--out", "without.png") == 0
        and call(*command, "--out", "with.png", "--sketch", "lines.png") == 0
    )
    changed = (np.asarray(Image.open("with.png")) != np.asarray(Image.open("without.png"))).any(-1)
    assert changed[hole() == 1].any() and not changed[hole() == 0].any()
