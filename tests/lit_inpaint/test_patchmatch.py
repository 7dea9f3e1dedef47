"""PatchMatch: the field against exhaustive search, the completion traced back to known pixels, and real photographs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor

from lit_inpaint.methods import PatchMatch, Telea
from lit_inpaint.methods.patchmatch.field import draw_field, nearest_neighbour_field
from lit_inpaint.methods.patchmatch.flood import Fields
from lit_inpaint.metrics import metric, round_to_8_bits, unavailable


def exhaustive(target: np.ndarray, source: np.ndarray, radius: int) -> np.ndarray:
    """The smallest squared distance of every patch, by comparing it with all."""
    window, size = (2 * radius + 1,) * 2, 3 * (2 * radius + 1) ** 2
    a, b = (
        np.lib.stride_tricks.sliding_window_view(image.astype(np.float64), window, (0, 1)).reshape(-1, size)
        for image in (target, source)
    )
    return ((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T).min(1)


def flooded(target: np.ndarray, source: np.ndarray, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """Result of nearest_neighbour_field from the GPU version."""
    whole = torch.zeros(1, *target.shape[:2], dtype=torch.bool)
    whole[:, 3:-3, 3:-3] = True
    fields = Fields(torch.from_numpy(source)[None].float(), whole, whole, torch.tensor([3]), [0])
    colours = torch.from_numpy(target)[None].float()
    fields.start(colours)
    for _ in range(iterations):
        fields.improve(colours)
    match, distance = fields.found()
    return match[0].numpy(), distance[0].numpy()


@pytest.mark.parametrize("search", [nearest_neighbour_field, flooded])
@pytest.mark.parametrize("pair", ["one photograph", "two photographs"])
def test_the_field_after_5_iterations_is_within_a_tenth_of_exhaustive_search(pair: str, search: Any):
    cat, coffee = data.chelsea()[60:124, 100:164], data.coffee()[100:164, 200:264]
    source = data.chelsea()[100:164, 180:244] if pair == "one photograph" else coffee
    match, distance = search(cat, source, iterations=5)
    best = exhaustive(cat, source, 3).sum()
    assert best <= distance[distance >= 0].sum() <= 1.1 * best
    assert search(cat, source, iterations=0)[1].sum() > 2 * best
    for y, x in [(3, 3), (20, 40), (60, 60)]:
        v, u = match[y, x]
        a, b = cat[y - 3 : y + 4, x - 3 : x + 4].astype(int), source[v - 3 : v + 4, u - 3 : u + 4].astype(int)
        assert distance[y, x] == ((a - b) ** 2).sum()


def test_an_image_matched_with_its_shifted_self_finds_the_shift():
    image = data.coffee()[100:180, 200:280]
    match, distance = nearest_neighbour_field(image[8:72, 8:72], image, iterations=5)
    inside = distance >= 0
    offset = match - np.indices((64, 64)).transpose(1, 2, 0)
    assert (distance[inside] == 0).mean() > 0.99
    assert (offset[inside] == 8).all(1).mean() > 0.99


def textured(size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    hole = np.zeros((size, size), bool)
    hole[20:40, 24:52] = hole[:9, :5] = True
    return data.coffee()[100 : 100 + size, 200 : 200 + size].astype(np.float64), hole


def test_every_filled_pixel_is_a_weighted_mean_of_known_pixels_that_the_field_names():
    image, hole = textured()
    completion = PatchMatch().complete_array(np.where(hole[..., None], np.nan, image), hole, seed=1)
    known, radius = np.where(hole[..., None], np.nan, image), completion.radius
    total, colour = np.zeros((64, 64)), np.zeros((64, 64, 3))
    for y, x in np.argwhere(completion.weight > 0):
        v, u = completion.match[y, x]
        for down in range(-radius, radius + 1):
            for right in range(-radius, radius + 1):
                if 0 <= y + down < 64 and 0 <= x + right < 64 and hole[y + down, x + right]:
                    colour[y + down, x + right] += completion.weight[y, x] * known[v + down, u + right]
                    total[y + down, x + right] += completion.weight[y, x]
    assert (total[hole] > 0).all()
    np.testing.assert_allclose(completion.image[hole], colour[hole] / total[hole][:, None], atol=1e-9)
    np.testing.assert_array_equal(completion.image[~hole], image[~hole])


def test_a_periodic_texture_is_continued_exactly():
    tile = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.float64)
    image, hole = np.tile(tile, (8, 8, 1)), np.zeros((64, 64), bool)
    hole[24:39, 24:39] = True
    completed = PatchMatch(rounds=6).complete_array(image, hole).image
    assert np.abs(completed - image)[hole].mean() < 2


def tensors(image: np.ndarray, hole: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(image / 127.5 - 1).permute(2, 0, 1)[None].float(), torch.from_numpy(hole)[
        None, None
    ].float()


def test_the_same_seed_gives_the_same_image_on_any_batch_size_and_another_seed_another():
    image, mask = tensors(*textured())
    other = image.flip(-1)
    method = PatchMatch()
    names = ["a", "b"]
    together = method.sample(torch.cat([image, other]), mask.expand(2, 1, 64, 64), n=2, seed=5, names=names)
    alone = method.sample(other, mask, n=2, seed=5, names=names[1:])
    assert torch.equal(together[:, 1:], alone)
    assert not torch.equal(alone[0], alone[1])
    assert torch.equal(method(image, mask), method(image, mask))
    assert not torch.equal(method(image, mask), PatchMatch(seed=1)(image, mask))


def test_all_at_once_every_image_becomes_what_it_becomes_alone():
    image, hole = textured()
    small, lines = np.zeros_like(hole), np.zeros_like(hole)
    small[30:33, 50:53] = lines[::4] = True  # fewer levels, smaller patches
    images, holes, seeds = [image, image[:, ::-1].copy(), image], [hole, small, lines], [5, 7, 9]
    method = PatchMatch()
    hidden = [np.where(h[..., None], np.nan, i) for i, h in zip(images, holes, strict=True)]
    together = method.complete_at_once(hidden, holes, seeds, "cpu")
    for index in range(3):
        alone = method.complete_at_once(hidden[index : index + 1], holes[index : index + 1], seeds[index:], "cpu")
        assert torch.equal(together[index], alone[0])
        np.testing.assert_array_equal(alone[0].numpy()[~holes[index]], images[index][~holes[index]])
        one_by_one = method.complete_array(hidden[index], holes[index], seeds[index]).image
        assert np.abs(alone[0].numpy() - one_by_one)[holes[index]].mean() < 10
    assert not torch.equal(method.complete_at_once(images[:1], holes[:1], [6], "cpu")[0], together[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_completes_as_the_same_form_on_the_cpu():
    image, hole = textured()
    erased, mask = tensors(np.where(hole[..., None], 0, image), hole)
    expected = PatchMatch().complete_at_once(
        [(erased[0].double().permute(1, 2, 0).numpy() + 1) * 127.5], [hole], [0], "cpu"
    )
    found = PatchMatch().fill(erased.cuda(), mask.cuda()).cpu()
    torch.testing.assert_close(found, (expected / 127.5 - 1).permute(0, 3, 1, 2).float(), atol=1e-5, rtol=0)


def test_holes_that_leave_no_whole_patch_use_smaller_ones():
    image, hole = textured()
    hole[:] = False
    hole[::4] = True  # three known rows between the lines: patches of 3x3
    completion = PatchMatch().complete_array(image, hole)
    assert completion.radius == 1
    assert np.abs(completion.image - image)[hole].mean() < 15


def test_the_drawing_is_white_without_a_match_and_flat_where_one_piece_was_copied():
    rows, columns = np.indices((10, 12))
    match = np.stack([rows + 3, columns + 5], -1).astype(np.int32)
    match[:, 6:] = np.stack([rows + 8, columns + 1], -1)[:, 6:]
    match[0] = -1
    drawing = draw_field(match)
    assert drawing.shape == (10, 12, 3) and drawing.dtype == np.uint8
    assert (drawing[0] == 255).all()
    assert len(np.unique(drawing[1:].reshape(-1, 3), axis=0)) == 2


def test_refuses_settings_and_images_that_leave_nothing_to_do():
    with pytest.raises(ValueError, match="radius is -1, rounds 2, iterations 2; expected at least 0, 1 and 1"):
        PatchMatch(radius=-1)
    small = np.zeros((6, 20, 3), np.uint8)
    with pytest.raises(ValueError, match=r"an image of \(6, 20\) contains no patch of 7 pixels; lower radius"):
        nearest_neighbour_field(small, small)


@pytest.mark.parametrize("texture", ["brick", "grass"])
def test_a_box_in_a_texture_looks_better_than_telea_s(texture: str, weights_dir: Path):
    if reason := unavailable("lpips_alex"):
        pytest.skip(reason)
    grey = getattr(data, texture)()[:256, :256].astype(np.float64)
    hole = np.zeros(grey.shape, bool)
    hole[96:160, 96:160] = True
    image, mask = tensors(np.repeat(grey[..., None], 3, 2), hole)
    lpips = metric("lpips_alex")
    assert lpips(PatchMatch()(image, mask), image) < 0.8 * lpips(Telea()(image, mask), image)


def mean_hole_psnr(pairs: list[tuple[Tensor, Tensor]]) -> float:
    method, psnr = PatchMatch(), metric("psnr_hole")
    return float(np.mean([psnr(round_to_8_bits(method(image, mask)), image, mask) for image, mask in pairs]))


def test_five_photographs_are_filled_to_18_5_db(holes20: list[tuple[Tensor, Tensor]]):
    assert mean_hole_psnr(holes20[::4]) >= 18.5


@pytest.mark.slow
def test_two_photographs_at_once_are_filled_as_well(holes20: list[tuple[Tensor, Tensor]]):
    pairs, psnr = holes20[::10], metric("psnr_hole")
    images = [(image[0].double().permute(1, 2, 0).numpy() + 1) * 127.5 for image, _ in pairs]
    filled = PatchMatch().complete_at_once(images, [mask[0, 0].numpy() == 1 for _, mask in pairs], [0, 0], "cpu")
    filled = (filled / 127.5 - 1).permute(0, 3, 1, 2).float()
    found = np.mean([psnr(round_to_8_bits(x[None]), *pair) for x, pair in zip(filled, pairs, strict=True)])
    assert found >= mean_hole_psnr(pairs) - 0.2


@pytest.mark.slow
def test_all_twenty_photographs_are_filled_to_17_5_db(holes20: list[tuple[Tensor, Tensor]]):
    assert mean_hole_psnr(holes20) >= 17.5
