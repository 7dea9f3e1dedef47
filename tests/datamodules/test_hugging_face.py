"""Hugging Face data sets: local files, masks in a column, any number of workers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import HuggingFaceImages, ImageFolder
from masks import CenterRectangle, OwnMasks
from masks.files import write_mask
from tests.support.pictures import photo

datasets = pytest.importorskip("datasets")
COUNT = 10


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same photographs and masks as a folder, as Parquet, and as save_to_disk writes them."""
    root = tmp_path_factory.mktemp("hf")
    for folder in ("images", "masks", "parquet"):
        (root / folder).mkdir()
    for number in range(COUNT):
        photo(number).save(root / f"images/{number:02}.png")
        write_mask(np.asarray(photo(number).convert("L")) > 200, root / f"masks/{number:02}.png")
    columns = {kind: [str(path) for path in sorted((root / kind).iterdir())] for kind in ("images", "masks")}
    rows = datasets.Dataset.from_dict({"image": columns["images"], "hole": columns["masks"], "caption": ["x"] * COUNT})
    rows = rows.cast_column("image", datasets.Image()).cast_column("hole", datasets.Image())
    held = datasets.DatasetDict({"train": rows, "validation": rows.select([3, 4])})
    held.save_to_disk(root / "saved")
    for split in held:
        held[split].to_parquet(root / f"parquet/{split}.parquet")
    return root


@pytest.mark.parametrize("kind", ["saved", "parquet", "images"])
def test_rows_are_the_pixels_of_the_files(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    """kungfuai/nano-diffusion#3: any data set with a column of images."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    more: dict[str, Any] = {"image_size": 24, "num_workers": 0, "test_share": 0.2}
    data = HuggingFaceImages(str(root / kind), CenterRectangle(), **more)
    files = data.files("train")
    number = int(files.name(2).partition("/")[2])
    assert (files.read(2) == np.asarray(Image.open(root / f"images/{number:02}.png"))).all()
    assert files.shape(2) == (32, 40) and len(files.sha256(2)) == 64
    assert len(data.files("test")) == 2 and not set(files.names()) & set(data.files("test").names())
    assert data.files("val").names() == (
        ["validation/00000000", "validation/00000001"] if kind != "images" else [data.files("val").name(0)]
    )
    assert len(files) == (COUNT - 2 if kind != "images" else COUNT - 3)
    assert data.summary()["kinds"] == {"RGB, 8 bits": sum(data.summary()["images"].values())}


def test_own_masks_of_a_column_for_any_number_of_workers(root: Path):
    more: dict[str, Any] = {"image_size": 24, "batch_size": 4, "test_share": 0.0, "val_share": 0.0, "seed": 5}
    data = HuggingFaceImages(str(root / "saved"), OwnMasks(), own_mask="hole", num_workers=0, **more)
    folder = ImageFolder(root / "images", OwnMasks(), num_workers=0, **more)
    folder.files("train").masks = ImageFolder(root / "masks", OwnMasks(), **more).files("train")
    one, other = data.training_set(), folder.training_set()
    for key in [(epoch, index) for epoch in (0, 1) for index in range(COUNT)]:
        a, b = one[key], other[key]
        assert torch.equal(a.image, b.image) and torch.equal(a.mask, b.mask) and a.mask.any()
    split = [HuggingFaceImages(str(root / "saved"), OwnMasks(), own_mask="hole", num_workers=n, **more) for n in (0, 2)]
    first, second = ([batch.mask for batch in each.train_dataloader()] for each in split)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True)) and len(first) == 2
    assert data.evaluation_set("val")[0].mask.any()


@pytest.mark.parametrize(
    ("path", "more", "said"),
    [
        ("saved", {"image": "picture"}, "has no column 'picture'; it has image, hole, caption"),
        ("saved", {"train": "all"}, "has no split 'all'; it has train, validation"),
        ("nothing", {}, "cannot be loaded as a Hugging Face data set"),
    ],
)
def test_what_a_data_set_lacks_is_named(
    root: Path, monkeypatch: pytest.MonkeyPatch, path: str, more: dict[str, Any], said: str
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=said):
        HuggingFaceImages(str(root / path), CenterRectangle(), **more).files("train")


def test_rows_that_are_also_trained_on_are_found_by_content(root: Path, monkeypatch: pytest.MonkeyPatch):
    more: dict[str, Any] = {"image_size": 24, "num_workers": 0, "test_share": 0.0}
    found = HuggingFaceImages(str(root / "saved"), CenterRectangle(), **more).summary()["also_trained_on"]["val"]
    assert found == {"compared": "by content", "count": 2, "names": ["validation/00000000", "validation/00000001"]}
    monkeypatch.setattr("datamodules.hugging_face.HASHED", 1)
    found = HuggingFaceImages(str(root / "saved"), CenterRectangle(), **more).summary()["also_trained_on"]["val"]
    assert found["compared"] == "by path"
