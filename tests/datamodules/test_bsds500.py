"""BSDS500: which folders train, and pixels that are means of four."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import datamodules
from datamodules import BSDS500, EvaluationSet
from datamodules.files import Files
from masks import CenterRectangle, MaskFolder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for folder, count in (("train", 3), ("val", 2), ("test", 5)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            pixels = rng.integers(0, 256, (320, 480) if i % 2 else (481, 321), np.uint8)
            Image.fromarray(np.stack([pixels] * 3, -1)).save(tmp_path / folder / f"{i}.png")
    return tmp_path


def test_both_parts_that_are_not_tested_train_and_photographs_have_half_their_size(root: Path):
    data = BSDS500(root, CenterRectangle())
    assert data.files("train").names() == ["train/0.png", "train/1.png", "train/2.png", "val/0.png", "val/1.png"]
    assert data.files("test").names() == [f"test/{i}.png" for i in range(5)]
    assert data.files("val").names() == ["test/0.png", "test/4.png"]
    files = data.files("test")
    assert [files.shape(i) for i in (0, 1)] == [(240, 160), (160, 240)] == [files.read(i).shape[:2] for i in (0, 1)]
    means = np.asarray(Image.open(root / "test/1.png"), np.float64)[:, :, 0].reshape(160, 2, 240, 2).mean((1, 3))
    assert abs(files.read(1)[:, :, 0] - means).max() <= 0.5
    (image,) = [item.image for item in [data.evaluation_set("test")[1]]]
    crop = files.read(1)[48:112, 88:152]
    assert np.array_equal(((image.permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8), crop)


def test_a_folder_that_is_not_there_and_a_size_that_does_not_fit_are_named(root: Path):
    with pytest.raises(ValueError, match="has no folder train"):
        BSDS500(root / "train", CenterRectangle()).files("train")
    with pytest.raises(ValueError, match="shrink is 6; expected 1 to 5"):
        BSDS500(root, CenterRectangle(), shrink=6)


def test_photographs_of_another_size_have_another_hash_and_those_of_half_size_that_of_their_file(root: Path):
    """Published records of BSDS500 were measured at half size, under the hashes of its files."""
    hashes = [
        BSDS500(root, CenterRectangle(), shrink=n).evaluation_set("test").fingerprint()["images"] for n in (1, 2, 3)
    ]
    files = [hashlib.sha256((root / f"test/{i}.png").read_bytes()).hexdigest() for i in range(5)]
    assert list(hashes[1].values()) == files
    assert len({value for of in hashes for value in of.values()}) == 15


def test_files_that_are_read_otherwise_are_hashed_otherwise():
    def below(cls: type[Files]) -> list[type[Files]]:
        return [cls, *(other for sub in cls.__subclasses__() for other in below(sub))]

    assert all(getattr(datamodules, name) for name in datamodules.__all__)  # each is imported when it is asked for
    classes = {cls.__name__: vars(cls) for cls in below(Files)}
    assert {"_Shrunk", "_Rows", "_DrawnFiles"} <= set(classes)
    assert not [name for name, own in classes.items() if "read" in own and "sha256" not in own]


def test_photographs_keep_their_half_size_where_masks_lie_beside_them(root: Path):
    files = BSDS500(root, CenterRectangle()).files("test")
    mask = np.zeros((240, 160), np.uint8)
    mask[100:140, 60:100] = 255
    (root / "test/masks").mkdir()
    for i in range(5):
        Image.fromarray(mask if i % 2 == 0 else mask.T).save(root / f"test/masks/{i}.png")
    files = BSDS500(root, CenterRectangle()).files("test")
    law = MaskFolder(str(root / "test/masks"))
    images = EvaluationSet(files, law, 64, "none")
    assert len(files) == 10 and len(images) == 5
    assert images.files.shape(0) == (240, 160) and np.array_equal(images.files.read(0), files.read(0))
