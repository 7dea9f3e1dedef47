"""One finder and one pairing for images and masks: what is an image, what is a mask, and which belongs to which."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules import ImageFolder
from datamodules.evaluation import EvaluationSet
from datamodules.files import Files
from experiments.cli import main
from experiments.inpaint.pairing import find_pairs
from masks import CenterRectangle, MaskFolder, Mixture
from masks.files import read_mask, write_mask
from masks.finding import find_images, masks_beside, pair_by_name, without_masks
from masks.folder import roots_of

MASK = np.zeros((16, 24), np.uint8)
MASK[4:12, 8:16] = 1


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path))).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="PNG")


def mask(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mask(MASK, path)


def names(pairs: list) -> list[tuple[str, str]]:
    return [(pair.name, pair.mask.name if not pair.problem else "-") for pair in pairs]


@pytest.fixture
def lama(tmp_path: Path) -> Path:
    """LaMa's layout, with an upper-case suffix and an image whose own name has _mask in it."""
    for name in ("x.png", "b/y.PNG", "party_mask.png"):
        image(tmp_path / "in" / name)
    for name in ("x_mask001.png", "b/y_mask.png", "party_mask_mask000.png"):
        mask(tmp_path / "in" / name)
    return tmp_path / "in"


IMAGES = ["b/y.PNG", "party_mask.png", "x.png"]
MASKS = ["b/y_mask.png", "party_mask_mask000.png", "x_mask001.png"]


def test_images_and_masks_in_one_folder(lama: Path, tmp_path: Path) -> None:
    assert find_images(lama, lama) == IMAGES and len(find_images(lama)) == 6
    pairs = find_pairs([str(lama)], lama, tmp_path / "out", 1, None)
    assert [pair.name for pair in pairs] == IMAGES
    assert [pair.mask.relative_to(lama).as_posix() for pair in pairs] == MASKS
    patterns = [str(lama / "**" / "*.png"), str(lama / "**" / "*.PNG")]
    assert [pair.name for pair in find_pairs(patterns, lama, tmp_path / "out", 1, None)] == IMAGES
    folder = MaskFolder(str(lama), pairing="name")
    assert folder.pairs(IMAGES) == MASKS and MaskFolder(str(lama)).files == MASKS
    assert MaskFolder(str(lama), pairing="order").pairs(IMAGES) == MASKS
    data = EvaluationSet(Files(lama, find_images(lama)), folder, 16)
    assert [data.name(i) for i in range(len(data))] == IMAGES and data.draw_mask(0).sum() == MASK.sum()


def test_the_command_fills_the_images_of_a_shared_folder(
    lama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as end:
        main(["inpaint", "--method", "Telea", "--image", str(lama), "--mask", str(lama), "--out", str(out)])
    assert end.value.code == 0, capsys.readouterr().err
    written = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.png"))
    assert written == ["b/y.png", "party_mask.png", "x.png"]
    before, after = (np.asarray(Image.open(folder / "x.png")) for folder in (lama, out))
    assert ((before != after).any(-1) <= (MASK == 1)).all() and (before != after).any()


def test_a_training_set_leaves_the_masks_out_as_well(lama: Path) -> None:
    law = Mixture((CenterRectangle(), MaskFolder(str(lama))), (1, 1))
    assert list(roots_of(law)) == [str(lama)]
    data = ImageFolder(lama, law, image_size=16, val_share=0, test_share=0)
    assert data.files("train").names() == IMAGES


def test_masks_in_a_folder_or_a_file_below_the_images_are_no_images(tmp_path: Path) -> None:
    for name in ("a.jpg", "c/d.webp"):
        image(tmp_path / "in" / name)
        mask(tmp_path / "in" / "masks" / Path(name).with_suffix(".TIF"))
    mask(tmp_path / "in" / "one.png")
    (tmp_path / "linked").symlink_to(tmp_path / "in" / "masks")
    expected = [("a.jpg", "a.TIF"), ("c/d.webp", "d.TIF"), ("one.png", "-")]
    for place in (tmp_path / "in" / "masks", tmp_path / "linked"):
        assert names(find_pairs([str(tmp_path / "in")], place, tmp_path / "out", 1, None)) == expected
    found = without_masks(find_images(tmp_path / "in"), tmp_path / "in", tmp_path / "in" / "one.png")
    assert "one.png" not in found and "masks/a.TIF" in found


def test_names_decide_with_the_longest_image_first() -> None:
    both = pair_by_name(["a.png", "a_mask.png", "sub/a.png"], ["a.png", "a_mask.png", "sub/a_mask1.gif", "other.png"])
    assert both == {"a.png": ["a.png"], "a_mask.png": ["a_mask.png"], "sub/a.png": ["sub/a_mask1.gif"]}
    assert pair_by_name(["a.jpg"], ["a.png", "a_mask.png"]) == {"a.jpg": ["a_mask.png"]}
    assert masks_beside(["a.png", "a_mask_b.png", "a_mask_b_mask.png"]) == {
        "a_mask_b_mask.png"
    }  # its image is a_mask_b
    assert pair_by_name(["ab.jpg"], ["a_mask.png", "abc.png"]) == {"ab.jpg": []}


def test_two_masks_of_one_image_are_never_chosen_between(tmp_path: Path) -> None:
    image(tmp_path / "in" / "x.png"), image(tmp_path / "in" / "z.png")
    for name in ("x_mask000.png", "x_mask001.png", "z.png"):
        mask(tmp_path / "masks" / name)
    pairs = find_pairs([str(tmp_path / "in")], tmp_path / "masks", tmp_path / "out", 1, None)
    assert "2 masks for x.png: x_mask000.png, x_mask001.png" in str(pairs[0].problem) and not pairs[1].problem
    folder = MaskFolder(str(tmp_path / "masks"), pairing="name")
    with pytest.raises(ValueError, match=r"2 masks for 'x.png': x_mask000.png, x_mask001.png"):
        folder.pairs(["x.png", "z.png"])
    assert folder.pairs(["z.png", "x.png"], first=1) == ["z.png"]


def test_order_pairs_only_when_it_is_asked_for(tmp_path: Path) -> None:
    for name in ("0.png", "1.png"):
        image(tmp_path / "in" / name)
    for name in ("p.png", "q.PNG"):
        mask(tmp_path / "masks" / name)
    with pytest.raises(ValueError, match=r"masks holds no mask for 0\.png.*--pairing order"):
        find_pairs([str(tmp_path / "in")], tmp_path / "masks", tmp_path / "out", 1, None)
    pairs = find_pairs([str(tmp_path / "in")], tmp_path / "masks", tmp_path / "out", 1, None, "order")
    assert names(pairs) == [("0.png", "p.png"), ("1.png", "q.PNG")]
    mask(tmp_path / "masks" / "r.png")
    with pytest.raises(ValueError, match="3 masks for 2 images"):
        find_pairs([str(tmp_path / "in")], tmp_path / "masks", tmp_path / "out", 1, None, "order")


def test_the_mask_of_an_image_whose_name_continues_another_is_not_the_others(tmp_path: Path) -> None:
    """Only the first images are measured, but the names of all say whose mask a file is."""
    folder = tmp_path / "in"
    image(folder / "a.png"), image(folder / "a_mask_ball.png")
    for name in ("a.png", "a_mask_ball.png"):
        mask(tmp_path / "masks" / name)
    data = EvaluationSet(
        Files(folder, find_images(folder)), MaskFolder(str(tmp_path / "masks"), pairing="name"), 16, limit=1
    )
    assert data.draw_mask(0).any() and data._own and data._own.path(data.mask, 0).endswith("/a.png")


def test_links_are_followed_once_and_endless_ones_are_named(tmp_path: Path) -> None:
    image(tmp_path / "elsewhere" / "deep" / "a.png")
    root = tmp_path / "in"
    image(root / "z" / "b.png")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "again").symlink_to(root)
    (root / "a_copy").symlink_to(root / "z")  # sorts before the folder itself
    (root / "c.png").symlink_to(root / "z" / "b.png")
    (root / "folder.png").mkdir()
    assert find_images(root) == ["c.png", "linked/deep/a.png", "z/b.png"]
    (root / "loop.png").symlink_to(root / "pool.png"), (root / "pool.png").symlink_to(root / "loop.png")
    assert find_images(root) == ["c.png", "linked/deep/a.png", "loop.png", "pool.png", "z/b.png"]
    with pytest.raises(ValueError, match=r"loop\.png: cannot be opened"):
        read_mask(root / "loop.png")


def test_what_is_no_file_is_refused_before_a_byte_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    os.mkfifo("pipe.png")
    os.symlink("/dev/zero", "zero.png")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.png")
        for name, word in {"pipe.png": "FIFO", "zero.png": "device", "socket.png": "socket", ".": "folder"}.items():
            with pytest.raises(ValueError, match=f"{name}: is .*{word}"):
                read_mask(name)
        for name, word in {"pipe.png": "FIFO", "zero.png": "device"}.items():
            with pytest.raises(ValueError, match=f"{name}: is .*{word}"):
                _ = MaskFolder(".", names=name).files
    mask(tmp_path / "masks" / "a.png")
    (tmp_path / "list.txt").write_text("../pipe.png\n")
    with pytest.raises(ValueError, match=r"names \.\./pipe\.png, which lies outside"):
        _ = MaskFolder("masks", names="list.txt").files
    (tmp_path / "list.txt").write_text("a.png\r\n", encoding="utf-16")
    assert MaskFolder("masks", names="list.txt").files == ["a.png"]
