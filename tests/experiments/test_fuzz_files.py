"""A seeded fuzzer: damaged images, masks, lists and checkpoints are refused by name, unusual ones read as they are."""

import io
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from lit_inpaint.methods import DeepFillV2, PartialConv, Telea
from lit_inpaint.methods.ict.palette import read_palette
from lit_inpaint.windows import complete_pixels
from masks.files import write_mask
from tests.support import fuzzing
from tests.support.fuzzing import DAMAGES, FATAL, SEED, SIZE, Arena, encoded, hole, photo, with_header

pytestmark = pytest.mark.slow

PHOTOS: dict[str, Callable[[], bytes]] = {
    "png": lambda: encoded(photo(), "PNG"),
    "jpg": lambda: encoded(photo(), "JPEG"),
    "gif": lambda: encoded(photo(), "GIF"),
    "bmp": lambda: encoded(photo(), "BMP"),
    "tif": lambda: encoded(photo(), "TIFF"),
    "TIFF": lambda: encoded(photo(), "TIFF", compression="tiff_lzw"),
    "webp": lambda: encoded(photo(), "WEBP", lossless=True),
    "tga": lambda: encoded(photo(), "TGA"),
    "ppm": lambda: encoded(photo(), "PPM"),
    "jp2": lambda: encoded(photo(), "JPEG2000"),
    "PNG": lambda: encoded(photo(), "PNG", "P"),
}
MASKS: dict[str, Callable[[], bytes]] = {
    "png": lambda: encoded(hole() * 255, "PNG"),
    "bmp": lambda: encoded(hole() * 255, "BMP", "1"),
    "tif": lambda: encoded(hole().astype(np.uint16) * np.uint16(65535), "TIFF"),
    "gif": lambda: encoded(hole() * 255, "GIF"),
    "pgm": lambda: encoded(hole() * 255, "PPM"),
    "webp": lambda: encoded(hole() * 255, "WEBP", lossless=True),
}
HEADERS: dict[str, dict[str, int]] = {
    "a gigapixel": {"width": 100_000, "height": 100_000},
    "100 megapixels": {"width": 10_000, "height": 10_000},
    "the largest": {"width": 2**31 - 1, "height": 2**31 - 1},
    "zero wide": {"width": 0},
    "one row more": {"height": SIZE[1] + 1},
    "16 bits": {"bits": 16},
    "a palette": {"colour": 3},
    "alpha": {"colour": 6},
    "no such colour": {"colour": 5},
    "no such bits": {"bits": 7},
    "interlaced": {"interlace": 1},
}


def strange_places(name: str) -> dict[str, Callable[[], object]]:
    """What can exist under a picture's name other than a file."""
    return {
        "a folder": lambda: os.mkdir(name),
        "a pipe": lambda: os.mkfifo(name),
        "a socket": lambda: socket.socket(socket.AF_UNIX).bind(name),
        "a device": lambda: os.symlink("/dev/zero", name),
        "a link to nothing": lambda: os.symlink("nowhere", name),
        "a link to itself": lambda: os.symlink(name, name),
        "a chain of links": lambda: [os.symlink(f"l{i + 1}", name if i == 0 else f"l{i}") for i in range(60)],
        "a terabyte of nothing": lambda: os.truncate(os.open(name, os.O_CREAT | os.O_WRONLY), 2**40),
    }


def inpaint(image: str, mask: str, *more: str, method: str = "Telea", out: str = "out/o.png") -> list[str]:
    return ["inpaint", "--method", method, "--image", image, "--mask", mask, "--out", out, *more]


def bad(kind: str, rng: np.random.Generator) -> str:
    """A file's name: sometimes one that is hard to print."""
    return f"{['bad', 'schlecht ä', 'b a d', '壊', 'bad%20', '-bad'][int(rng.integers(6))]}.{kind}"


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    (tmp_path / "arena").mkdir()
    return Arena(tmp_path / "arena")


def test_damaged_images_and_masks_are_refused_by_name_and_nothing_else_happens(arena: Arena) -> None:
    rng = np.random.default_rng(SEED)
    for role, files in {"image": PHOTOS, "mask": MASKS}.items():
        for kind, make in files.items():
            content = make()
            for damage, change in DAMAGES.items():
                for _ in range(3 if damage in ("truncated", "flipped") else 1):
                    with arena.folder():
                        name = f"./{bad(kind, rng)}"
                        Path(name).write_bytes(change(content, rng))
                        Path("good.png").write_bytes(PHOTOS["png"]() if role == "mask" else MASKS["png"]())
                        pair = (name, "good.png") if role == "image" else ("good.png", name)
                        arena.attempt(f"{damage} {role} {kind}", inpaint(*pair), [name[2:]], damage in FATAL or None)
    assert arena.counts["refused"] > 100
    arena.verdict(least=180)


def test_headers_that_lie_and_what_is_no_file_are_refused_before_memory_is_taken(arena: Arena) -> None:
    for role in ("image", "mask"):
        source = PHOTOS["png"]() if role == "image" else MASKS["png"]()
        for what, changes in HEADERS.items():
            with arena.folder():
                Path("bad.png").write_bytes(with_header(source, **changes))
                Path("good.png").write_bytes(PHOTOS["png"]() if role == "mask" else MASKS["png"]())
                pair = ("bad.png", "good.png") if role == "image" else ("good.png", "bad.png")
                arena.attempt(f"{what} in the header of a {role}", inpaint(*pair), ["bad.png"], True)
        for what, make in strange_places("bad.png").items():
            for folder in (False, True):  # named, or found beside a good one
                with arena.folder():
                    Path("in").mkdir(), Path("masks").mkdir()
                    for place in ("in/good.png", "masks/good.png"):
                        Path(place).write_bytes(PHOTOS["png"]() if place.startswith("in") else MASKS["png"]())
                    os.chdir("in" if role == "image" else "masks")
                    make()
                    os.chdir("..")
                    if folder:
                        other = Path("masks/bad.png") if role == "image" else Path("in/bad.png")
                        other.write_bytes(MASKS["png"]() if role == "image" else PHOTOS["png"]())
                        arena.attempt(f"{what} as {role} in a folder", inpaint("in", "masks", out="out"), ["bad.png"])
                        assert Path("out/good.png").is_file(), what  # the others are done
                    else:
                        pair = ("in/bad.png", "masks/good.png") if role == "image" else ("in/good.png", "masks/bad.png")
                        arena.attempt(f"{what} as {role}", inpaint(*pair), ["bad.png"], True)
    with arena.folder():
        Path("bad.png").write_bytes(with_header(encoded(grey()[..., 0], "PNG"), colour=3))
        Path("good.png").write_bytes(MASKS["png"]())
        arena.attempt("an image without its palette", inpaint("bad.png", "good.png"), ["bad.png"], True)
    for number, wrong in enumerate((np.nan, np.inf, -np.inf, -1, 0.3, 1e30)):
        with arena.folder():
            values = hole().astype(np.float32)
            values[number, number] = wrong
            Image.fromarray(values).save("bad.tif")
            Path("good.png").write_bytes(PHOTOS["png"]())
            arena.attempt(f"{wrong} in a mask of floats", inpaint("good.png", "bad.tif"), ["bad.tif"], True)
    arena.verdict(least=60)


# ---- lists -----------------------------------------------------------------------------------------------------------

NAMES = ("a.png", "sub/ä.png", "c d.png")
GOOD_LISTS: dict[str, bytes] = {
    "plain": "\n".join(NAMES).encode(),
    "Windows": "\r\n".join([*NAMES, ""]).encode(),
    "UTF-8 with a mark": "\n".join(NAMES).encode("utf-8-sig"),
    "PowerShell": "\r\n".join([*NAMES, ""]).encode("utf-16"),
    "big-endian": b"\xfe\xff" + "\n".join(NAMES).encode("utf-16-be"),
    "empty lines": "\n\n".join(["", *NAMES, "", ""]).encode(),
    "spaces around": "\n".join(f"  {name}\t" for name in NAMES).encode(),
}
BAD_LISTS: dict[str, bytes] = {
    "empty": b"",
    "blank": b"\n \n\t\n",
    "outside": b"a.png\n../good.png\n",
    "deep outside": b"sub/../../good.png\n",
    "absolute": b"/etc/passwd\n",
    "missing": b"a.png\nnowhere.png\n",
    "folder": b"sub\n",
    "home": b"~/a.png\n",
    "NUL": b"a.png\0\nc d.png\n",
    "NULs": b"\0" * 4096,
    "Latin-1": "sub/ä.png\n".encode("latin-1"),
    "UTF-16 without a mark": "a.png\n".encode("utf-16-le"),
    "half a UTF-16": "a.png\n".encode("utf-16")[:-1],
    "UTF-32": "a.png\n".encode("utf-32"),
    "one endless line": b"a" * 100_000,
    "a picture": PHOTOS["png"](),
    "a path of a megabyte": b"a/" * 500_000 + b"x.png\n",
    "control characters": b"\x1b[2J\x07\n",
}


def lay_out_lists(role: str, content: bytes) -> list[str]:
    """Images and masks, a list for one of them, and the benchmark that reads it."""
    for name in NAMES:
        for root, pixels in (("img", photo()), ("msk", hole() * 255)):
            Path(root, name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(Path(root, name))
    Image.fromarray(photo(1)).save("good.png")
    Path("lists").mkdir()
    for split in ("train", "val", "test"):
        Path("lists", f"{split}.txt").write_bytes(content if role == "images" else GOOD_LISTS["plain"])
    Path("names.txt").write_bytes(content if role == "masks" else GOOD_LISTS["plain"])
    Path("own.yaml").write_text(
        "name: own\nsize: 32\nmetrics: [l1_hole]\n"
        "data: {class_path: ImageFolder, init_args: {root: img, lists: lists}}\n"
        "mask: {class_path: masks.MaskFolder, init_args: {root: msk, pairing: name, names: names.txt}}\n",
        encoding="utf-8",
    )
    return ["benchmark", "own.yaml", "--methods", "Telea", "--device", "cpu", "--out", "out"]


def test_damaged_lists_are_refused_by_name_and_unusual_ones_are_read(arena: Arena) -> None:
    rng = np.random.default_rng(SEED + 1)
    for role, listed in {"images": "test.txt", "masks": "names.txt"}.items():
        for what, content in GOOD_LISTS.items():
            with arena.folder():
                arena.attempt(f"a list of {role}, {what}", lay_out_lists(role, content), refused=False)
                written = {path.relative_to(path.parents[len(Path(name).parts) - 1]).as_posix()
                           for name in NAMES for path in Path("out").rglob(f"Telea/{name}")}  # fmt: skip
                assert written == set(NAMES), (what, written)
        bad_lists = dict(BAD_LISTS)
        for damage, change in DAMAGES.items():
            for number in range(2):
                bad_lists[f"{damage} {number}"] = change(GOOD_LISTS["PowerShell" if number else "plain"], rng)
        for what, content in bad_lists.items():
            with arena.folder():
                names = [listed, *(name for name in NAMES), "img", "msk"]
                must = True if what in BAD_LISTS and what != "Latin-1" else None  # which old editors write
                arena.attempt(f"a list of {role}, {what}", lay_out_lists(role, content), names, must)
        for what, make in strange_places(listed).items():
            with arena.folder():
                argv = lay_out_lists(role, b"a.png\n")
                os.chdir("lists" if role == "images" else ".")
                os.remove(listed), make()
                os.chdir(".." if role == "images" else ".")
                arena.attempt(f"{what} as a list of {role}", argv, [listed], True)
    arena.verdict(least=90)


# ---- checkpoints -----------------------------------------------------------------------------------------------------


def checkpoint(path: str, **options: Any) -> None:
    torch.manual_seed(0)
    method = PartialConv(levels=2, width=4, perceptual_weight=0, style_weight=0)
    content = {"method": "PartialConv", "state_dict": method.state_dict(), "hyper_parameters": dict(method.hparams)}
    torch.save(content, path, **options)


def released(path: str, kind: str) -> None:
    """Weights as a published program has them: torch's zip, safetensors, or NumPy's archive of TensorFlow's names."""
    from lit_inpaint.methods.deepfillv2.weights import export

    torch.manual_seed(0)
    state = export(DeepFillV2(width=8, discriminator_width=8, variant="official" if kind == "npz" else "nipponjo"))
    if kind == "npz":
        np.savez(path, **state)
    elif kind == "safetensors":
        from safetensors.torch import save_file

        tensors = {f"{g}.{k}" if isinstance(v, dict) else g: t for g, v in state.items()
                   for k, t in (v.items() if isinstance(v, dict) else [("", v)])}  # fmt: skip
        save_file({k: t.contiguous() for k, t in tensors.items()}, path)
    else:
        torch.save(state, path)


def test_damaged_checkpoints_are_refused_by_name_or_give_the_same_pixels(arena: Arena) -> None:
    rng = np.random.default_rng(SEED + 2)

    def files() -> None:
        Path("good.png").write_bytes(PHOTOS["png"]())
        Path("mask.png").write_bytes(MASKS["png"]())

    with arena.folder():
        files(), checkpoint("x.ckpt")
        content = Path("x.ckpt").read_bytes()
        arena.attempt("a whole checkpoint", inpaint("good.png", "mask.png", method="x.ckpt"), refused=False)
        clean = np.asarray(Image.open("out/o.png"))
    for damage, change in DAMAGES.items():
        for number in range(8 if damage in ("flipped", "zeroed") else 3):
            with arena.folder():
                files()
                name = bad("ckpt", rng)
                Path(name).write_bytes(change(content, rng))
                argv = inpaint("good.png", "mask.png", method=f"./{name}")
                outcome = arena.attempt(f"{damage} checkpoint {number}", argv, [name], damage in FATAL or None)
                if outcome.code == 0:
                    assert (np.asarray(Image.open("out/o.png")) == clean).all(), f"{damage}: other weights, not a word"
    wrong: dict[str, Any] = {
        "a list": [1, 2],
        "a tensor": torch.zeros(3),
        "no state": {"method": "PartialConv"},
        "an unknown method": {"method": "os.system", "state_dict": {}, "hyper_parameters": {}},
        "no tensors": {"method": "PartialConv", "state_dict": {}, "hyper_parameters": {"levels": 2, "width": 4}},
        "a state that is none": {"method": "PartialConv", "state_dict": 5, "hyper_parameters": {}},
        "tensors that are none": {"method": "PartialConv", "state_dict": {"x": "y"}, "hyper_parameters": {}},
        "an unknown argument": {"method": "PartialConv", "state_dict": {}, "hyper_parameters": {"levls": 2}},
        "an argument of another type": {"method": "PartialConv", "state_dict": {}, "hyper_parameters": {"levels": "x"}},
        "a negative width": {"method": "PartialConv", "state_dict": {}, "hyper_parameters": {"width": -4}},
        "arguments that are none": {"method": "PartialConv", "state_dict": {}, "hyper_parameters": 7},
        "a method that is none": {"method": 7, "state_dict": {}, "hyper_parameters": {}},
        "a class without weights": {"method": "Telea", "state_dict": {"x": torch.zeros(1)}, "hyper_parameters": {}},
    }
    for what, value in wrong.items():
        with arena.folder():
            files(), torch.save(value, "bad.ckpt")
            arena.attempt(
                f"{what} in a checkpoint", inpaint("good.png", "mask.png", method="bad.ckpt"), ["bad.ckpt"], True
            )
            fit = (
                "fit --init_from bad.ckpt --model PartialConv --data SamplePhotos --data.init_args.mask CenterRectangle"
            )
            arena.attempt(f"{what}, init_from", [*fit.split(), "--trainer.default_root_dir=out"], ["bad.ckpt"], True)
    for what, make in strange_places("bad.ckpt").items():
        with arena.folder():
            files(), make()
            arena.attempt(
                f"{what} as a checkpoint", inpaint("good.png", "mask.png", method="bad.ckpt"), ["bad.ckpt"], True
            )
            arena.attempt(
                f"{what} to import",
                ["import-weights", "DeepFillV2", "bad.ckpt", "--out", "out/x.ckpt"],
                ["bad.ckpt"],
                True,
            )
    for kind in ("pth", "safetensors", "npz", "t7"):
        with arena.folder():
            released("x.pth" if kind == "t7" else f"x.{kind}", kind)
            content = Path("x.pth" if kind == "t7" else f"x.{kind}").read_bytes()
        for damage, change in DAMAGES.items():
            for number in range(2):
                with arena.folder():
                    Path(f"bad.{kind}").write_bytes(change(content, rng))
                    argv = ["import-weights", "DeepFillV2", f"bad.{kind}", "--out", "out/x.ckpt"]
                    arena.attempt(f"{damage} {kind} {number}", argv, [f"bad.{kind}"], damage in FATAL or None)
    arena.verdict(least=125)


def test_damaged_palettes_are_refused_by_name(tmp_path: Path) -> None:
    rng, whole = np.random.default_rng(SEED + 3), io.BytesIO()
    np.save(whole, rng.uniform(-1, 1, (16, 3)))
    (tmp_path / "whole.npy").write_bytes(whole.getvalue())
    assert read_palette(tmp_path / "whole.npy").shape == (16, 3)
    floats = (np.zeros((0, 3)), np.zeros(3), np.full((4, 3), np.nan), np.full((4, 3), 255.0))
    arrays = (*floats, np.array(["a"]), np.eye(3, dtype=int))
    contents = [change(whole.getvalue(), rng) for name, change in DAMAGES.items() if name in ("headless", *FATAL)]
    for array in arrays:
        np.save(content := io.BytesIO(), array)
        contents.append(content.getvalue())
    np.savez(content := io.BytesIO(), x=np.zeros((4, 3)))
    for content_bytes in [*contents, content.getvalue()]:
        (tmp_path / "bad.npy").write_bytes(content_bytes)
        with pytest.raises(ValueError, match=r"bad\.npy"):
            read_palette(tmp_path / "bad.npy")


# ---- valid, but unusual ----------------------------------------------------------------------------------------------


def turned(orientation: int) -> tuple[bytes, np.ndarray]:
    """A file and how it is shown (EXIF 2.32, 4.6.4: where its first row and column lie)."""
    shown, tags = photo(), Image.Exif()
    back = shown[::-1, ::-1]
    stored = {1: shown, 2: shown[:, ::-1], 3: back, 4: shown[::-1], 5: shown.swapaxes(0, 1), 6: np.rot90(shown, 1),
              7: back.swapaxes(0, 1), 8: np.rot90(shown, -1)}[orientation]  # fmt: skip
    tags[0x0112] = orientation
    return encoded(np.ascontiguousarray(stored), "PNG", exif=tags), shown


def grey() -> np.ndarray:
    return np.repeat(photo()[..., :1], 3, 2)


def palette() -> tuple[bytes, np.ndarray]:
    few = photo() // 86 * 86
    return encoded(few, "PNG", "P"), np.asarray(Image.fromarray(few).convert("P").convert("RGB"))


IMAGES: dict[str, Callable[[], tuple[bytes, np.ndarray]]] = {
    **{f"turned {n}.png": (lambda n=n: turned(n)) for n in range(1, 9)},
    "grey.png": lambda: (encoded(grey()[..., 0], "PNG"), grey()),
    "16 bits.png": lambda: (encoded(grey()[..., 0].astype(np.uint16) * np.uint16(257), "PNG"), grey()),
    "16 bits.tif": lambda: (encoded(grey()[..., 0].astype(np.uint16) * np.uint16(257), "TIFF"), grey()),
    "48 bits.png": lambda: (cv2.imencode(".png", photo()[..., ::-1].astype(np.uint16) * 257)[1].tobytes(), photo()),
    "one bit.png": lambda: (encoded(hole() * 255, "PNG", "1"), np.repeat(hole()[..., None] * 255, 3, 2)),
    "palette.png": palette,
    "opaque.png": lambda: (encoded(photo(), "PNG", "RGBA"), photo()),
    "clear.png": lambda: (encoded(np.dstack([photo(), hole() * 0]), "PNG"), photo() * 0 + 255),
    "grey alpha.png": lambda: (encoded(grey(), "PNG", "LA"), grey()),
    "a PNG.jpg": lambda: (encoded(photo(), "PNG"), photo()),
    "bytes after its end.png": lambda: (encoded(photo(), "PNG") + b"\n<script>", photo()),
    "UPPER.PNG": lambda: (encoded(photo(), "PNG"), photo()),
    "two dots.x.png": lambda: (encoded(photo(), "PNG"), photo()),
    "日本 🌄 \n.png": lambda: (encoded(photo(), "PNG"), photo()),
    "pages.tif": lambda: (encoded(photo(), "TIFF", save_all=True, append_images=[Image.fromarray(photo(3))]), photo()),
    "lzw.tiff": lambda: (encoded(photo(), "TIFF", compression="tiff_lzw"), photo()),
    "deflate.tif": lambda: (encoded(photo(), "TIFF", compression="tiff_adobe_deflate"), photo()),
    "animated.webp": lambda: (encoded(photo(), "WEBP", save_all=True, append_images=[Image.fromarray(photo(3))],
                                      lossless=True), photo()),
    "lossless.jp2": lambda: (encoded(photo(), "JPEG2000"), photo()),
    "run-length.tga": lambda: (encoded(photo(), "TGA", compression="tga_rle"), photo()),
    "plain.bmp": lambda: (encoded(photo(), "BMP"), photo()),
    "plain.ppm": lambda: (encoded(photo(), "PPM"), photo()),
}  # fmt: skip


def shape(values: np.ndarray, kind: str, *flags: str, mode: str | None = None) -> Callable[[], tuple[bytes, list[str]]]:
    return lambda: (encoded(values, kind, mode), list(flags))


CUT = np.dstack([photo(), (1 - hole()) * 255])
UNUSUAL_MASKS: dict[str, Callable[[], tuple[bytes, list[str]]]] = {
    **{f"u16 {w}.png": shape(hole().astype(np.uint16) * np.uint16(w), "PNG") for w in (1, 255, 65535)},
    **{f"i32 {w}.tif": shape(hole().astype(np.int32) * w, "TIFF") for w in (1, 255, 65535)},
    **{f"floats {w}.tif": shape(hole().astype(np.float32) * w, "TIFF") for w in (1, 255)},
    "zeros and ones.png": shape(hole(), "PNG"),
    "bits.tif": shape(hole() * 255, "TIFF", mode="1"),
    "bits.pbm": shape(hole() * 255, "PPM", mode="1"),
    "palette.gif": shape(hole() * 255, "GIF"),
    "CMYK.tif": shape(np.repeat(hole()[..., None] * 255, 3, 2), "TIFF", mode="CMYK"),
    "opaque hole.png": shape(np.dstack([np.zeros_like(photo()), hole() * 255]), "PNG", "--mask-alpha", "opaque"),
    "cut out.png": shape(CUT, "PNG", "--mask-alpha", "transparent"),
    "known.png": shape((1 - hole()) * 255, "PNG", "--mask-white", "known"),
    "soft.png": shape(hole() * 180 + 20, "PNG", "--mask-threshold", "128"),
    "soft.jpg": shape(hole() * 255, "JPEG", "--mask-threshold", "128"),
    "UPPER.PNG": shape(hole() * 255, "PNG"),
}


def test_unusual_images_and_masks_give_the_pixels_of_plain_ones(arena: Arena) -> None:
    cases = [(name, make(), (MASKS["png"](), [])) for name, make in IMAGES.items()]
    cases += [(name, (PHOTOS["png"](), photo()), make()) for name, make in UNUSUAL_MASKS.items()]
    for name, (content, pixels), (mask, flags) in cases:
        with arena.folder():
            image, mask_file = (name, "m.png") if name in IMAGES and not flags else ("x.png", f"m {name}")
            Path(image).write_bytes(content), Path(mask_file).write_bytes(mask)
            arena.attempt(name, inpaint(f"./{image}", f"./{mask_file}", *flags), refused=False)
            found = np.asarray(Image.open("out/o.png"))
            assert (found == complete_pixels(Telea(), pixels, hole(), "x")).all(), f"other pixels from {name}"
    arena.verdict(least=45)


def test_unusual_layouts_of_folders_and_checkpoints_are_read(arena: Arena) -> None:
    expected = complete_pixels(Telea(), photo(), hole(), "x")
    layouts: dict[str, tuple[str, str, list[str]]] = {
        "one folder": ("in/x.png", "in/x_mask001.png", ["in", "in"]),
        "masks below": ("in/x.png", "in/masks/x.png", ["in", "in/masks"]),
        "mask beside": ("in/x.png", "in/m.png", ["in", "in/m.png"]),
        "other endings": ("in/a/x.PNG", "m/a/x_mask.bmp", ["in", "m"]),
        "by order": ("in/x.png", "m/0.png", ["in", "m", "--pairing", "order"]),
        "deep": ("in/" + "d/" * 30 + "x.png", "m/" + "d/" * 30 + "x.png", ["in", "m"]),
        "a name with mask": ("in/my_mask_ball.png", "in/my_mask_ball_mask.png", ["in", "in"]),
    }
    for what, (image, mask, (images, masks, *flags)) in layouts.items():
        with arena.folder():
            for path, pixels in ((image, photo()), (mask, hole() * 255)):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
            arena.attempt(what, inpaint(images, masks, *flags, out="out"), refused=False)
            (written,) = Path("out").rglob("*.png")
            assert written.relative_to("out").with_suffix("") == Path(image).relative_to("in").with_suffix("")
            assert (np.asarray(Image.open(written)) == expected).all(), what
    with arena.folder():
        Path("real").mkdir(), write_mask(hole(), "real/m.png"), Image.fromarray(photo()).save("real/x.png")
        os.symlink("real", "in"), os.symlink("real/m.png", "m0")
        for i in range(1, 20):
            os.symlink(f"m{i - 1}", f"m{i}")
        arena.attempt("links", inpaint("in", "m19", out="out"), refused=False)
        assert (np.asarray(Image.open("out/x.png")) == expected).all()
    clean = None
    for what, options in {"x.ckpt": {}, "a b/ä.pt": {}, "old.pth": {"_use_new_zipfile_serialization": False}}.items():
        with arena.folder():
            Path(what).parent.mkdir(exist_ok=True)
            checkpoint(what, **options), os.symlink(what, "link.ckpt")
            Image.fromarray(photo()).save("x.png"), write_mask(hole(), "m.png")
            for method in (what, "link.ckpt"):
                arena.attempt(method, inpaint("x.png", "m.png", "--overwrite", method=method), refused=False)
                found = np.asarray(Image.open("out/o.png"))
                clean = found if clean is None else clean
                assert (found == clean).all() and (found != photo()).any(), what
    for kind in ("pth", "npz"):
        with arena.folder():
            released(f"x.{kind}", kind)
            arena.attempt(kind, ["import-weights", "DeepFillV2", f"x.{kind}", "--out", "out/x.ckpt"], refused=False)
    arena.verdict(least=15)


def test_the_arena_sees_what_must_not_happen(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    def misbehave(argv: list[str]) -> None:
        if argv == ["raise"]:
            raise KeyError("x")
        if argv == ["write"]:
            Path("elsewhere").touch(), Path("..", "beside").touch()
        raise SystemExit(2)

    monkeypatch.setattr(fuzzing, "main", misbehave)
    with arena.folder():
        arena.attempt("a", ["raise"], ["x.png"])
        arena.attempt("b", ["refuse"], ["x.png"])
        arena.attempt("c", ["write"], [""])
        arena.attempt("d", ["refuse"], [""], refused=False)
    said = "\n".join(arena.problems)
    for word in ("a: a traceback", "b: refused without", "c: changed or written", "d: refused", "beside the working"):
        assert word in said
