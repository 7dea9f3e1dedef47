"""The summary of a data set reports skipped files, dark files and images in two splits."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules import DrawnFaces, ImageFolder, SamplePhotos
from datamodules import summary as module
from datamodules.files import Files
from datamodules.summary import lines, summarise
from experiments.cli import main
from experiments.evaluate import benchmark
from masks import CenterRectangle


def picture(path: Path, seed: int = 0, scale: float = 1.0, dtype: Any = np.uint8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    full = np.iinfo(dtype).max
    grey = np.random.default_rng(seed).integers(0, full + 1, (40, 40)).astype(float)
    grey[0, :2] = 0, full
    Image.fromarray((grey * scale).astype(dtype)).save(path)


def folder(root: Path, **given: Any) -> ImageFolder:
    return ImageFolder(root, CenterRectangle(), image_size=32, batch_size=1, num_workers=0, **given)


def test_files_that_are_left_out_are_counted_by_suffix(tmp_path: Path):
    for i in range(6):
        picture(tmp_path / "in" / f"{i}.png", i)
        (tmp_path / "in" / f"{i}.HEIC").write_bytes(b"ftypheic")
        (tmp_path / "in" / f"{i:08}").write_bytes(b"x")
    picture(tmp_path / "in/.hidden.png")
    found = folder(tmp_path / "in").summary()
    assert found["images"] == {"train": 4, "val": 1, "test": 1}
    assert found["left_out"] == {".heic": 6, "without suffix": 6} and found["kinds"] == {"L, 8 bits": 6}
    assert "data: files skipped: 6 .heic, 6 without suffix" in lines(found)
    for split in ("train", "val", "test"):
        shutil.copytree(tmp_path / "in", tmp_path / "parts" / split)
    assert folder(tmp_path / "parts").summary()["left_out"][".heic"] == 6


def test_dark_files_are_said_with_the_setting_that_scales_them(tmp_path: Path):
    for i in range(3):
        picture(tmp_path / "twelve" / f"{i}.png", i, 4095 / 65535, np.uint16)
        picture(tmp_path / "full" / f"{i}.png", i, 1, np.uint16)
        picture(tmp_path / "labels" / f"{i}.png", i, 3 / 255)
    said = {name: lines(folder(tmp_path / name).summary()) for name in ("twelve", "full", "labels")}
    assert "values 0 to 4,095 of 65,535" in said["twelve"][0] and "16 bits" in said["twelve"][0]
    assert "4,095 of 65,535 (12 bits)" in said["twelve"][1] and "Set white_level to 4095" in said["twelve"][1]
    assert len(said["full"]) == 1 and "0 to 65,535 of 65,535" in said["full"][0]
    assert "3 of 255" in said["labels"][1] and "white_level" not in said["labels"][1]
    scaled = lines(folder(tmp_path / "twelve", white_level=4095).summary())
    assert len(scaled) == 1 and "0 to 4,095 of 4,095" in scaled[0]


def test_masks_that_would_be_trained_on_are_told(tmp_path: Path):
    for i in range(6):
        picture(tmp_path / "photos" / f"{i}.png", i)
        shutil.copytree(tmp_path / "photos", tmp_path / "both", dirs_exist_ok=True)
        hole = np.zeros((40, 40), np.uint8)
        hole[5 : 10 + i, 9:30] = 255
        for place, kind in (("both/holes", "L"), ("both/one_bit", "1"), ("both/masks", "RGB")):
            (tmp_path / place).mkdir(exist_ok=True)
            Image.fromarray(hole).convert(kind).save(tmp_path / place / f"{i}.png")
    with Image.open(tmp_path / "photos/0.png") as image:
        image.point(lambda value: 255 * (value > 127)).save(tmp_path / "photos/scan.png")
    photos, both = (folder(tmp_path / name).summary() for name in ("photos", "both"))
    assert "1 of 7 files are black and white" in lines(photos)[-1]  # rightly: one would want to know
    assert sum(both["images"].values()) == 18 and both["left_out"] == {"masks": 6}
    (said,) = [line for line in lines(both) if "as masks are" in line]
    assert str(tmp_path / "both/holes") in said
    assert {Path(path).parent.name for path in both["like_masks"]} == {"holes", "one_bit"}


def test_images_that_are_trained_on_and_evaluated_are_named_by_content_or_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for i in range(4):
        picture(tmp_path / "a/train" / f"{i}.png", i)
        picture(tmp_path / "a/val" / f"{i}.png", 10 + i)  # other pictures of the same names in another folder
    shutil.copytree(tmp_path / "a/val", tmp_path / "a/test")
    shutil.copy(tmp_path / "a/train/2.png", tmp_path / "a/test/copy.png")
    found = folder(tmp_path / "a").summary()
    assert found["also_trained_on"]["test"] == {"compared": "by content", "count": 1, "names": ["test/copy.png"]}
    assert found["also_trained_on"]["val"]["count"] == 0
    assert "data: 1 test images are also trained on (by content): test/copy.png" in lines(found)
    train, test = (
        Files(tmp_path / "a", names) for names in (["train/1.png", "train/2.png"], ["test/copy.png", "train/1.png"])
    )
    assert module.shared(train, test)["names"] == ["train/1.png", "test/copy.png"]
    for limit in ("COMPARED", "HASHED"):
        with monkeypatch.context() as few:
            few.setattr(module, limit, 1)
            assert module.shared(train, test) == {"compared": "by path", "count": 1, "names": ["train/1.png"]}


@pytest.mark.parametrize("archive", ["a.zip", "a.tar"])
def test_images_of_an_archive_that_are_trained_on_under_another_name_are_found(tmp_path: Path, archive: str):
    for i in range(4):
        picture(tmp_path / "a/train" / f"{i}.png", i)
        picture(tmp_path / "a/val" / f"{i}.png", 10 + i)
    shutil.copy(tmp_path / "a/train/2.png", tmp_path / "a/val/copy.png")
    shutil.make_archive(str(tmp_path / "a"), archive[2:], tmp_path / "a")
    found = [folder(tmp_path / name).summary()["also_trained_on"] for name in ("a", archive)]
    assert found[0] == found[1] == {"val": {"compared": "by content", "count": 1, "names": ["val/copy.png"]}}


def test_a_large_set_is_sampled_and_the_sample_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "HEADERS", 5)
    for i in range(20):
        picture(tmp_path / f"{i:02}.png", i)
    found = summarise({"evaluated": Files(tmp_path, [f"{i:02}.png" for i in range(20)])}, 12)
    assert found["images"] == {"evaluated": 12} and found["looked_at"] == 5
    assert lines(found)[0].startswith("data: 12 evaluated images; L, 8 bits (a sample of 5); ")


def test_damaged_files_are_counted_and_the_first_is_named(tmp_path: Path):
    names = ["a.png", "b.png", "c.png", "gone.png"]
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "c.png").write_bytes(b"")
    found = summarise({"evaluated": Files(tmp_path, names)})
    assert len(found["unreadable"]) == 3 and "b.png" in found["unreadable"][0]
    assert any("3 of 4 files cannot be read; the first:" in line and "b.png" in line for line in lines(found))


def test_photographs_of_packages_and_drawn_faces_have_a_summary_too():
    photos = SamplePhotos(CenterRectangle()).summary()
    assert photos["images"] == {"train": 8, "val": 2, "test": 3} and not photos["unreadable"]
    faces = DrawnFaces(CenterRectangle(), train=5, val=2, test=2).summary()
    assert faces["kinds"] == {"RGB, 8 bits": 9} and faces["also_trained_on"]["test"]["count"] == 0


def test_it_stands_in_run_json_and_in_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, caplog: Any
):
    monkeypatch.chdir(tmp_path)
    for i in range(6):
        picture(Path("in") / f"{i}.png", i)
    Path("in/a.heic").write_bytes(b"x")
    fit = (
        "fit --model DeepFillV2 --model.init_args.width 4 --model.init_args.discriminator_width 4 --data ImageFolder "
        "--data.init_args.root in --data.init_args.mask CenterRectangle --data.init_args.image_size 32 "
        "--data.init_args.batch_size 2 --data.init_args.num_workers 0 --trainer.accelerator cpu --trainer.max_steps 1 "
        "--trainer.default_root_dir r --trainer.limit_val_batches 0 --trainer.logger false"
    )
    with pytest.raises(SystemExit):
        main(fit.split())
    assert caplog.text.count("data: 4 train, 1 val, 1 test images; L, 8 bits; values 0 to 255 of 255") == 1
    assert json.loads(Path("r/run.json").read_text())["data"]["left_out"] == {".heic": 1}
    Path("own.yaml").write_text("{name: own, size: 32, metrics: [psnr], mask: {class_path: masks.CenterRectangle}}")
    assert benchmark.main(["own.yaml", "--images", "in", "--methods", "Telea", "--out", "out"]) == 0
    assert "data: files skipped: 1 .heic" in capsys.readouterr().out
    (record,) = Path("out/records").rglob("*.json")
    assert json.loads(record.read_text())["protocol"]["data"]["left_out"] == {".heic": 1}
