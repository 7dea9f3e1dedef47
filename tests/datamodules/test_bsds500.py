"""BSDS500: which folders train, and pixels that are means of four."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules import BSDS500
from masks import CenterRectangle


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
