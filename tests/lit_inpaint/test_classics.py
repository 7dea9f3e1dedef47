"""The methods without parameters: what they share, and the four that a library or one equation gives."""

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lit_inpaint import methods
from lit_inpaint.classical import ClassicalModule, UnfillableError, harmonic_fill
from lit_inpaint.evaluated import for_trainer
from masks.convention import InpaintingBatch, from_levels, to_levels, to_pixels

SMALL: dict[str, dict[str, Any]] = {
    "Bertalmio": {"rounds": 3},
    "Biharmonic": {},
    "Harmonic": {},
    "NavierStokes": {},
    "PatchMatch": {},
    "Telea": {},
}
Pairs = list[tuple[Tensor, Tensor]]
every = pytest.mark.parametrize("name", SMALL)


def make(name: str) -> ClassicalModule:
    return getattr(methods, name)(**SMALL[name])


def picture(size: int = 48, shift: float = 0.0) -> Tensor:
    grid = torch.linspace(0, 1, size)
    waves = torch.sin(9 * grid[:, None] + 5 * grid + shift)
    return torch.stack([waves, waves * grid, waves.T])[None]


def box(top: int, left: int, bottom: int, right: int, size: int = 48) -> Tensor:
    mask = torch.zeros(1, 1, size, size)
    mask[..., top:bottom, left:right] = 1
    return mask


def hole_psnr(prediction: Tensor, image: Tensor, mask: Tensor) -> float:
    """dB over the hole's pixels, rounded to 8 bits; written out here, so that no metric of the package is trusted."""
    error = ((prediction.clamp(-1, 1) + 1) * 127.5).round() - (image + 1) * 127.5
    return float(10 * torch.log10(255**2 / (error[mask.expand_as(error) == 1] ** 2).mean()))


@pytest.mark.parametrize(
    ("name", "published"), [("Telea", 18.78), ("NavierStokes", 18.60), ("Biharmonic", 18.74), ("Harmonic", 19.83)]
)
def test_the_baselines_have_the_hole_psnr_measured_for_their_libraries(name: str, published: float, holes20: Pairs):
    method = make(name)
    values = [hole_psnr(method(image, mask), image, mask) for image, mask in holes20]
    assert np.mean(values) == pytest.approx(published, abs=0.05)


def test_harmonic_makes_every_hole_pixel_the_mean_of_its_neighbours_inside_the_image():
    rng = np.random.default_rng(0)
    image, hole = rng.random((20, 30, 2)), rng.random((20, 30)) < 0.7
    filled = harmonic_fill(np.where(hole[..., None], np.nan, image), hole)
    padded, there = np.pad(filled, ((1, 1), (1, 1), (0, 0))), np.pad(np.ones((20, 30, 1)), ((1, 1), (1, 1), (0, 0)))
    total, count = (a[:-2, 1:-1] + a[2:, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:] for a in (padded, there))
    np.testing.assert_allclose(filled[hole], (total / count)[hole], atol=1e-12)
    np.testing.assert_array_equal(filled[~hole], image[~hole])


@pytest.mark.parametrize("name", ["Telea", "NavierStokes"])
def test_opencv_methods_take_the_image_rounded_to_8_bits_and_return_the_hole_on_that_grid(name: str):
    image, mask = picture(), box(10, 10, 20, 30)
    out = make(name)(image, mask)
    steps = (out[mask.expand_as(out) == 1] + 1) * 127.5
    torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0)
    assert torch.equal(out, make(name)(from_levels(to_levels(image)), mask) * mask + image * (1 - mask))


def test_every_8_bit_value_survives_the_way_to_minus_one_to_one_and_back():
    values = np.arange(256, dtype=np.uint8)
    assert (to_levels(from_levels(values).astype(np.float32)) == values).all()
    picture = torch.from_numpy(values).view(1, 16, 16)
    for dtype in (torch.float32, torch.float64):
        assert (to_pixels(from_levels(picture.to(dtype)))[..., 0] == values.reshape(16, 16)).all()
    beside = torch.tensor([-1.5, 1.5, float("nan")])
    assert to_levels(beside)[:2].tolist() == [0, 255] and to_levels(beside)[2].isnan()
    half = from_levels(picture.float()).bfloat16()  # levels would not be exact in 16 bits
    assert (to_pixels(half) == to_pixels(half.float())).all()


@every
@pytest.mark.parametrize(
    "mask",
    [box(0, 0, 12, 20), box(30, 40, 48, 48), box(0, 20, 48, 24), box(4, 4, 48, 48), box(0, 0, 48, 45)],
    ids=["corner", "other corner", "side to side", "84 percent", "94 percent"],
)
def test_holes_at_the_border_and_holes_larger_than_half_are_filled(name: str, mask: Tensor):
    image = picture()
    out = make(name)(image, mask)
    known = image[mask.expand_as(image) == 0]
    inside = out[mask.expand_as(out) == 1]
    assert torch.isfinite(out).all()
    assert torch.equal(out[mask.expand_as(out) == 0], known)
    assert inside.std() > 0.01  # neither black nor grey: the surroundings went in
    assert abs(inside.mean() - known.mean()) < known.max() - known.min()


@every
def test_alternating_lines_and_single_known_pixels_are_filled(name: str):
    image, lines, dots = picture(), torch.zeros(1, 1, 48, 48), torch.ones(1, 1, 48, 48)
    lines[..., ::2, :] = 1
    dots[..., ::2, ::2] = 0
    for mask in (lines, dots):
        error = ((make(name)(image, mask) - image) * mask).abs().sum() / mask.sum() / 3
        assert error < 0.12  # of 2: such holes are easy


@every
def test_an_image_without_a_hole_comes_back_as_it_is(name: str):
    assert torch.equal(make(name)(picture(), torch.zeros(1, 1, 48, 48)), picture())


@every
def test_an_image_that_is_all_hole_is_named_in_one_line(name: str):
    images, masks = torch.cat([picture(), picture(shift=1)]), torch.cat([box(5, 5, 9, 9), torch.ones(1, 1, 48, 48)])
    with pytest.raises(
        UnfillableError, match=r"^image 1 of the batch: every pixel is hole; there is nothing to .*$"
    ) as caught:
        make(name)(images, masks)
    assert isinstance(caught.value, ValueError) and caught.value.index == 1
    with pytest.raises(ValueError, match=r"^bridge\.jpg: every pixel is hole"):
        for_trainer(make(name)).predict_step(InpaintingBatch(images, masks, ["castle.jpg", "bridge.jpg"]), 0)


@every
def test_an_image_is_filled_alike_alone_and_in_a_batch(name: str):
    method = make(name)
    images = torch.cat([picture(), picture(shift=1), picture(shift=2)])
    masks = torch.cat([box(5, 5, 20, 30), box(0, 0, 48, 10), torch.zeros(1, 1, 48, 48)])
    together = method(images, masks)
    for i in range(3):
        assert torch.equal(method(images[i : i + 1], masks[i : i + 1])[0], together[i])


@every
def test_what_lies_in_the_hole_is_not_read(name: str):
    image, mask = picture(), box(10, 10, 30, 30)
    assert torch.equal(make(name)(image, mask), make(name)(torch.where(mask == 1, 0.9, image), mask))


@every
def test_fit_is_one_clear_line(name: str, tmp_path: Path):
    data = DataLoader([InpaintingBatch(picture()[0], box(5, 5, 9, 9)[0], "a")])
    trainer = L.Trainer(
        default_root_dir=tmp_path, logger=False, enable_progress_bar=False, accelerator="cpu", max_steps=1
    )
    with pytest.raises(
        ValueError, match=f"^{name} has no parameters to fit; use test, predict, benchmark or inpaint.$"
    ):
        trainer.fit(for_trainer(make(name)), data)
