"""The same `inpaint` again, or one with another input: outputs are no images, and an input is known by its path."""

import json
import os
import zlib
from collections.abc import Callable
from glob import glob
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.cli import main
from experiments.inpaint import command as inpaint
from lit_inpaint.methods import ContextEncoder
from masks.files import write_mask
from tests.support.pictures import hole, photo


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_mask(hole(), "m.png")


def call(*argv: str) -> int:
    with pytest.raises(SystemExit) as end:
        given = [] if {"--mask", "--mask-law"} & {*argv} else ["--mask", "m.png"]
        main(["inpaint", *([] if "--method" in argv else ["--method", "Telea"]), *given, *argv])
    return int(end.value.code or 0)


def pixels(path: str) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def files() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


def two(folder: str, suffix: str = ".png") -> None:
    Path(folder).mkdir()
    for number in (1, 2):
        photo(number).save(f"{folder}/{number}{suffix}")


def masks_by_order() -> list[str]:
    Path("p").rename("images")
    Path("p").mkdir()
    for number in (1, 2):
        write_mask(np.roll(hole(), number), f"p/mask{number}.png")
    return ["--image", "images", "--mask", "p", "--pairing", "order", "--out", "p/filled"]


def in_a_subfolder() -> list[str]:
    Path("p").rename("x")
    Path("p").mkdir()
    Path("x").rename("p/x")
    return ["--image", "p/**/*.png", "--out", "p/filled"]


def through_a_link() -> list[str]:
    Path("elsewhere").mkdir()
    Path("p/filled").symlink_to(Path("elsewhere").resolve())
    return ["--image", "p", "--out", "p/filled"]


def in_place(suffix: str, *more: str) -> list[str]:
    for path in list(Path("p").iterdir()):
        path.unlink()
    Path("p").rmdir()
    two("p", suffix)
    return ["--image", "p", "--out", "p", *more]


AGAIN: dict[str, Callable[[], list[str]]] = {
    "a folder": lambda: ["--image", "p", "--out", "p/filled"],
    "a pattern": lambda: ["--image", "p/**/*.png", "--out", "p/filled"],
    "a pattern of which one folder holds images": in_a_subfolder,
    "what a shell makes of a pattern": lambda: ["--image", *sorted(glob("p/**/*.png", recursive=True)), "--out", "p/f"],
    "a link below the images": through_a_link,
    "in place, of another format": lambda: in_place(".jpg"),
    "in place, two samples": lambda: in_place(".png", "--samples", "2"),
    "below the masks, in their order": masks_by_order,
}


@pytest.mark.parametrize("name", AGAIN)
def test_the_same_command_again_takes_no_output_for_an_image(name: str, capsys: pytest.CaptureFixture[str]):
    two("p")
    arguments = AGAIN[name]()
    assert call(*arguments) == 0
    made = files()
    if name.startswith("what a shell"):
        arguments = AGAIN[name]()
        assert len(arguments) == 7
    capsys.readouterr()
    assert call(*arguments) == 0
    assert "2 of 2 images filled, 2 of them earlier" in capsys.readouterr().out
    assert files() == made


@pytest.mark.parametrize("name", [name for name in AGAIN if "in place" not in name and "order" not in name])
def test_completions_by_other_options_are_no_images(name: str, capsys: pytest.CaptureFixture[str]):
    two("p")
    assert call(*AGAIN[name](), "--samples", "2") == 0
    made = files()
    capsys.readouterr()
    again = AGAIN[name]() if "shell" in name else ["--image", "p/**/*.png", "--out", "p/filled"]
    assert call(*again) == 0
    said = capsys.readouterr()
    assert "2 of 2 images filled, in p/f" in said.out and "4 of the files found lie in --out p/f" in said.err
    assert len(files()) == len(made) + 2
    if "link" in name:
        assert call("--image", "p", "--out", "elsewhere") == 0
        assert "2 of 2 images filled, 2 of them earlier" in capsys.readouterr().out


def test_in_place_an_image_is_never_replaced_by_the_completion_of_another(capsys: pytest.CaptureFixture[str]):
    Path("p").mkdir()
    photo(1).save("p/a.png")
    photo(2).save("p/a.jpg")
    before = Path("p/a.png").read_bytes()
    for more in ([], ["--overwrite"]):
        assert call("--image", "p", "--out", "p", *more) == 2
        assert "a.png is there, perhaps an image of its own" in capsys.readouterr().err
        assert Path("p/a.png").read_bytes() == before
    Path("p/a.png").unlink()
    for _ in range(2):
        assert call("--image", "p", "--out", "p", "--overwrite") == 0  # its own output, the second time
    photo(3).save("p/a.jpg")
    assert call("--image", "p", "--out", "p") == 2 and "a.png exists" in capsys.readouterr().err
    assert call("--image", "p", "--out", "p", "--overwrite") == 0


def test_images_that_all_lie_in_the_output_folder_are_refused(capsys: pytest.CaptureFixture[str]):
    two("p")
    Path("q").mkdir()
    Path("p").rename("q/p")
    assert call("--image", "q", "--out", "q/p") == 2
    assert "all 2 images lie in --out q/p" in capsys.readouterr().err


@pytest.mark.parametrize("of", ["--mask", "--image"])
def test_another_file_of_equal_size_and_time_is_another_input(of: str, capsys: pytest.CaptureFixture[str]):
    """As the uncompressed files of one archive have them."""
    for folder, number in (("A", 1), ("B", 2)):
        Path(folder).mkdir()
        photo(number).save(f"{folder}/a.bmp")
        write_mask(np.roll(hole(), 4 * number), f"{folder}.png")
        Image.open(f"{folder}.png").convert("L").save(f"{folder}.bmp")
        for file in (f"{folder}/a.bmp", f"{folder}.bmp"):
            os.utime(file, (1, 1))
    chosen = {"--image": "A", "--mask": "A.bmp"}
    other = chosen | {of: chosen[of].replace("A", "B")}
    first, second = ([part for pair in each.items() for part in pair] + ["--out", "out"] for each in (chosen, other))
    assert call(*first) == 0
    capsys.readouterr()
    assert call(*second) == 2 and "a.png exists" in capsys.readouterr().err
    assert call(*second, "--overwrite") == 0
    assert "1 of 1 images filled, in out" in capsys.readouterr().out
    mask = np.asarray(Image.open(other["--mask"])) > 0
    assert (pixels("out/a.png") == pixels(f"{other['--image']}/a.bmp"))[~mask].all()
    assert call(*second) == 0 and "1 of them earlier" in capsys.readouterr().out


def test_an_image_that_changes_while_it_is_filled_is_filled_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    two("p")
    fill = inpaint.fill_file

    def rewritten(method, pair, run):  # type: ignore[no-untyped-def]
        done = fill(method, pair, run)
        if pair.name == "1.png":
            photo(7).save(pair.image)
        return done

    monkeypatch.setattr(inpaint, "fill_file", rewritten)
    assert call("--image", "p", "--out", "out") == 0
    monkeypatch.setattr(inpaint, "fill_file", fill)
    assert call("--image", "p", "--out", "out") == 2 and "1.png exists" in capsys.readouterr().err
    assert call("--image", "p", "--out", "out", "--overwrite") == 0
    assert "1 of them earlier" in capsys.readouterr().out
    assert (pixels("out/1.png") == pixels("p/1.png"))[hole() == 0].all()


def test_a_checkpoint_that_is_saved_while_it_is_loaded_is_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """As with ``last.ckpt`` during training."""

    def save() -> None:
        network = ContextEncoder(size=64, region="random", overlap=2, width=8, bottleneck=16)
        arguments = dict(network.hparams)
        torch.save(
            {"method": "ContextEncoder", "state_dict": network.state_dict(), "hyper_parameters": arguments}, "last.ckpt"
        )

    two("p")
    save()
    load = inpaint.load_method

    def saved_meanwhile(*given):  # type: ignore[no-untyped-def]
        method = load(*given)
        save()
        return method

    command = ["--method", "last.ckpt", "--image", "p", "--mask", "m.png", "--out", "out"]
    monkeypatch.setattr(inpaint, "load_method", saved_meanwhile)
    assert call(*command) == 0
    monkeypatch.setattr(inpaint, "load_method", load)
    assert call(*command) == 2 and "exists; give another --out" in capsys.readouterr().err
    assert call(*command, "--overwrite") == 0
    assert call(*command) == 0 and "2 of them earlier" in capsys.readouterr().out


def test_a_journal_whose_rows_name_no_inputs_is_filled_again_and_foreign_files_stay(capsys: pytest.CaptureFixture[str]):
    """Rows as 0.2.0 wrote them first: sizes and times alone."""
    two("p")
    assert call("--image", "p", "--out", "out") == 0
    journal = Path("out/.lit-inpaint/journal.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        line.pop("inputs", None), line.pop("crc32")
    texts = [json.dumps(line) for line in lines]
    journal.write_text("".join(f'{text[:-1]}, "crc32": {zlib.crc32(text.encode())}}}\n' for text in texts))
    written = Path("out/1.png").stat().st_mtime_ns
    photo(9).save("out/2.png")
    assert call("--image", "p", "--out", "out") == 2 and "2.png exists" in capsys.readouterr().err
    Path("out/2.png").unlink()
    assert call("--image", "p", "--out", "out") == 0
    said = capsys.readouterr().out
    assert "2 of 2 images filled" in said and "earlier" not in said and Path("out/1.png").stat().st_mtime_ns > written
    assert call("--image", "p", "--out", "out") == 0 and "2 of them earlier" in capsys.readouterr().out


# ---- an image is not its own mask ------------------------------------------------------------------------------------


def test_an_image_is_its_own_mask_in_its_alpha_channel_alone(capsys: pytest.CaptureFixture[str]):
    Path("p").mkdir()
    photo(1).save("p/a.png")
    write_mask(hole(), "p/a_mask.png")
    write_mask(hole(), "p/scan.png")  # a drawing in black and white, and an image
    photo(2).save("p/b.png")
    assert call("--image", "p", "--mask", "p", "--out", "out") == 1
    said = capsys.readouterr().err
    assert "holds no mask for b.png. If the mask is in its alpha channel" in said and "no mask for scan.png" in said
    assert sorted(path.name for path in Path("out").glob("*.png")) == ["a.png"]
    assert call("--image", "p/scan.png", "--mask", "p/scan.png", "--out", "one.png") == 2
    assert "p/scan.png is both image and mask" in capsys.readouterr().err
    assert call("--image", "p/[bs]*.png", "--mask", "p", "--out", "two") == 2
    assert "If the mask is in its alpha channel" in capsys.readouterr().err
    assert call("--image", "p/[bs]*.png", "--mask", "p", "--pairing", "order", "--out", "two") == 2
    assert not Path("one.png").exists() and not Path("two").exists()
    opaque = ["--mask", "p", "--mask-alpha", "opaque"]
    assert call("--image", "p/[bs]*.png", *opaque, "--out", "two") == 1
    assert "scan.png has no alpha channel" in capsys.readouterr().err


# ---- names that are none ---------------------------------------------------------------------------------------------


def test_a_folder_is_not_called_like_a_picture_and_an_empty_name_is_no_folder(capsys: pytest.CaptureFixture[str]):
    two("p")
    before = files()
    for arguments, said in (
        (["--image", "p/1*.png", "--out", "one.png"], "--out one.png is the name of a picture"),
        (["--image", "p", "--out", "one.TIF"], "--out one.TIF is the name of a picture"),
        (["--image", "", "--out", "out"], "--image is empty"),
        (["--image", "p/1.png", "", "--out", "out"], "--image is empty"),
        (["--image", "p", "--out", ""], "--out: it is empty"),
        (["--image", "p", "--mask", "", "--out", "out"], "--mask: it is empty"),
    ):
        assert call(*arguments) == 2
        assert said in capsys.readouterr().err
    assert files() == before and not Path("one.png").exists()
    for command, said in ((["masks", "show", ""], "'' is not a mask generator"), (["masks", "show", "Half"], ".png")):
        with pytest.raises(SystemExit) as end:
            main([*command, "--count", "1", "--out", "x" if said == ".png" else "x.png"])
        assert end.value.code == 2 and said in capsys.readouterr().err
    for long in (["--image", "x" * 5000, "--out", "out"], ["--image", "p/1.png", "--out", f"{'x' * 300}.png"]):
        assert call(*long) == 2
        assert "File name too long" in capsys.readouterr().err
    for command in (
        ["masks", "write", "Half"],
        ["masks", "show", "Half"],
        ["benchmark", "quickstart", "--methods", "Telea"],
    ):
        with pytest.raises(SystemExit) as end:
            main([*command, "--out", ""])
        assert end.value.code == 2 and "--out: it is empty" in capsys.readouterr().err
    assert files() == before


# ---- masks drawn by a law --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["a mask redrawn", "a mask more", "within another law"])
def test_images_are_filled_again_when_the_files_of_their_law_have_changed(
    change: str, capsys: pytest.CaptureFixture[str]
):
    two("p")
    Path("masks").mkdir()
    write_mask(hole(), "masks/a.png")
    given = {"class_path": "masks.MaskFolder", "init_args": {"root": "masks"}}
    if change.startswith("within"):
        given = {"class_path": "masks.Augmented", "init_args": {"generator": given}}
    both = ["--image", "p", "--mask-law", json.dumps(given)]
    assert call(*both, "--out", "out") == 0 and call(*both, "--out", "out") == 0
    assert "2 of 2 images filled, 2 of them earlier" in capsys.readouterr().out
    moved = np.roll(hole(), 9)
    write_mask(moved, "masks/b.png" if change.endswith("more") else "masks/a.png")
    assert call(*both, "--out", "out") == 2 and "1.png exists" in capsys.readouterr().err
    assert call(*both, "--out", "out", "--overwrite") == 0 and "earlier" not in capsys.readouterr().out
    if change == "a mask redrawn":
        assert (pixels("out/1.png") == pixels("p/1.png"))[moved == 0].all()
    assert call(*both, "--out", "masks/out") == 2
    assert "--out masks/out lies in masks, whose files are the masks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mask-law", "{bad"], "'{bad' is neither JSON nor YAML"),
        (["--mask-law", "{bad}"], "names no mask generator"),
        (["--mask-law", '{"class_path": 3}'], "'3' is not a mask generator"),
        (["--mask-law", "[1]"], "'[1]' is not a mask generator"),
        (["--mask-law", "Half", "--seed", "-3"], "the seed is -3; expected 0 or more"),
        (["--mask-law", '{"class_path": "MaskFolder", "init_args": {"root": "nowhere"}}'], "nowhere: no such folder"),
    ],
)
@pytest.mark.parametrize("image", ["p", "p/1.png"])
def test_a_law_that_is_none_is_one_line(
    arguments: list[str], said: str, image: str, capsys: pytest.CaptureFixture[str]
):
    two("p")
    assert call("--image", image, *arguments, "--out", "out.png" if image.endswith("png") else "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and not Path("out.png").exists() and not Path("out").exists()


def test_a_mask_is_drawn_for_a_name_of_any_bytes():
    name = os.fsdecode(b"\xff\xfe.png")
    Path("p").mkdir()
    photo(1).save(f"p/{name}")
    assert call("--image", f"p/{name}", "--mask-law", "Half", "--out", "one.png") == 0
    assert call("--image", "p", "--mask-law", "Half", "--out", "out") == 0
    assert Path(f"out/{name}").read_bytes() == Path("one.png").read_bytes()
