"""Albumentations in ``augment``, as a YAML names them: compositions work, non-picture output is rejected."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import InpaintingDataModule
from lit_inpaint.load import instantiate


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


def data(photos: Path, *augment: dict[str, Any]) -> InpaintingDataModule:
    """From plain values, as from a YAML."""
    settings = {"root": str(photos), "mask": {"class_path": "masks.CenterRectangle"}, "image_size": 32, "batch_size": 1}
    settings |= {"num_workers": 0, "val_share": 0, "test_share": 0, "augment": list(augment)}
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
    with pytest.raises(ValueError, match=r"augment made float32 \(32, 32, 3\) of 0\.png"):
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
