"""Each image's own mask in training: by name, by place, by a list's column; from folders and archives."""

import csv
import itertools
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import albumentations as A
import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import ImageFolder
from datamodules.sampler import TrainingSampler
from masks import CenterRectangle, Inset, MaskFolder, Mixture, OwnMasks
from masks.archives import Archive
from masks.files import write_mask
from masks.generator import MaskGenerator
from tests.support.own_masks import COUNT, own_share, write_pairs
from tests.support.recording import Recorder, StopAfter


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blocks of noise whose blue is white in the hole, black elsewhere: an image shows which mask belongs to it."""
    root = tmp_path_factory.mktemp("own")
    names = write_pairs(root)
    rows = [[image, mask, "train" if number else "val", "a caption"] for number, (image, mask) in enumerate(names)]
    with (root / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "mask", "split", "caption"], *rows])
    with (
        zipfile.ZipFile(root / "all.zip", "w", zipfile.ZIP_DEFLATED) as packed,
        tarfile.open(root / "all.tar", "w") as tar,
    ):
        for path in sorted(root.rglob("*.png")):
            packed.write(path, path.relative_to(root))
            tar.add(path, path.relative_to(root))
    return root


def data(root: Path, mask: MaskGenerator, images: str = "images", **more: Any) -> ImageFolder:
    defaults = {"image_size": 32, "batch_size": 3, "num_workers": 0, "val_share": 0.1, "test_share": 0}
    return ImageFolder(root / images, mask, **(defaults | more))


def by_name(root: Path) -> MaskFolder:
    return MaskFolder(str(root / "masks"), pairing="name")


LIST = {"images": ".", "lists": "list.csv"}


@pytest.mark.parametrize(
    ("law", "more"),
    [
        ("name", {}),
        ("order", {"val_share": 0.0}),
        ("list", {}),
        ("name", {"resize": "none"}),
        ("name", {"resize": "direct"}),
        ("name", {"shorter_side": (40, 60)}),
        ("list", {"augment": [A.VerticalFlip(p=1), A.RandomRotate90(p=1)], "augment_after_crop": [A.Transpose(p=0.5)]}),
    ],
)
def test_sample_i_has_mask_i_under_crops_flips_and_sizes(root: Path, law: str, more: dict[str, Any]):
    """advimman/lama#119, JiahuiYu/generative_inpainting#275, #413 and #120: each image has a predefined mask."""
    if law == "list":
        made = data(root, OwnMasks(), ".", lists=root / "list.csv", **more)
    else:
        made = data(root, MaskFolder(str(root / "masks"), pairing=law), **more)  # type: ignore[arg-type]
    samples = made.training_set()
    shown = [samples[epoch, index] for epoch in range(3) for index in range(len(samples))]
    assert min(map(own_share, shown)) > 0.97 and all(sample.mask.any() for sample in shown)
    other = [own_share(a._replace(mask=b.mask)) for a, b in itertools.pairwise(shown)]
    assert np.mean(other) < 0.8  # another's mask would show
    if law != "order":
        validated = made.evaluation_set("val")[0]
        assert own_share(validated) > 0.97


def test_own_and_drawn_masks_take_turns_by_weight_and_drawn_samples_stay_as_they_were(root: Path):
    both, law = Mixture((by_name(root), CenterRectangle()), (1, 3)), CenterRectangle()
    mixed = data(root, both).training_set()
    drawn = data(root, law).training_set()
    keys = [(epoch, index) for epoch in range(20) for index in range(len(mixed))]
    own = 0
    for key in keys:
        one, other = mixed[key], drawn[key]
        assert one.name == other.name
        if torch.equal(one.mask, other.mask):
            assert torch.equal(one.image, other.image)
        else:
            own += 1
            assert own_share(one) > 0.97
    assert 0.15 < own / len(keys) < 0.35


def recorded(root: Path, workers: int, stop: L.Callback | None = None, **more: Any) -> Recorder:
    made = data(root, OwnMasks(), "all.zip", lists=root / "list.csv", num_workers=workers, seed=3)
    module = Recorder()
    trainer = L.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, callbacks=[stop] if stop else [],
    )  # fmt: skip
    try:
        trainer.fit(module, made, **more)
    except InterruptedError:
        assert stop
    return module


def test_workers_ranks_and_a_resume_see_the_same_pairs_bit_for_bit(root: Path, tmp_path: Path):
    whole = recorded(root, 0)
    assert recorded(root, 2).seen == whole.seen and len(whole.seen) == 4
    path = tmp_path / "stopped.ckpt"
    first = recorded(root, 2, StopAfter(path, "on_train_batch_end", 0, 0))
    rest = recorded(root, 2, ckpt_path=path)
    assert first.seen + rest.seen == whole.seen and len(first.seen) == 1
    samples = data(root, OwnMasks(), "all.zip", lists=root / "list.csv", seed=3).training_set()
    alone = [samples[key] for key in TrainingSampler(len(samples), 6, 3)]
    halves = [[samples[key] for key in TrainingSampler(len(samples), 3, 3, rank, 2)] for rank in (0, 1)]
    for one, two in zip(alone, (s for pair in zip(*halves, strict=True) for s in pair), strict=True):
        assert one.name == two.name and torch.equal(one.image, two.image) and torch.equal(one.mask, two.mask)


@pytest.mark.parametrize("archive", ["all.zip", "all.tar"])
def test_an_archive_gives_the_samples_of_its_folder(root: Path, archive: str):
    """pytorch/vision#947 and #3519: one file on a network disk, read in place by any number of processes."""
    folder = data(root, OwnMasks(), ".", lists=root / "list.csv").training_set()
    packed = data(root, OwnMasks(), archive, lists=root / "list.csv").training_set()
    for index in range(len(folder)):
        one, other = folder[1, index], packed[1, index]
        assert one.name == other.name and torch.equal(one.image, other.image) and torch.equal(one.mask, other.mask)
    masks = MaskFolder(str(root / archive), pairing="draw")  # files of both kinds: sorted, the images first
    assert [name for name in masks.files if name.startswith("masks/")] == [f"masks/{i:02}.png" for i in range(COUNT)]
    assert (masks.read("masks/01.png") == MaskFolder(str(root)).read("masks/01.png")).all()
    found = data(root, CenterRectangle(), archive, val_share=0.3)
    found.setup("fit")
    assert len(found.files("train")) + len(found.files("val")) == COUNT
    assert found.summary()["kinds"] == {"RGB, 8 bits": COUNT} and not found.summary()["unreadable"]


def test_what_is_damaged_in_an_archive_is_named(root: Path, tmp_path: Path):
    content = bytearray((root / "all.zip").read_bytes())
    with zipfile.ZipFile(root / "all.zip") as packed:
        entry = packed.getinfo("images/03.png")
    content[entry.header_offset + 30 + len(entry.filename) + entry.compress_size // 2] ^= 0x10
    (tmp_path / "bad.zip").write_bytes(content)
    samples = data(tmp_path, CenterRectangle(), "bad.zip", val_share=0.0).training_set()
    number = samples.files.names().index("images/03.png")
    with pytest.raises(ValueError, match=r"bad\.zip/images/03\.png: damaged"):
        samples[0, number]
    (tmp_path / "half.zip").write_bytes(content[: len(content) // 2])
    (tmp_path / "not.tar").write_bytes(b"hello")
    for name in ("half.zip", "not.tar"):
        with pytest.raises(ValueError, match=rf"{name}: cannot be read in place"):
            data(tmp_path, CenterRectangle(), name).files("train")
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as tar:
        tar.add(root / "images/00.png", "00.png")
    with pytest.raises(ValueError, match=r"packed\.tar.*not compressed"):
        Archive(tmp_path / "packed.tar")


def test_what_does_not_pair_is_named(root: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"no mask for 7 of 7 images, the first is 'images/00\.png'"):
        data(root, MaskFolder(str(root / "masks"), pairing="name"), ".", lists=listed(root, tmp_path)).training_set()
    with pytest.raises(ValueError, match="OwnMasks takes the mask that the data set names"):
        data(root, OwnMasks()).training_set()
    with pytest.raises(ValueError, match=r"would move\. Use it directly, or in a Mixture"):
        data(root, Inset(by_name(root))).training_set()[0, 0]
    with pytest.raises(ValueError, match="gives each image of a data set its own mask, and draws none"):
        by_name(root)(8, 8, np.random.default_rng(0))


def listed(root: Path, folder: Path) -> Path:
    path = folder / "images.csv"
    path.write_text("image\n" + "\n".join(f"images/{i:02}.png" for i in range(COUNT)))
    with path.open("a") as file:
        file.write("\n")
    return path


def test_a_mask_that_cannot_be_used_stops_the_run_or_is_skipped(root: Path, tmp_path: Path):
    wrong = tmp_path / "masks"
    wrong.mkdir()
    for number in range(COUNT):
        mask = np.asarray(Image.open(root / f"masks/{number:02}.png"))
        mask = {2: np.zeros_like(mask), 3: mask[:40]}.get(number, mask)  # without a hole; of another shape
        write_mask(mask, wrong / f"{number:02}.png")
    law = MaskFolder(str(wrong), pairing="name")
    samples = data(root, law, val_share=0).training_set()
    for number, said in ((2, r"02\.png: every pixel is known"), (3, r"03\.png is 80x40, its image .*80x64")):
        with pytest.raises(ValueError, match=f"{said}.*set on_bad_image to skip"):
            samples[0, number]
    made = data(root, law, val_share=0, on_bad_image="skip")
    with pytest.warns(UserWarning, match="Skipped: replaced by the next image"):
        sample = made.training_set()[0, 2]
    assert sample.name == "04.png" and own_share(sample) > 0.97 and made.bad_images() == ["02.png", "03.png"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "images/00.png,masks/00.png\n", "its first line is 'images/00.png,masks/00.png'; expected a header"),
        ("a.csv", "image,mask\nimages/00.png,\n", r"a\.csv, line 2: no mask"),
        ("a.csv", "image,split\nimages/00.png,training\n", "line 2: split is 'training'; expected train, val, test"),
        ("a.csv", "image,split\nimages/00.png,val\n", "no line whose split is train"),
        ("a.csv", "image,split\nimages/99.png,train\nimages/01.png,train\n", r"images/99\.png, which is not below"),
        ("a.csv", "image,mask,split\nimages/01.png,masks/99.png,train\n", r"masks/99\.png, which is not below"),
        ("a.csv", "image\n../outside.png\n", "which lies outside"),
        ("a.csv", "image\n", "a header without lines"),
    ],
)
def test_a_wrong_list_is_named_with_its_line(root: Path, tmp_path: Path, name: str, text: str, said: str):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        data(root, CenterRectangle(), ".", lists=tmp_path / name, test_share=0.3, val_share=0.3).files("train")


def test_lists_as_programs_write_them(root: Path, tmp_path: Path):
    names = [(f"images/{i:02}.png", f"masks/{i:02}.png") for i in range(COUNT)]
    tsv = "\n".join(["Image\tMask", *map("\t".join, names)])
    (tmp_path / "a.tsv").write_text(tsv, encoding="utf-16")  # as a spreadsheet exports it
    semicolons = "\r\n".join(["mask;image", *(f'"{mask}";{image}' for image, mask in names)]).replace("/", "\\")
    (tmp_path / "b.csv").write_text(f"{semicolons}\r\n", encoding="utf-8-sig")
    sets = [data(root, OwnMasks(), ".", lists=tmp_path / name) for name in ("a.tsv", "b.csv")]
    parts = [{split: one.files(split).names() for split in ("train", "val")} for one in sets]
    assert parts[0] == parts[1] and len(parts[0]["train"]) == COUNT - 1 and len(parts[0]["val"]) == 1
    assert min(own_share(one.training_set()[0, i]) for one in sets for i in range(COUNT - 1)) > 0.97


def test_one_image_may_be_trained_with_several_masks(root: Path, tmp_path: Path):
    rows = [f"images/00.png,masks/{i:02}.png,train" for i in (0, 1)] + ["images/02.png,masks/02.png,val"] * 2
    (tmp_path / "a.csv").write_text("\n".join(["image,mask,split", *rows]))
    made = data(root, OwnMasks(), ".", lists=tmp_path / "a.csv")
    shares = [own_share(made.training_set()[0, i]) for i in (0, 1)]
    assert shares[0] > 0.97 > 0.8 > shares[1]
    with pytest.raises(ValueError, match=r"names images/02\.png several times for val"):
        made.files("val")
