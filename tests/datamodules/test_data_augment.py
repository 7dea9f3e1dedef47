"""Albumentations in ``augment``, as a YAML names them: compositions work, non-picture output is rejected."""

import hashlib
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from datamodules import ImageFolder, InpaintingDataModule
from experiments.files.find import INSTALLED
from lit_inpaint.load import instantiate
from masks import CenterRectangle


def name(transform: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": f"albumentations.{transform}", "init_args": arguments}


def of(composition: str, *transforms: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    return name(composition, transforms=list(transforms), **arguments)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (48, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    return tmp_path


def data(photos: Path, *augment: dict[str, Any], **more: Any) -> InpaintingDataModule:
    """From plain values, as from a YAML."""
    settings = {"root": str(photos), "mask": {"class_path": "masks.CenterRectangle"}, "image_size": 32, "batch_size": 1}
    settings |= {"num_workers": 0, "val_share": 0, "test_share": 0, **more}
    settings |= {"augment": list(augment)} if augment else {}  # absent from a YAML that does not use it
    return instantiate(InpaintingDataModule, {"class_path": "ImageFolder", "init_args": settings})


BLUR, INVERT = name("Blur", p=1), name("InvertImg", p=1)
WORK = {
    "OneOf": of("OneOf", BLUR, INVERT, p=1),
    "SomeOf": of("SomeOf", BLUR, INVERT, n=1, p=1),
    "RandomOrder": of("RandomOrder", BLUR, INVERT, n=2, p=1),
    "Sequential": of("Sequential", BLUR, INVERT, p=1),
    "OneOrOther": name("OneOrOther", first=BLUR, second=INVERT, p=0.5),
    "Compose": of("Compose", BLUR, INVERT),
    "nested": of("Sequential", of("OneOf", BLUR, of("SomeOf", INVERT, BLUR, n=2)), name("HueSaturationValue"), p=1),
    "to float and back": of("Sequential", name("ToFloat", p=1), name("FromFloat", p=1), p=1),
}


@pytest.mark.parametrize("what", WORK)
def test_a_composition_works_and_draws_by_the_samples_key_alone(photos: Path, what: str):
    augmented = data(photos, WORK[what])
    augmented.setup("fit")
    samples = [augmented.training_set()[(0, i)].image for i in (0, 1, 0)]
    assert torch.equal(samples[0], samples[2]) and samples[0].shape == (3, 32, 32)
    changed = any(not torch.equal(augmented.training_set()[(e, 0)].image, data(photos).training_set()[(e, 0)].image)
                  for e in range(8))  # fmt: skip
    assert changed or what == "to float and back"


def test_float_in_one_item_and_back_in_the_next_is_allowed(photos: Path):
    data(photos, name("ToFloat", p=1), name("FromFloat", p=1)).setup("fit")


def test_what_no_draw_of_the_check_showed_is_named_in_training(photos: Path):
    rare = data(photos, of("OneOf", name("Normalize", p=1e-9), INVERT, p=1))
    rare.setup("fit")
    rare.training_set().transform.compose.transforms[1].transforms_ps = [1.0, 0.0]
    with pytest.raises(ValueError, match=r"augment or augment_after_crop made float32 \(32, 32, 3\) of 0\.png"):
        rare.training_set()[(0, 0)]


@pytest.mark.parametrize(
    "what, augment",
    [
        ("Normalize makes float32", name("Normalize")),
        ("Normalize makes float32", name("Normalize", p=0.001)),
        ("OneOf makes float32", of("OneOf", name("Normalize"), INVERT, p=0.001)),
        ("Sequential makes float32", of("Sequential", BLUR, name("ToFloat", p=0.01), p=0.01)),
        ("ToTensorV2 makes torch.uint8", name("pytorch.ToTensorV2")),
        ("RandomCrop fails on an image of 32x38", name("RandomCrop", height=500, width=500)),
    ],
)
def test_what_is_no_picture_afterwards_is_refused_before_training_however_rare_it_is(
    photos: Path, what: str, augment: dict[str, Any]
):
    with pytest.raises(ValueError, match=f"^augment: {what}"):
        data(photos, augment, BLUR).setup("fit")


# ---- after the crop --------------------------------------------------------------------------------------------------


def pixels(data: InpaintingDataModule, epoch: int, index: int) -> np.ndarray:
    """A training sample in 8 bits."""
    image = data.training_set()[(epoch, index)].image
    return ((image + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()


KEYS = [(epoch, index) for epoch in range(4) for index in range(2)]


def test_what_comes_after_the_crop_sees_the_crop_alone_and_moves_no_other_draw(photos: Path):
    """CLAHE of LaMa's program equalises tiles of the 256 crop; on the whole photograph it gives another picture."""
    clahe = name("CLAHE", clip_limit=[4, 4], p=1)
    plain, after, before = data(photos), data(photos, augment_after_crop=[clahe]), data(photos, clahe)
    for key in KEYS:
        expected = A.CLAHE(clip_limit=(4, 4), p=1)(image=pixels(plain, *key))["image"]
        np.testing.assert_array_equal(pixels(after, *key), expected)
    assert any((pixels(before, *key) != pixels(after, *key)).any() for key in KEYS)


def test_it_comes_after_the_flip_too(photos: Path):
    """As in LaMa's list: crop, flip, then CLAHE, brightness and hue."""
    after = data(photos, augment_after_crop=[name("CLAHE"), name("GaussNoise", p=1)])
    kinds = [type(step).__name__ for step in after.training_set().transform.compose.transforms]
    assert kinds == ["ShorterSide", "RandomCrop", "HorizontalFlip", "CLAHE", "GaussNoise"]
    assert (pixels(after, 0, 0) == pixels(after, 0, 0)).all() and (pixels(after, 0, 0) != pixels(after, 1, 0)).any()


@pytest.mark.parametrize(
    "what, augment",
    [
        ("Normalize makes float32", name("Normalize", p=0.001)),
        ("the crop of 32x32 becomes 16x32; expected the same size", name("RandomCrop", height=32, width=16, p=0.001)),
    ],
)
def test_what_does_not_belong_after_the_crop_is_refused_before_training(
    photos: Path, what: str, augment: dict[str, Any]
):
    with pytest.raises(ValueError, match=f"^augment_after_crop: {what}"):
        data(photos, augment_after_crop=[augment]).setup("fit")


def test_samples_that_use_none_of_it_keep_their_bits(photos: Path):
    """SHA-256 of eight samples of version 0.1.0, cropped and mirrored from the file as it is."""
    samples = data(photos, resize="none")
    digest = hashlib.sha256(b"".join(pixels(samples, *key).tobytes() for key in KEYS)).hexdigest()
    assert digest == "8ebdb06ae2db7262b449f4b19b12bfa9190677b79ecc618c99cc232be7509617"


def test_the_crop_may_be_the_centre_one_and_is_then_the_same_every_time(photos: Path):
    samples = data(photos, crop="center", flip=False)
    found = [pixels(samples, epoch, 0) for epoch in range(4)]
    assert all((one == found[0]).all() for one in found) and found[0].shape == (32, 32, 3)
    exact = data(photos, crop="center", flip=False, resize="none")
    with Image.open(photos / exact.files("train").names()[0]) as image:
        np.testing.assert_array_equal(pixels(exact, 0, 0), np.asarray(image)[8:40, 4:36])
    with pytest.raises(ValueError, match="crop is 'middle'; expected random or center"):
        ImageFolder(photos, CenterRectangle(), crop="middle")  # type: ignore[arg-type]


# ---- published augmentations -----------------------------------------------------------------------------------------

AUGMENTED = {
    str(path.relative_to(INSTALLED)): settings
    for path in sorted(INSTALLED.rglob("*.yaml"))
    for settings in [yaml.safe_load(path.read_text(encoding="utf-8"))]
    for settings in [settings.get("data", settings)]
    if isinstance(settings, dict) and {"augment", "augment_after_crop"} & set(settings.get("init_args", {}))
}


@pytest.mark.parametrize("path", AUGMENTED)
def test_no_published_augmentation_paints_a_rim(tmp_path: Path, path: str):
    """A picture of one colour stays one: LaMa's program replicates or mirrors what lies beyond the border. With
    albumentations' default, black, up to 1.3 % of a sample's pixels were (300 crops of 680x512)."""
    Image.new("RGB", (340, 280), (200, 180, 160)).save(tmp_path / "one.png")
    given = {key: AUGMENTED[path]["init_args"][key] for key in ("augment", "augment_after_crop", "flip", "image_size")
             if key in AUGMENTED[path]["init_args"]}  # fmt: skip
    samples = data(tmp_path, **{"image_size": 256, "resize": "none", **given})
    samples.setup("fit")
    spread = [np.ptp(pixels(samples, epoch, 0), axis=(0, 1)).max() for epoch in range(40)]
    assert max(spread) <= 1


@pytest.mark.parametrize("path", ["data/places2_lama.yaml", "lama/places2.yaml", "lama/big_places2.yaml"])
def test_lamas_augmentation_has_its_programs_order(path: str):
    """get_transforms("distortions") in saicinpainting/training/data/datasets.py."""
    given = AUGMENTED[path]["init_args"]
    before = [step["class_path"].rpartition(".")[2] for step in given["augment"]]
    after = [step["class_path"].rpartition(".")[2] for step in given["augment_after_crop"]]
    assert before == ["Perspective", "Affine", "OpticalDistortion"]
    assert after == ["CLAHE", "RandomBrightnessContrast", "HueSaturationValue"]
