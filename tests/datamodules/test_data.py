"""Images are read or refused by name; samples follow the convention and depend on their keys alone."""

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import albumentations as A
import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import EvaluationSet, ImageFolder, SamplePhotos
from datamodules.files import Files, find_images, split_by_name
from datamodules.reading import UnreadableImageError, read_image, read_shape
from datamodules.sampler import EvaluationSampler, TrainingSampler
from datamodules.transforms import resize
from masks import CenterRectangle, LaMaThick, MaskFolder, RandomRectangle, SquareCrop
from masks.convention import check
from masks.generator import Mask, MaskGenerator, keyed_rng

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Noise(MaskGenerator):
    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        return (rng.random((height, width)) < 0.5).astype(np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Nine photographs of three sizes in nested folders, one smaller than the crops."""
    for i in range(9):
        path = tmp_path / "photos" / f"{i % 3}" / f"{i}.{('png', 'jpg', 'webp')[i % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = [(50, 40), (20, 90), (12, 14)][i % 3]
        Image.fromarray(RNG.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return tmp_path / "photos"


# ---- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "tga"])
def test_lossless_formats_come_back_bit_for_bit_whatever_the_name(tmp_path: Path, suffix: str):
    Image.fromarray(PIXELS).save(tmp_path / f"a.{suffix}")
    os.rename(tmp_path / f"a.{suffix}", tmp_path / "b.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "b.jpg"), PIXELS)


def test_sixteen_bits_are_scaled_not_saturated(tmp_path: Path):
    deep = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png")[..., 1], np.arange(256).reshape(16, 16))
    between = np.array([[128, 129, 65406, 65407]], np.uint16)  # 0.498, 0.502, 254.498, 254.502
    Image.fromarray(between).save(tmp_path / "between.png")
    assert read_image(tmp_path / "between.png")[0, :, 1].tolist() == [0, 1, 254, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "avif"])
def test_the_header_tells_the_shape_that_is_read(tmp_path: Path, orientation: int, suffix: str):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for compression in ("tiff_lzw", "raw") if suffix == "tif" else ("",):
        more = {"compression": compression} if compression else {}
        Image.fromarray(PIXELS).save(tmp_path / f"a.{suffix}", exif=exif, **more)
        assert read_shape(tmp_path / f"a.{suffix}") == ((60, 40) if orientation >= 5 else (40, 60))
        content = (tmp_path / f"a.{suffix}").read_bytes()
        assert read_shape("a", content) == read_image(tmp_path / f"a.{suffix}").shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_orientation_is_applied_as_pillow_applies_it(tmp_path: Path, orientation: int, suffix: str):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.kron(PIXELS[:3, :4], np.ones((16, 16, 1), np.uint8))).save(tmp_path / f"a.{suffix}", exif=exif)
    with Image.open(tmp_path / f"a.{suffix}") as image:
        stored = np.asarray(image)
    turned = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: stored.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(stored),
    }[orientation]
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), turned)


def test_transparent_pixels_show_the_background(tmp_path: Path):
    rgba = np.dstack([PIXELS, np.full((40, 60), 255, np.uint8)])
    rgba[:10, :, 3] = 0
    rgba[10:20, :, 3] = 128
    Image.fromarray(rgba).save(tmp_path / "a.png")
    white, black = read_image(tmp_path / "a.png"), read_image(tmp_path / "a.png", background=(0, 0, 0))
    assert (white[:10] == 255).all() and (black[:10] == 0).all()
    np.testing.assert_array_equal(white[20:], PIXELS[20:])
    blend = PIXELS[10:20] * (128 / 255) + 255 * (127 / 255)
    np.testing.assert_allclose(white[10:20], blend, atol=1)


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "LA"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str):
    smooth = np.repeat(np.linspace(20, 235, 60).astype(np.uint8)[None, :, None], 40, 0).repeat(3, 2)
    suffix = "tif" if mode == "CMYK" else "png"
    Image.fromarray(smooth).convert("L").convert(mode if mode in ("L", "1", "LA", "P") else "RGB").convert(mode).save(
        tmp_path / f"a.{suffix}"
    )
    pixels = read_image(tmp_path / f"a.{suffix}")
    assert pixels.shape == (40, 60, 3) and pixels.dtype == np.uint8
    assert abs(pixels.mean() - smooth.mean()) < 3


def test_a_cmyk_jpeg_keeps_its_colours(tmp_path: Path):
    Image.new("RGB", (32, 32), (200, 40, 90)).convert("CMYK").save(tmp_path / "a.jpg")
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg").mean((0, 1)), (200, 40, 90), atol=4)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path, suffix: str):
    red, blue = Image.new("RGB", (20, 10), (255, 0, 0)), Image.new("RGB", (20, 10), (0, 0, 255))
    red.save(tmp_path / f"a.{suffix}", save_all=True, append_images=[blue])
    pixels = read_image(tmp_path / f"a.{suffix}")
    assert pixels.shape == (10, 20, 3)
    np.testing.assert_allclose(pixels.mean((0, 1)), (255, 0, 0), atol=3)


def test_the_fast_jpeg_decoder_gives_pillows_pixels(data_dir: Path):
    paths = sorted((data_dir / "bsds500" / "val").glob("*.jpg"))[:12]
    for path in paths:
        with Image.open(path) as image:
            np.testing.assert_array_equal(read_image(path), np.asarray(image))
    assert len(paths) == 12


def _jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "JPEG", quality=95)
    return file.getvalue()


def _png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello, I am a text", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (_jpeg()[:2000], r"truncated"),
        (_jpeg()[:2000] + bytes(3000), "the rest is zeros"),
        (_jpeg()[:40], r"Fetch it again"),
        (_png(300, 200)[:60], r"truncated|broken|Fetch it again"),
        (_png(10_000, 10_000), r"10000x10000 is too large; at most 80,000,000 pixels"),
        (_png(14_000, 14_000), r"too large|exceeds limit"),
        (None, "no such file"),
    ],
)
def test_a_file_that_is_no_whole_image_is_refused_by_name(tmp_path: Path, content: bytes | None, reason: str):
    path = tmp_path / "broken.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"(?i)broken\.jpg: .*({reason})"):
        read_image(path)


# ---- folders and splits ----------------------------------------------------------------------------------------------


def test_a_folder_is_read_at_any_depth_sorted_through_links_and_without_hidden_files(photos: Path):
    (photos / ".hidden").mkdir()
    Image.fromarray(PIXELS).save(photos / ".hidden" / "x.png")
    Image.fromarray(PIXELS).save(photos / "._1.png")
    (photos / "notes.txt").write_text("no image")
    (photos / "0" / "loop").symlink_to(photos, target_is_directory=True)
    assert find_images(photos) == ["0/0.png", "0/3.png", "0/6.png", "1/1.jpg", "1/4.jpg", "1/7.jpg"] + [
        f"2/{i}.webp" for i in (2, 5, 8)
    ]


def test_a_folder_without_images_is_one_clear_line(tmp_path: Path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"a folder without images \(1 other files"):
        ImageFolder(tmp_path, Noise()).setup("fit")
    with pytest.raises(ValueError, match="no such folder"):
        ImageFolder(tmp_path / "nowhere", Noise()).setup("fit")


def test_splits_come_from_lists_then_folders_then_a_seeded_share(photos: Path):
    share = ImageFolder(photos, Noise(), val_share=0.2, test_share=0.2)
    parts = [share.files(part).names() for part in ("train", "val", "test")]
    assert list(map(len, parts)) == [5, 2, 2] and sorted(name for part in parts for name in part) == find_images(photos)
    assert parts[2] != ImageFolder(photos, Noise(), val_share=0.2, test_share=0.2, split_seed=1).files("test").names()

    for part, folder in zip(("train", "val", "test"), "012", strict=True):
        os.rename(photos / folder, photos / part)
    folders = ImageFolder(photos, Noise())
    assert folders.files("val").names() == ["val/1.jpg", "val/4.jpg", "val/7.jpg"]

    (photos / "train.txt").write_text("# mine\nval/1.jpg\n\ntrain/0.png\n")
    listed = ImageFolder(photos, Noise())
    assert listed.files("train").names() == ["val/1.jpg", "train/0.png"]
    with pytest.raises(ValueError, match=r"has no list val\.txt"):
        listed.files("val")
    (photos / "val.txt").write_text("gone.jpg\n")
    with pytest.raises(ValueError, match=r"val\.txt names gone\.jpg, which is not below"):
        listed.files("val")


def test_a_share_depends_on_names_alone_and_is_never_empty():
    names = [f"{i}.png" for i in range(20)]
    assert split_by_name(names, 0.01, 0.1, 0) == split_by_name(names[::-1], 0.01, 0.1, 0)
    assert {part: len(of) for part, of in split_by_name(names, 0.01, 0.1, 0).items()} == {
        "val": 1,
        "test": 2,
        "train": 17,
    }
    with pytest.raises(ValueError, match="2 images are too few to split"):
        split_by_name(names[:2], 0.1, 0.1, 0)


def test_sample_photos_keeps_every_scene_in_one_split():
    data = SamplePhotos(CenterRectangle(), image_size=32)
    parts = {part: data.files(part).names() for part in ("train", "val", "test")}
    assert all(read_image(data.files(part).path(i)).min() >= 0 for part in parts for i in range(len(parts[part])))
    scenes = [name.replace("_left", "").replace("_right", "") for part in parts.values() for name in sorted(set(part))]
    assert len(scenes) == 13 and scenes.count("skimage/motorcycle.png") == 2 and len(set(scenes)) == 12
    assert len(data.training_set()) == 512 and len(data.evaluation_set("test")) == 12


# ---- samples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resize_", ["shorter", "direct", "none"])
def test_batches_follow_the_convention(photos: Path, resize_: Any):
    data = ImageFolder(photos, Noise(), image_size=16, batch_size=3, num_workers=0, resize=resize_, val_share=0.2)
    for batch in [*data.train_dataloader(), *data.val_dataloader(), *data.test_dataloader()]:
        check(batch.image, batch.mask)
        assert batch.image.dtype == batch.mask.dtype == torch.float32 and batch.image.shape[2:] == (16, 16)
        levels = (batch.image + 1) * 127.5
        torch.testing.assert_close(levels, levels.round(), atol=2e-4, rtol=0)
        assert isinstance(batch.name, list) and len(batch.name) == len(batch.image)


def test_a_sample_depends_on_its_key_alone(photos: Path):
    one, two = (ImageFolder(photos, Noise(), image_size=16, seed=5).training_set() for _ in range(2))
    ahead = [two[(1, i)] for i in range(len(two))]  # draws a lot before
    for key in [(3, 2), (0, 0), (3, 2)]:
        a, b = one[key], two[key]
        assert torch.equal(a.image, b.image) and torch.equal(a.mask, b.mask) and a.name == b.name
    assert not torch.equal(ahead[0].mask, one[(2, 0)].mask)
    other = ImageFolder(photos, Noise(), image_size=16, seed=6).training_set()
    assert not torch.equal(other[(3, 2)].mask, one[(3, 2)].mask)


def test_crop_flip_and_scale_follow_their_laws(tmp_path: Path):
    """On a ramp, the first pixel shows the position of the crop, and the slope its scale and mirroring."""
    ramp = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 100, 0).repeat(3, 2)
    for i in range(3):
        Image.fromarray(ramp).save(tmp_path / f"{i}.png")
    data = ImageFolder(
        tmp_path, Noise(), image_size=40, resize="shorter", shorter_side=(50, 100), val_share=0.3, test_share=0.3
    )
    samples = [data.training_set()[(epoch, 0)] for epoch in range(300)]
    rows = np.stack([((s.image[0, 20] + 1) * 127.5).numpy() for s in samples])
    slopes = (rows[:, 35] - rows[:, 4]) / 31
    assert abs((slopes < 0).mean() - 0.5) < 0.1  # mirrored
    scales = 1 / np.abs(slopes)
    assert scales.min() < 0.53 and scales.max() > 0.97 and abs(scales.mean() - 0.75) < 0.03  # 50 to 100 of 100
    assert np.minimum(rows[:, 0], rows[:, -1]).min() < 5 and np.maximum(rows[:, 0], rows[:, -1]).max() > 194

    fixed = ImageFolder(tmp_path, Noise(), image_size=100, flip=False, val_share=0.3, test_share=0.3).training_set()
    assert all((fixed[(0, i)].image.diff(dim=2) >= 0).all() for i in range(1))


def test_what_is_smaller_than_the_crop_is_enlarged_until_its_shorter_side_fits(tmp_path: Path):
    small = np.zeros((10, 30, 3), np.uint8)
    small[:, 10:20] = 255
    Image.fromarray(small).save(tmp_path / "a.png")
    item = EvaluationSet(Files(tmp_path, ["a.png"]), CenterRectangle(), 20, resize="none")[0]
    # 10x30 becomes 20x60, of which the centre crop takes exactly the white third.
    assert item.image.shape == (3, 20, 20) and item.image[:, :, 1:-1].min() == 1


def test_large_images_are_averaged_not_aliased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = 255  # one column in four; bilinear sampling would look at the other three alone
    assert np.ptp(resize(stripes, 16, 16)) == 0
    assert abs(int(resize(stripes, 16, 16)[0, 0, 0]) - 255 / 4) <= 0.5


def test_a_users_own_augmentation_is_keyed_too(photos: Path):
    def make() -> Any:
        data = ImageFolder(photos, Noise(), image_size=16, augment=[A.RandomBrightnessContrast(p=1), A.GaussNoise(p=1)])
        return data.training_set()

    first, second = make(), make()
    assert torch.equal(first[(0, 3)].image, second[(0, 3)].image)
    plain = ImageFolder(photos, Noise(), image_size=16).training_set()
    assert not torch.equal(first[(0, 3)].image, plain[(0, 3)].image)


# ---- samplers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize(("samples", "batch", "world"), [(24, 4, 1), (24, 2, 2), (23, 4, 1), (23, 2, 2), (23, 1, 4)])
def test_ranks_share_an_epoch_without_repeats(samples: int, batch: int, world: int, drop_last: bool):
    ranks = [list(TrainingSampler(samples, batch, 1, rank, world, drop_last)) for rank in range(world)]
    assert len({len(rank) for rank in ranks}) == 1
    seen = [key for rank in ranks for key in rank]
    unit = batch * world if drop_last else world
    assert len(seen) == len(set(seen)) == samples // unit * unit
    whole = list(TrainingSampler(samples, batch * world, 1, drop_last=drop_last))
    size = batch * world
    for start in range(0, samples // size * size, size):  # each global batch is that of one process
        at = slice(start // world, start // world + batch)
        assert sorted(key for rank in ranks for key in rank[at]) == sorted(whole[start : start + size])


def test_epochs_of_fewer_samples_than_files_show_all_files_in_time(photos: Path):
    few = ImageFolder(photos, Noise(), image_size=16, batch_size=2, num_workers=0, samples_per_epoch=2)
    batches = few.train_dataloader()
    seen = []
    for epoch in range(12):
        batches.sampler.set_epoch(epoch)
        seen.append([name for batch in batches for name in batch.name])
    assert {len(set(names)) for names in seen} == {2} and len({name for names in seen for name in names}) == 7
    resumed, whole = TrainingSampler(6, 2, 3, start=(1, 2), files=50), TrainingSampler(6, 2, 3, files=50)
    whole.set_epoch(1)
    assert list(resumed) == list(whole)[2:] and len(resumed) == 6
    halves = [list(TrainingSampler(6, 1, 3, rank, 2, files=50)) for rank in (0, 1)]
    assert sorted(halves[0] + halves[1]) == sorted(TrainingSampler(6, 2, 3, files=50))
    assert [index for _, index in TrainingSampler(5, 5, 3, files=5)] == [index for _, index in TrainingSampler(5, 5, 3)]


def test_a_start_inside_an_epoch_skips_there_and_nowhere_else():
    whole = TrainingSampler(20, 4, seed=2)
    resumed = TrainingSampler(20, 4, seed=2, start=(3, 8))
    whole.set_epoch(3)
    assert list(resumed) == list(whole)[8:] == list(resumed) and len(resumed) == len(whole) == 20
    resumed.set_epoch(4)
    whole.set_epoch(4)
    assert list(resumed) == list(whole) != []


@pytest.mark.parametrize(("samples", "world"), [(7, 2), (8, 4), (9, 4), (5, 1)])
def test_evaluation_shows_every_sample_once(samples: int, world: int):
    ranks = [EvaluationSampler(samples, rank, world) for rank in range(world)]
    assert sorted(i for rank in ranks for i in rank) == list(range(samples))
    assert [len(rank) for rank in ranks] == [len(list(rank)) for rank in ranks]


def test_too_few_samples_for_a_batch_are_refused_with_what_to_do(photos: Path):
    data = ImageFolder(photos, Noise(), image_size=16, batch_size=16, num_workers=0)
    with pytest.raises(ValueError, match="7 training samples do not fill a batch of 16 on 1 device"):
        data.train_dataloader()
    data = ImageFolder(photos, Noise(), image_size=16, batch_size=16, num_workers=0, drop_last=False)
    assert [len(batch.name) for batch in data.train_dataloader()] == [7]


# ---- evaluation ------------------------------------------------------------------------------------------------------


def test_evaluation_is_the_same_every_time_and_its_fingerprint_says_what_it_is(photos: Path):
    def make(**other: Any) -> EvaluationSet:
        options = {"image_size": 16, "eval_mask": RandomRectangle(), "val_share": 0.4, **other}
        return ImageFolder(photos, Noise(), **options).evaluation_set("val")

    one, two = make(), make(batch_size=2, seed=9)
    assert all(torch.equal(one[i].mask, two[i].mask) and torch.equal(one[i].image, two[i].image) for i in (3, 0, 2))
    print_ = one.fingerprint()
    assert print_ == two.fingerprint() and len(print_["images"]) == len(print_["masks"]) == 4
    assert make(eval_seed=1).fingerprint()["masks"] != print_["masks"]
    assert make(eval_seed=1).fingerprint()["images"] == print_["images"]
    assert make(image_size=17).fingerprint()["size"] != print_["size"]
    name = next(iter(print_["images"]))
    with open(photos / name, "ab") as file:
        file.write(b"\0")
    assert make().fingerprint()["images"][name] != print_["images"][name]


def test_repeats_show_each_image_with_other_holes_under_names_of_their_own():
    data = SamplePhotos(Noise(), image_size=16, eval_repeats=3).evaluation_set("val")
    assert [data[i].name for i in range(6)] == [
        *("skimage/coins.png", "sklearn/flower.jpg"),
        *("skimage/coins-1.png", "sklearn/flower-1.jpg", "skimage/coins-2.png", "sklearn/flower-2.jpg"),
    ]
    assert torch.equal(data[0].image, data[2].image) and not torch.equal(data[0].mask, data[2].mask)


def test_mask_files_pair_with_their_images(photos: Path, tmp_path: Path):
    names = find_images(photos)
    for i, name in enumerate(names):
        mask = np.zeros((16, 16), np.uint8)
        mask[i] = 255
        path = tmp_path / "masks" / Path(name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    for pairing in ("name", "order"):
        data = EvaluationSet(Files(photos, names), MaskFolder(str(tmp_path / "masks"), pairing=pairing), 16, limit=4)
        assert [int(data.draw_mask(i).argmax() // 16) for i in range(4)] == [0, 1, 2, 3]


# ---- unreadable images -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_image_in_an_epoch_ends_the_run_with_its_name(photos: Path, workers: int):
    (photos / "1" / "4.jpg").write_bytes(_jpeg()[:2000])
    data = ImageFolder(photos, Noise(), image_size=16, batch_size=3, num_workers=workers, val_share=0, test_share=0)
    with pytest.raises(UnreadableImageError, match=r"^\S+/1/4\.jpg: .*truncated.* set on_bad_image to skip\.$"):
        list(data.train_dataloader())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_image_is_skipped_named_and_counted_only_if_told_so(photos: Path, workers: int):
    (photos / "1" / "4.jpg").write_bytes(_jpeg()[:2000])
    data = ImageFolder(
        photos,
        Noise(),
        image_size=16,
        batch_size=3,
        num_workers=workers,
        val_share=0,
        test_share=0,
        on_bad_image="skip",
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        names = [name for batch in data.train_dataloader() for name in batch.name]
    assert sorted(names) == sorted(
        ["1/7.jpg", *(n for n in find_images(photos) if n != "1/4.jpg")]
    )  # the next stands in
    assert data.bad_images() == ["1/4.jpg"]
    if workers == 0:  # workers write to their own stderr
        assert [str(w.message) for w in caught if "1/4.jpg: " in str(w.message)]


def test_evaluation_never_skips(photos: Path):
    (photos / "1" / "4.jpg").write_bytes(b"")
    data = EvaluationSet(Files(photos, find_images(photos)), Noise(), 16)
    with pytest.raises(UnreadableImageError, match=r"1/4\.jpg: the file is empty"):
        [data[i] for i in range(len(data))]


# ---- checkpoints -----------------------------------------------------------------------------------------------------


class Tiny(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return (self.weight * batch.image.mean()).sum()

    def predict_step(self, batch: Any, batch_idx: int) -> list[str]:
        return batch.name

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data: ImageFolder, folder: Path, **options: Any) -> L.Trainer:
    trainer = L.Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=False,
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Tiny(), data, **options)
    return trainer


@pytest.mark.parametrize("workers", [0, 2])
def test_predict_yields_the_test_images_in_order(photos: Path, tmp_path: Path, workers: int):
    data = ImageFolder(photos, Noise(), image_size=16, batch_size=2, num_workers=workers, test_share=0.4)
    module = Tiny()
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    names = [name for batch in trainer.predict(module, data) or [] for name in batch]
    assert names == data.files("test").names() and len(names) == 4


def test_checkpoints_load_with_weights_only_and_say_what_the_data_were(photos: Path, tmp_path: Path):
    data = ImageFolder(photos, CenterRectangle(), image_size=16, batch_size=3, num_workers=0, augment=[A.CLAHE()])
    fit(data, tmp_path).save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    described = checkpoint["datamodule_hyper_parameters"]["data"]
    assert described["class"] == "ImageFolder" and described["root"] == str(photos)
    assert described["mask"].startswith("CenterRectangle(")
    assert checkpoint["ImageFolder"] == {"seed": 0, "samples": 7, "global_batch": 3, "drop_last": True}


def test_a_run_cannot_go_on_with_another_order(photos: Path, tmp_path: Path):
    def make(**other: Any) -> ImageFolder:
        return ImageFolder(photos, Noise(), image_size=16, **{"batch_size": 3, "num_workers": 0, **other})

    fit(make(), tmp_path).save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="global_batch was 3 and is 2"):
        fit(make(batch_size=2), tmp_path, ckpt_path=tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="seed was 0 and is 4"):
        fit(make(seed=4), tmp_path, ckpt_path=tmp_path / "a.ckpt")


def test_an_image_is_cropped_where_its_mask_is(tmp_path: Path):
    """Every pixel tells its column and row; the mask was drawn on the whole picture of the same key."""
    wide = np.zeros((32, 80, 3), np.uint8)
    wide[..., 0], wide[..., 1] = np.arange(80) * 3, np.arange(32)[:, None] * 7
    Image.fromarray(wide).save(tmp_path / "a.png")
    Image.fromarray(np.swapaxes(wide, 0, 1)[..., [1, 0, 2]]).save(tmp_path / "b.png")
    law = LaMaThick(cap=1)
    data = EvaluationSet(Files(tmp_path, ["a.png", "b.png"]), SquareCrop(law, cap=0.9), 32, repeats=4)
    corners = set()
    for index, item in enumerate(data):
        columns, rows = ((item.image[channel] + 1) / 2 * 255 for channel in (0, 1))
        left, top = round(float(columns[0, 0]) / 3), round(float(rows[0, 0]) / 7)
        picture = (80, 32) if index % 2 else (32, 80)
        left, top = (round(float(columns[0, 0]) / 7), round(float(rows[0, 0]) / 3)) if index % 2 else (left, top)
        mask, corner = SquareCrop(law, cap=0.9).crop(picture, (32, 32), keyed_rng(0, "evaluation mask", index))
        assert corner == (top, left) and np.array_equal(item.mask[0].numpy(), mask)
        corners.add(corner)
    assert len(corners) > 3
    found, other = data.fingerprint(), EvaluationSet(data.files, law, 32).fingerprint()
    assert (found["crop"], other["crop"]) == ("where the mask is cropped", "centre")
    squeezed = EvaluationSet(data.files, SquareCrop(law), 32, "direct")
    assert squeezed[0].image.shape == (3, 32, 32) and squeezed.fingerprint()["crop"] == "centre"
