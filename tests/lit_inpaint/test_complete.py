"""``method.complete``: pictures of any kind and size, the command's completions, nothing guessed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from experiments.inpaint import command as inpaint
from lit_inpaint import load_method
from lit_inpaint.classical import plain
from lit_inpaint.methods import Harmonic, PatchMatch, Telea
from lit_inpaint.module import InpaintingModule
from masks.convention import from_levels
from masks.files import write_mask
from tests.support.contract import ROWS, make
from tests.support.pictures import hole, photo

PIXELS, HOLE = np.array(photo(3)), hole()
CHANNELS_FIRST = torch.from_numpy(PIXELS).permute(2, 0, 1).contiguous()
EXPECTED = Telea().complete(PIXELS, HOLE)
FLOATS = from_levels(CHANNELS_FIRST)


def small(name: str) -> InpaintingModule:
    torch.manual_seed(0)
    return make(name, dict(ROWS)[name]).eval()


# ---- the same as the command ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["DeepFillV2", "DDPM", "ContextEncoder", "PatchMatch"])
def test_a_completion_is_that_of_the_command_to_the_bit(name: str, tmp_path: Path):
    """A GAN at sides that it must pad, a sampler, a network of one size, a classical method that draws."""
    method = small(name)
    checkpoint = tmp_path / "m.ckpt"
    if name != "PatchMatch":
        parameters = {k: v for k, v in method.hparams.items() if not k.startswith("_")}
        torch.save({"method": name, "state_dict": method.state_dict(), "hyper_parameters": parameters}, checkpoint)
    given = str(checkpoint) if name != "PatchMatch" else name
    photo(5, (70, 66)).save(tmp_path / "a photo.png")
    write_mask(hole((70, 66)), tmp_path / "m.png")
    samples = 2 if method.diverse else 1
    files = {"--image": "a photo.png", "--mask": "m.png", "--out": "out.png"}
    paths = [word for flag, file in files.items() for word in (flag, str(tmp_path / file))]
    assert inpaint.main(["--method", given, *paths, "--seed", "7", "--samples", str(samples), "--device", "cpu"]) == 0

    image, mask = Image.open(tmp_path / "a photo.png"), Image.open(tmp_path / "m.png")
    loaded = load_method(given)
    completed = loaded.complete(image, mask, samples=samples, seed=7)
    written = sorted(tmp_path.glob("out*.png"))
    assert len(written) == len(completed) == samples
    for file, picture in zip(written, completed, strict=True):
        assert (np.asarray(Image.open(file)) == np.asarray(picture)).all(), file
    arrays = loaded.complete(np.array(image), np.array(mask), samples=samples, seed=7, name="a photo")
    assert all((array == np.asarray(picture)).all() for array, picture in zip(arrays, completed, strict=True))
    if method.diverse:
        assert (arrays[0] != arrays[1]).any() and (arrays[0] != loaded.complete(image, mask, seed=8)).any()


def test_a_large_picture_is_completed_in_windows_as_by_the_command():
    pixels, mask = np.array(photo(0, (300, 90))), np.zeros((90, 300), np.uint8)
    mask[10:30, 20:40] = mask[50:70, 250:280] = 1
    whole, windows = (Harmonic().complete(pixels, mask, tile=tile) for tile in (0, 64))
    assert (windows[mask == 0] == pixels[mask == 0]).all() and (windows[mask == 1] != pixels[mask == 1]).any()
    assert np.abs(whole.astype(int) - windows).max() <= 1  # the harmonic continuation needs nothing but the border


@pytest.mark.parametrize("tile", [-5, 1, 63])
def test_a_tile_that_is_none_and_no_samples_are_one_line(tile: int):
    with pytest.raises(ValueError, match=f"tile is {tile}; expected at least 64, or 0"):
        Harmonic().complete(np.zeros((96, 96, 3), np.uint8), np.ones((96, 96), bool), tile=tile)
    for method in (Harmonic(), load_method("PatchMatch")):
        with pytest.raises(ValueError, match="n is 0; expected at least 1"):
            method.sample(torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8), n=0)


# ---- kinds of pictures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mask",
    [HOLE == 1, HOLE, HOLE * 255, HOLE.astype(np.float32), HOLE[..., None], Image.fromarray(HOLE * 255),
     Image.fromarray(HOLE == 1), Image.fromarray(HOLE * 255).convert("RGB"), torch.from_numpy(HOLE == 1),
     torch.from_numpy(HOLE)[None].float(), torch.from_numpy(HOLE)[None, None].bfloat16()],
    ids=["bool", "0-1", "0-255", "float", "HW1", "PIL L", "PIL 1", "PIL RGB", "tensor", "1HW", "11HW"],
)  # fmt: skip
def test_white_true_and_1_are_the_hole_in_a_mask_of_any_kind(mask: Any):
    assert (Telea().complete(PIXELS, mask) == EXPECTED).all() and (EXPECTED != PIXELS).any()


def test_what_comes_back_is_of_the_kind_that_was_given():
    method = Telea()
    picture = method.complete(Image.fromarray(PIXELS), HOLE)
    assert isinstance(picture, Image.Image) and picture.mode == "RGB" and (np.asarray(picture) == EXPECTED).all()
    bytes_ = method.complete(CHANNELS_FIRST, HOLE)
    assert bytes_.dtype == torch.uint8 and (bytes_.permute(1, 2, 0).numpy() == EXPECTED).all()
    assert method.complete(CHANNELS_FIRST[None], HOLE).shape == (1, *CHANNELS_FIRST.shape)
    for dtype in (np.float32, np.float64):
        array = method.complete(from_levels(PIXELS.astype(dtype)), HOLE)
        assert array.dtype == dtype and array.shape == PIXELS.shape and -1 <= array.min() < 0
    half = method.complete(FLOATS.bfloat16(), HOLE)
    assert half.dtype == torch.bfloat16 and (half[:, HOLE == 0] == FLOATS.bfloat16()[:, HOLE == 0]).all()
    assert not isinstance(method.complete(PIXELS, HOLE), list)
    several = method.complete(PIXELS, HOLE, samples=3)
    assert len(several) == 3 and all((one == EXPECTED).all() for one in several)
    assert several[0] is not several[1]


@pytest.mark.parametrize("end", [1, 255])
def test_a_named_range_comes_back_with_its_known_pixels_bit_for_bit(end: int):
    unit = (FLOATS.double() + 1) * (end / 2)
    completed = Telea().complete(unit, HOLE, value_range=(0, end))
    assert completed.dtype == torch.float64 and (completed[:, HOLE == 0] == unit[:, HOLE == 0]).all()
    expected = (Telea().complete(FLOATS, HOLE).double() + 1) * (end / 2)
    torch.testing.assert_close(completed, expected, rtol=0, atol=1e-6 * end)


def test_floats_are_not_rounded_and_are_what_forward_gives():
    method = small("DeepFillV2")
    image, mask = FLOATS[None, :, :32, :32], torch.zeros(1, 1, 32, 32)
    mask[..., 8:20, 8:20] = 1
    with torch.no_grad():
        assert torch.equal(method.complete(image, mask), method(image, mask))


def test_a_batch_is_its_images_one_by_one_and_a_mask_may_serve_all():
    images = torch.stack([CHANNELS_FIRST, 255 - CHANNELS_FIRST])
    masks = torch.stack([torch.from_numpy(HOLE), torch.from_numpy(HOLE).flip(0)])[:, None]
    method = PatchMatch()
    both = method.complete(images, masks, name=["x", "y"], seed=1)
    for index, name in enumerate("xy"):
        assert torch.equal(both[index], method.complete(images[index], masks[index], name=name, seed=1))
    assert torch.equal(Telea().complete(images, HOLE)[0], Telea().complete(images[0], HOLE))


def test_nothing_is_changed_in_place_and_a_picture_without_a_hole_comes_back():
    for image in (PIXELS.copy(), FLOATS.clone(), CHANNELS_FIRST.clone()):
        before = image.copy() if isinstance(image, np.ndarray) else image.clone()
        Telea().complete(image, HOLE)
        assert bool((image == before).all())
        assert bool((Telea().complete(image, HOLE * 0) == before).all())


# ---- a method in training, one's own network ------------------------------------------------------------------------


class Normalised(nn.Module):
    """Its batch statistics move in training."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.frozen = nn.BatchNorm2d(3), nn.BatchNorm2d(3).eval()

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.frozen(self.body(image)).clamp(-1, 1)


def test_completing_with_a_method_in_training_leaves_it_as_it_was():
    method = plain(Normalised)()
    method.network.frozen.eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    completed = method.complete(PIXELS, HOLE)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert method.training and method.network.body.training and not method.network.frozen.training
    assert (method.eval().complete(PIXELS, HOLE) == completed).all()


def test_a_sketch_is_drawn_like_a_mask_and_what_a_method_does_not_take_is_refused():
    torch.manual_seed(0)
    method = make("DeepFillV2", dict(ROWS)["DeepFillV2"] | {"sketch": True}).eval()
    for weight in method.generator.parameters():
        weight.data *= 3
    lines = np.eye(*HOLE.shape, dtype=bool)
    with_lines, without = method.complete(PIXELS, HOLE, sketch=lines), method.complete(PIXELS, HOLE)
    assert (with_lines != without)[HOLE == 1].any() and (with_lines == without)[HOLE == 0].all()
    with pytest.raises(ValueError, match=r"Telea takes no sketch. Guides that it takes: none"):
        Telea().complete(PIXELS, HOLE, sketch=lines)


# ---- refusals --------------------------------------------------------------------------------------------------------


def turned() -> Image.Image:
    image = photo(0)
    image.getexif()[0x0112] = 6
    return image


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unit range or bright": ({"image": FLOATS.abs()}, r"floats in \[.*value_range=\(0, 1\) or value_ra"),
    "0 to 255 in floats": ({"image": PIXELS.astype(float)}, r"floats in \[0, 255\]; expected \[-1, 1\], or another"),
    "outside the range that is named": ({"image": FLOATS, "value_range": (0, 1)}, r"outside value_range=\(0, 1\); cli"),
    "a range the wrong way round": ({"image": FLOATS, "value_range": (1, 0)}, r"expected \(darkest, brightest\)"),
    "a range for 8 bits": ({"value_range": (0, 1)}, "image is uint8, which is 0 to 255: leave it out"),
    "NaN": ({"image": FLOATS * float("nan")}, "image has NaN pixels"),
    "whole numbers": ({"image": PIXELS.astype(np.int64)}, r"values of int64; expected uint8 \(0 to 255\) or floats"),
    "colours first in an array": ({"image": np.moveaxis(PIXELS, -1, 0)}, r"expected \(H, W, 3\).*np.moveaxis"),
    "colours last in a tensor": ({"image": torch.from_numpy(PIXELS)}, r"expected \(3, H, W\).*permute"),
    "a batch of arrays": ({"image": PIXELS[None]}, "Complete one image at a time, or give a tensor"),
    "grey in an array": ({"image": PIXELS[..., 0]}, "Repeat a grey channel three times"),
    "no picture": ({"image": "photo.jpg"}, "image is a str; expected a PIL image, a NumPy array or a tensor"),
    "transparency": ({"image": Image.fromarray(PIXELS).convert("RGBA")}, r"mode RGBA with transparency; .*convert"),
    "16 bits in PIL": ({"image": Image.fromarray(HOLE.astype(np.uint16))}, "mode I;16; expected RGB or grey of 8 bits"),
    "turned by EXIF": ({"image": turned()}, r"exif_transpose\(image\)"),
    "a grey mask": ({"mask": HOLE * 128}, r"6\.\d+% of mask is neither black nor white.*mask > 127"),
    "a soft mask": ({"mask": HOLE * 0.5}, "neither black nor white"),
    "a mask of another size": ({"mask": HOLE.T}, r"mask has the shape \(40, 32\), image \(32, 40\).*nearest neighbour"),
    "a mask for three": ({"mask": np.stack([HOLE] * 3)}, r"mask has the shape \(3, 32, 40\)"),
    "a coloured mask": ({"mask": photo(1)}, "colour picture. Are image and mask swapped"),
    "a mask with alpha": ({"mask": photo(1).convert("RGBA")}, r"alpha channel; .*getchannel\('A'\)"),
    "no mask": ({"mask": None}, "mask is a NoneType; expected a PIL image"),
    "no samples": ({"samples": 0}, "samples is 0; expected at least 1"),
    "two names for one": ({"name": ["a", "b"]}, "2 names for 1 images"),
    "all hole": ({"mask": np.ones_like(HOLE)}, "every pixel is hole"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_ambiguous_or_wrong_is_refused_with_what_was_given_and_what_to_do(case: str):
    changes, said = REFUSED[case]
    arguments: dict[str, Any] = {"image": PIXELS, "mask": HOLE} | changes
    with pytest.raises(ValueError, match=said):
        Telea().complete(**arguments)
