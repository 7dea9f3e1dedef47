"""Samples of any height and width: JiahuiYu/generative_inpainting trains on squares alone, jingyuanli001/RFR-Inpainting
#10 asks for 128x256, Janspiry/Image-Super-Resolution-via-Iterative-Refinement #8 for 200x150, dslisleedh/PLKSR #8 for
1024x288, vickyFox/Region-wise-Inpainting #3 for photographs that are not square."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import masks
from datamodules import BSDS500, DrawnFaces, EvaluationSet, ImageFolder, SamplePhotos
from datamodules.files import Files
from datamodules.transforms import Resize, resize
from experiments.evaluate.protocol import protocol_hash
from masks import CenterRectangle, LaMaThin, MaskFolder, SquareCrop, Wide
from masks.convention import from_levels
from masks.files import write_mask
from masks.generator import MaskGenerator, keyed_rng
from masks.size import Size, square_or_pair

SHAPES = ((48, 80), (80, 48))
# Before a size could be a pair: hashes of the protocol, of the settings and of three training samples, by ``resize``.
BEFORE = {
    "shorter": ("a9393456ee061692", "c162ee9b8d01e90d", "d23d74d5d703ba09"),
    "direct": ("c98d7a7b5d1c6034", "30937b6515ab692a", "56b4600cf5180320"),
    "none": ("349db67cb17bfdf8", "3af9f4daf9eca2c0", "c855d3fbd8f1880d"),
}


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


@pytest.mark.parametrize("size", [64, (64, 64), [64, 64]], ids=str)
@pytest.mark.parametrize("how", BEFORE)
def test_a_square_keeps_its_hashes_and_samples_however_it_is_written(how: Resize, size: Size):
    data = SamplePhotos(mask=Wide(), image_size=size, resize=how, num_workers=0, shorter_side=(64, 80), seed=3)
    samples = [data.training_set()[key] for key in ((0, 0), (0, 5), (2, 7))]
    bits = b"".join(part.numpy().tobytes() for sample in samples for part in sample[:2])
    settings = json.dumps(data._description(), sort_keys=True).encode()
    assert (protocol_hash(data, "val", ["psnr"])[0][:16], sha(settings), sha(bits)) == BEFORE[how]


def test_other_squares_keep_their_hashes():
    crop = SamplePhotos(mask=SquareCrop(LaMaThin(cap=1)), image_size=64)
    faces = DrawnFaces(mask=Wide(), image_size=32, val=3, test=3, train=3)
    found = [protocol_hash(data, "val", ["psnr"])[0][:16] for data in (crop, faces)]
    assert found == ["62ee918c3eb90974", "7f484bcb2cedfedb"]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("how", ["shorter", "direct", "none"])
def test_training_and_evaluation_have_the_height_and_width_that_are_asked_for(how: Resize, shape: tuple[int, int]):
    data = SamplePhotos(mask=Wide(), image_size=shape, resize=how, num_workers=0, batch_size=2)
    data.setup("fit")
    for image, mask, _ in (*(data.training_set()[0, i] for i in range(9)), data.evaluation_set("test")[1]):
        assert image.shape == (3, *shape) and mask.shape == (1, *shape)
    height_first, swapped = (protocol_hash(SamplePhotos(mask=Wide(), image_size=size, resize=how), "val", ["psnr"])[1]
                             for size in (shape, shape[::-1]))  # fmt: skip
    assert height_first["size"] == list(shape) and height_first != swapped
    assert data.hparams["data"]["image_size"] == list(shape)  # plain: a checkpoint loads with weights_only


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture of 100x120 whose red is its row, and whose green is its column."""
    rows, columns = np.mgrid[:100, :120]
    pixels = np.stack([rows, columns, 0 * rows], -1).astype(np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(tmp_path / "photos" / "a.png")
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("shape", "how", "enlarged", "first"),
    [
        ((48, 80), "shorter", (67, 80), (9, 0)),  # the width decides: 80 of 120
        ((80, 48), "shorter", (80, 96), (0, 24)),
        ((48, 80), "none", (100, 120), (26, 20)),
        ((50, 240), "none", (200, 240), (75, 0)),  # too narrow: enlarged until it fits
        ((160, 60), "none", (160, 192), (0, 66)),
        ((48, 80), "direct", (48, 80), (0, 0)),
    ],
)
def test_the_smallest_picture_that_covers_the_sample_is_cropped_at_its_centre(
    photo: Path, shape: tuple[int, int], how: Resize, enlarged: tuple[int, int], first: tuple[int, int]
):
    files = Files(photo, ["a.png"])
    found = EvaluationSet(files, CenterRectangle(), shape, how)[0].image
    whole = resize(files.read(0), *enlarged)
    window = whole[first[0] : first[0] + shape[0], first[1] : first[1] + shape[1]]
    assert torch.equal(found, torch.from_numpy(from_levels(window.astype(np.float32))).permute(2, 0, 1))


def test_a_drawn_shorter_side_keeps_the_proportions_and_covers_the_sample(photo: Path):
    data = ImageFolder(photo, Wide(), image_size=(48, 80), shorter_side=(48, 96), flip=False, val_share=0, test_share=0)
    found = data.training_set()
    steps = {round(float(found[0, i].image[1].diff(dim=1).mean()) * 127.5, 2) for i in range(12)}
    # Green grows by 119 over the width: by 1.5 a column where 80 show all of it, by 0.75 where 160 do.
    assert 0.7 < min(steps) < 1 < max(steps) < 1.55
    with pytest.raises(ValueError, match=r"shorter_side is \(40, 60\); expected the shorter of image_size \(48\)"):
        ImageFolder(photo, Wide(), image_size=(48, 80), shorter_side=(40, 60))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_other_data_sets_crop_what_they_draw_or_shrink(shape: tuple[int, int], tmp_path: Path):
    faces = DrawnFaces(mask=Wide(), image_size=shape, train=2, val=2, test=2, num_workers=0)
    square = DrawnFaces(mask=Wide(), image_size=80, train=2, val=2, test=2).evaluation_set("test")[1].image
    top, left = (80 - shape[0]) // 2, (80 - shape[1]) // 2
    found = faces.evaluation_set("test")[1].image
    assert torch.equal(found, square[:, top : top + shape[0], left : left + shape[1]])
    assert faces.training_set()[0, 0].image.shape == (3, *shape)
    BSDS500(tmp_path, Wide(), shrink=4, image_size=shape)
    with pytest.raises(ValueError, match=rf"expected 1 to 4 for crops of {shape[0]}x{shape[1]} \(height x width\) px"):
        BSDS500(tmp_path, Wide(), shrink=5, image_size=shape)


LAWS = [getattr(masks, name) for name in masks.__all__ if name not in ("MaskFolder", "OwnMasks")]
NESTED = {"AreaBounded": (Wide(),), "Augmented": (Wide(),), "Inset": (CenterRectangle(),), "SquareCrop": (Wide(),)}


def made(law: type[MaskGenerator]) -> MaskGenerator:
    if law.__name__ == "Mixture":
        return law((Wide(), CenterRectangle()))  # type: ignore[call-arg]
    bounds = (0.0, 0.9) if law.__name__ == "AreaBounded" else ()
    return law(*NESTED.get(law.__name__, ()), *bounds)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_every_law_draws_within_both_shapes(law: type[MaskGenerator]):
    for shape in SHAPES:
        drawn = [made(law)(*shape, keyed_rng(0, "shapes", number)) for number in range(6)]
        assert all(mask.shape == shape and mask.dtype == np.uint8 and mask.max() <= 1 for mask in drawn)
        # No law leaves the far part of the longer side untouched, which is what a square in the corner would do.
        reached = np.maximum.reduce([made(law)(*shape, keyed_rng(1, "shapes", number)) for number in range(60)])
        assert reached[24:56].any() if shape[0] == 80 else reached[:, 24:56].any()
        assert np.take(reached, range(50, 80), int(shape[1] == 80)).any(), law


def test_laws_with_sides_of_their_own_know_height_from_width():
    rng = np.random.default_rng(0)
    rows = CenterRectangle(height=0.5, width=0.25)(48, 80, rng)
    assert (rows.any(1).sum(), rows.any(0).sum()) == (24, 20)
    half, lines = masks.Half()(80, 48, rng), masks.AlternatingLines()(80, 48, rng)
    assert half[:, 24:].all() and not half[:, :24].any() and (lines.all(1).sum(), lines.all(0).sum()) == (40, 0)
    kept = 1 - masks.Expand()(48, 80, rng)
    assert (kept.any(1).sum(), kept.any(0).sum()) == (12, 20)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("how", ["shorter", "direct", "none"])
def test_an_images_own_mask_is_cropped_and_flipped_with_it(tmp_path: Path, how: Resize, shape: tuple[int, int]):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(4):  # blocks of 10 px, so that enlarging by whole numbers moves no border
        blocks = np.random.default_rng(number).random((8, 8)) < 0.4
        hole = blocks.repeat(10, 0).repeat(10, 1)
        Image.fromarray((hole[..., None] * np.uint8(255)).repeat(3, 2)).save(tmp_path / f"images/{number}.png")
        write_mask(hole, tmp_path / f"masks/{number}.png")
    law = MaskFolder(str(tmp_path / "masks"), pairing="name")
    data = ImageFolder(tmp_path / "images", law, image_size=shape, resize=how, val_share=0.25, test_share=0)
    samples = [data.training_set()[epoch, i] for epoch in range(3) for i in range(3)]
    for image, mask, _ in (*samples, data.evaluation_set("val")[0]):
        same = ((image[0] > 0) == (mask[0] == 1)).float().mean()
        assert mask.shape == (1, *shape) and same > (0.93 if how == "direct" else 0.9999)


def test_the_crop_of_a_mask_is_that_of_the_image():
    """LaMa's evaluation masks are drawn on the whole picture, of which the part with the mask is kept."""
    files = SamplePhotos(mask=Wide()).files("test")
    for shape in SHAPES:
        found = EvaluationSet(files, SquareCrop(LaMaThin(cap=1)), shape)
        assert found[2].image.shape == (3, *shape) and found[2].mask.shape == (1, *shape)


@pytest.mark.parametrize("size", [0, -3, 48.0, True, "48", "48x80", [48], [48, 80, 3], [48, 0], [48, 80.5], None])
def test_what_is_no_size_is_one_line(size: Any):
    for make in (square_or_pair, lambda given: SamplePhotos(mask=Wide(), image_size=given)):
        with pytest.raises(ValueError, match="expected a whole number from 1 to 16384, or two") as told:
            make(size)
        assert repr(size) in str(told.value) and "\n" not in str(told.value)
