"""`prepare` on small folders that mimic each data set: right, with something missing, and wrong."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
import yaml
from jsonargparse import ArgumentParser
from PIL import Image

import datamodules
from datamodules import celebahq, imagenet, paris_streetview, places2
from datamodules.published import NamedSplit, hold_out
from experiments.train.prepare import main
from masks import CenterRectangle

PICTURE = io.BytesIO()
Image.fromarray(np.arange(12 * 12 * 3, dtype=np.uint8).reshape(12, 12, 3)).save(PICTURE, "JPEG")


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PICTURE.getvalue())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each data set at a thousandth of its size or less; the rules stay."""

    def shrink(cls: type, **counts: dict[str, int]) -> None:
        monkeypatch.setattr(cls, "SPLITS", {name: NamedSplit("a source", count) for name, count in counts.items()})

    monkeypatch.setattr(celebahq, "IMAGES", 30)
    thirty = {"train": 24, "val": 4, "test": 2}
    shrink(datamodules.CelebAHQ, official=thirty, deepfill=thirty, lama=thirty)
    for module, cls in ((places2, datamodules.Places2), (imagenet, datamodules.ImageNet)):
        monkeypatch.setattr(module, "HELD_OUT", 3)
        name = "standard256" if module is places2 else "ilsvrc2012"
        shrink(cls, **{name: {"train": 17, "val": 3, "test": 6}, "lama": {"train": 17, "val": 3, "test": 2}})
    monkeypatch.setattr(paris_streetview, "HELD_OUT", 3)
    shrink(datamodules.ParisStreetView, pathak={"train": 17, "val": 3, "test": 5})


def mapping(root: Path) -> None:
    """24 of CelebA's training images, 4 of validation, 2 of test, in mixed order and at the partition's borders."""
    originals = [*range(162_747, 162_771), *range(162_771, 162_773), 182_636, 182_637, 182_638, 202_599]
    random.Random(0).shuffle(originals)
    lines = [f"{i} {original - 1} {original:06}.jpg" for i, original in enumerate(originals)]
    (root / celebahq.MAPPING).write_text("\n".join(["idx orig_idx orig_file", *lines]))


def read(root: Path, split: str) -> dict[str, list[str]]:
    lists = {
        part: (root / "splits" / split / f"{part}.txt").read_text().splitlines() for part in ("train", "val", "test")
    }
    return {part: [name for name in names if not name.startswith("#")] for part, names in lists.items()}


def test_celebahq_official_follows_the_partition_of_the_original_files(tmp_path: Path, small: None, capsys):
    put(tmp_path, *(f"CelebA-HQ-img/{i}.jpg" for i in range(30)))
    mapping(tmp_path)
    assert main(["CelebAHQ", "--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "train 24, val 4, test 2 images" in out and "12x12" in out and "class_path: CelebAHQ" in out
    lists = read(tmp_path, "official")
    assert {part: len(names) for part, names in lists.items()} == {"train": 24, "val": 4, "test": 2}
    originals = dict(line.split()[::2] for line in (tmp_path / celebahq.MAPPING).read_text().splitlines()[1:])
    test = sorted(originals[Path(name).stem] for name in lists["test"])
    assert test == ["182638.jpg", "202599.jpg"]


def test_the_written_lists_are_what_the_data_module_reads(tmp_path: Path, small: None):
    put(tmp_path, *(f"data256x256/{i:05}.jpg" for i in range(1, 31)))  # numbered from 1
    mapping(tmp_path)
    data = datamodules.CelebAHQ(tmp_path, CenterRectangle(), image_size=8)
    with pytest.raises(ValueError, match=r"lit-inpaint prepare CelebAHQ --root \S+ --split official"):
        data.files("train")
    main(["CelebAHQ", "--root", str(tmp_path)])
    names = [data.files(part).names() for part in ("train", "val", "test")]
    assert list(map(len, names)) == [24, 4, 2] and len({name for part in names for name in part}) == 30
    assert data.evaluation_set("test")[0].image.shape == (3, 8, 8)
    assert main(["CelebAHQ", "--root", str(tmp_path)]) == 0  # again: the same lists
    mine = tmp_path / "splits" / "official" / "val.txt"
    mine.write_text("mine.png\n")
    with pytest.raises(ValueError, match=r"val\.txt exists and names other images"):
        main(["CelebAHQ", "--root", str(tmp_path)])
    assert mine.read_text() == "mine.png\n"


def test_deepfills_lists_are_known_by_their_content(tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch):
    put(tmp_path, *(f"images/img{i:08}.png" for i in range(30)))
    with pytest.raises(ValueError, match=r"need the authors' lists.*fetch_data/"):
        main(["CelebAHQ", "--root", str(tmp_path), "--split", "deepfill"])
    lists = tmp_path / "lists"
    lists.mkdir()
    with pytest.raises(ValueError, match=r"train_shuffled.flist: no such list"):
        main(["CelebAHQ", "--root", str(tmp_path), "--split", "lama", "--lists", str(lists)])
    (lists / "train_shuffled.flist").write_text("".join(f"{i}.jpg\n" for i in range(26)))
    (lists / "val_shuffled.flist").write_text("".join(f"/home/x/img{i:08}.png\n" for i in range(26, 30)))
    with pytest.raises(ValueError, match="lists 26 images, but not those of DeepFill's list"):
        main(["CelebAHQ", "--root", str(tmp_path), "--split", "lama", "--lists", str(lists)])


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: (root / "images/7.jpg").unlink(), "29 numbered images, CelebA-HQ has 30; missing are 7"),
        (lambda root: put(root, "copy/7.jpg"), "number 7 twice"),
        (lambda root: (root / celebahq.MAPPING).unlink(), "no such file; the split official needs it"),
        (lambda root: (root / celebahq.MAPPING).write_text("0 1 000002.jpg\n"), "maps 1 images instead of 30"),
        (lambda root: (root / "images/0.jpg").write_bytes(b""), r"images/0.jpg: the file is empty"),
        (lambda root: (root / "images/0.jpg").write_bytes(PICTURE.getvalue()[:-300]), r"images/0.jpg: Truncated"),
    ],
)
def test_a_broken_celebahq_is_told_and_nothing_is_written(tmp_path: Path, small: None, break_it, message: str):
    put(tmp_path, *(f"images/{i}.jpg" for i in range(30)))
    mapping(tmp_path)
    break_it(tmp_path)
    with pytest.raises(ValueError, match=message):
        main(["CelebAHQ", "--root", str(tmp_path)])
    assert not (tmp_path / "splits").exists()


LAYOUTS = {
    "Places2": (
        [f"data_256/a/abbey/{i:08}.jpg" for i in range(20)] + [f"val_256/Places365_val_{i:08}.jpg" for i in range(6)],
        "standard256",
        6,
    ),
    "ImageNet": (
        [f"train/n0144{i % 3}/n0144_{i}.JPEG" for i in range(20)]
        + [f"val/ILSVRC2012_val_{i:08}.JPEG" for i in range(6)],
        "ilsvrc2012",
        6,
    ),
    "ParisStreetView": (
        [f"paris_train_original/{i}.JPG" for i in range(20)] + [f"paris_eval_gt/{i:03}_im.png" for i in range(5)],
        "pathak",
        5,
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_folders_of_parts_become_lists_with_validation_held_out_of_training(tmp_path: Path, small: None, name: str):
    files, split, tested = LAYOUTS[name]
    put(tmp_path, *files)
    assert main([name, "--root", str(tmp_path), "--split", split]) == 0
    lists = read(tmp_path, split)
    assert sorted(lists["train"] + lists["val"]) == sorted(files[:20]) and len(lists["val"]) == 3
    assert lists["test"] == sorted(files[20:]) and len(lists["test"]) == tested
    assert hold_out(files[:20][::-1], 3)[1] == lists["val"]  # by their names alone, in whatever order they come
    data = getattr(datamodules, name)(tmp_path, CenterRectangle(), split=split, image_size=8)
    assert len(data.files("train")) == 17


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_part_with_too_few_images_is_counted(tmp_path: Path, small: None, name: str):
    files, split, tested = LAYOUTS[name]
    put(tmp_path, *files[1:-1])
    with pytest.raises(ValueError, match=rf"train has 16 of 17 images; test has {tested - 1} of {tested} images"):
        main([name, "--root", str(tmp_path), "--split", split])


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_wrong_root_is_told_with_what_it_holds_and_where_to_get_the_data(tmp_path: Path, small: None, name: str):
    put(tmp_path, "holiday/1.jpg")
    with pytest.raises(
        ValueError, match=r"no folder of training images .*; it holds the folders holiday\. Check --root\. \w"
    ):
        main([name, "--root", str(tmp_path), "--split", LAYOUTS[name][1]])
    with pytest.raises(ValueError, match=r"no such folder\. Give the folder that holds"):
        main([name, "--root", str(tmp_path / "nowhere"), "--split", LAYOUTS[name][1]])
    with pytest.raises(ValueError, match=f"has no split 'x'; there are {LAYOUTS[name][1]}"):
        main([name, "--root", str(tmp_path), "--split", "x"])


def test_lamas_places_images_are_taken_by_its_list(tmp_path: Path, small: None):
    put(tmp_path, *(f"data_large/a/abbey/{i:08}.jpg" for i in range(20)))
    put(tmp_path, *(f"test_large/Places365_test_{i:08}.jpg" for i in range(4)))
    (tmp_path / "test_large_30k.lst").write_text("Places365_test_00000003.jpg\nPlaces365_test_00000001.jpg\n")
    assert main(["Places2", "--root", str(tmp_path), "--split", "lama"]) == 0
    assert read(tmp_path, "lama")["test"] == [f"test_large/Places365_test_0000000{i}.jpg" for i in (3, 1)]


def test_published_counts_add_up():
    celeba = datamodules.CelebAHQ.SPLITS
    assert sum(celeba["official"].counts.values()) == sum(celeba["lama"].counts.values()) == 30_000
    assert celeba["deepfill"].counts["train"] + celeba["deepfill"].counts["val"] == 30_000
    places = datamodules.Places2.SPLITS
    assert places["standard"].counts["train"] + places["standard"].counts["val"] == 1_803_460
    assert places["challenge"].counts["train"] + places["challenge"].counts["val"] == 8_026_628
    imagenet_counts = datamodules.ImageNet.SPLITS["ilsvrc2012"].counts
    assert imagenet_counts["train"] + imagenet_counts["val"] == 1_281_167


YAMLS = sorted((Path(__file__).parents[2] / "experiments" / "configs" / "data").glob("*.yaml"))


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_every_data_yaml_yields_a_batch_at_its_published_size(tmp_path: Path, path: Path):
    put(tmp_path, *(f"images/{i}.jpg" for i in range(8)))
    for part, names in (("train", "0123"), ("val", "45"), ("test", "67")):
        (tmp_path / f"{part}.txt").write_text("".join(f"images/{i}.jpg\n" for i in names))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(datamodules.InpaintingDataModule, "data")
    config = yaml.safe_load(path.read_text())
    extra = {"batch_size": 2, "num_workers": 0}
    if config["class_path"] == "BSDS500":
        put(tmp_path, *(f"{part}/{i}.jpg" for part in ("train", "val", "test") for i in range(2)))
        extra |= {"root": str(tmp_path)}
    elif config["class_path"] not in ("SamplePhotos", "DrawnFaces"):
        extra |= {"root": str(tmp_path), "lists": str(tmp_path)}
    config["init_args"] = {**config["init_args"], **extra}
    data = parser.instantiate_classes(parser.parse_object({"data": config})).data
    batch = next(iter(data.train_dataloader()))
    assert batch.image.shape == (2, 3, data.image_size, data.image_size)
    assert 0 < batch.mask.mean() < 1 and len(data.evaluation_set("val")) > 0
    assert path.read_text().startswith("# ")


def test_published_settings_reach_the_transforms(tmp_path: Path):
    glcic = datamodules.Places2(tmp_path, CenterRectangle(), resize="shorter", shorter_side=(256, 384))
    assert (glcic.resize, glcic.shorter_side, glcic.flip) == ("shorter", (256, 384), False)
    assert (datamodules.CelebAHQ(tmp_path, CenterRectangle()).resize, datamodules.Places2.SPLITS.keys()) == (
        "direct",
        {"standard": 0, "standard256": 0, "challenge": 0, "challenge256": 0, "lama": 0}.keys(),
    )
    with pytest.raises(ValueError, match="CelebAHQ has no split 'mine'; expected one of official, deepfill, lama"):
        datamodules.CelebAHQ(tmp_path, CenterRectangle(), split="mine")
    with pytest.raises(ValueError, match=r"shorter_side is \(100, 50\)"):
        datamodules.ImageFolder(tmp_path, CenterRectangle(), image_size=50, shorter_side=(100, 50))
