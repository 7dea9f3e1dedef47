"""Bertalmio's PDE: its fixed points, what each term is for, and the compiled form against the readable one."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from lit_inpaint.methods import Bertalmio
from lit_inpaint.methods.bertalmio.method import from_angles, ring_weight, to_angles
from lit_inpaint.methods.bertalmio.pde import compiled_round, diffusion_term, torch_round, transport_term
from lit_inpaint.metrics import metric, round_to_8_bits

ROWS, COLUMNS = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
RAMP = 0.1 + 0.004 * ROWS.double() + 0.007 * COLUMNS.double()
HOLE = torch.zeros(1, 1, 64, 64)
HOLE[..., 28:36, 12:52] = 1


def grey(image: Tensor) -> Tensor:
    """(64, 64) in [0, 1] as the images that methods take."""
    return (image * 2 - 1).expand(1, 3, 64, 64)


def levels_of_255(prediction: Tensor, image: Tensor, over: Tensor) -> float:
    return float(((prediction - image).abs() * over).sum() / over.expand_as(image).sum() * 127.5)


def test_a_slanted_edge_is_continued_to_1_3_levels_in_the_hole_and_the_transport_is_needed_for_it():
    image = grey(0.1 + 0.8 * torch.sigmoid((COLUMNS - 31.5) + (ROWS - 31.5) / 2))
    method = Bertalmio(rounds=400, tolerance=0)
    start, *_, end = method.progress(image * (1 - HOLE), HOLE)
    assert levels_of_255(start, image, HOLE) > 10
    assert levels_of_255(end, image, HOLE) <= 1.3
    *_, without = Bertalmio(rounds=400, tolerance=0, transport_steps=0).progress(image * (1 - HOLE), HOLE)
    assert levels_of_255(without, image, HOLE) > 1.3


def test_an_edge_along_the_hole_is_continued_to_1_3_levels_over_the_image_and_the_transport_is_needed_for_it():
    image = grey(0.1 + 0.8 * ((ROWS - 31.5) + (COLUMNS - 31.5) / 2 > 0))
    everywhere, known = torch.ones_like(HOLE), image * (1 - HOLE)
    error = {}
    for steps in (15, 0):
        method = Bertalmio(rounds=400, tolerance=0, transport_steps=steps)
        error[steps] = levels_of_255(method(image, HOLE), image, everywhere)
    start = next(iter(Bertalmio().progress(known, HOLE)))
    assert error[15] <= 1.3 < error[0] < levels_of_255(start, image, everywhere)


def test_the_slope_limiter_keeps_a_black_and_white_edge_between_black_and_white():
    image = ((COLUMNS - 31.5) + (ROWS - 31.5) / 2 > 0).float().expand(1, 1, 64, 64)
    start = image * (1 - HOLE) + HOLE / 2
    out = compiled_round(start, HOLE, ring_weight(HOLE[0], 3)[None], 15 * 30, 0, 0.1)
    assert out.min() > -0.01 and out.max() < 1.01  # plain central differences: -0.08 after 30 rounds
    assert (out - start).abs().max() > 0.3


@pytest.mark.parametrize("term", [transport_term, diffusion_term])
def test_constant_and_linear_images_are_fixed_points_of_both_terms(term):
    for image in (torch.full_like(RAMP, 0.3), RAMP):
        inside = term(image.expand(1, 1, 64, 64))[..., 2:-2, 2:-2]
        assert inside.abs().max() < 1e-9


@pytest.mark.parametrize("colour", ["rgb", "angles"])
def test_constant_and_linear_images_come_back_from_the_whole_method(colour):
    for image in (torch.full((64, 64), 0.3), RAMP.float()):
        out = Bertalmio(colour=colour)(grey(image), HOLE)
        torch.testing.assert_close(out, grey(image), atol=2e-5, rtol=0)


def test_transport_is_the_paper_s_formula_at_one_pixel_written_out():
    rng = np.random.default_rng(3)
    for image in rng.random((20, 5, 5)):

        def laplacian(i: int, j: int, image: np.ndarray = image) -> float:
            return image[i + 1, j] + image[i - 1, j] + image[i, j + 1] + image[i, j - 1] - 4 * image[i, j]

        change = np.array([laplacian(3, 2) - laplacian(1, 2), laplacian(2, 3) - laplacian(2, 1)])
        i_x, i_y = (image[3, 2] - image[1, 2]) / 2, (image[2, 3] - image[2, 1]) / 2
        beta = change @ np.array([-i_y, i_x]) / np.sqrt(i_x**2 + i_y**2 + 1e-8)
        x_b, x_f, y_b, y_f = (
            image[2, 2] - image[1, 2], image[3, 2] - image[2, 2], image[2, 2] - image[2, 1], image[2, 3] - image[2, 2],
        )  # fmt: skip
        if beta > 0:
            parts = min(x_b, 0), max(x_f, 0), min(y_b, 0), max(y_f, 0)
        else:
            parts = max(x_b, 0), min(x_f, 0), max(y_b, 0), min(y_f, 0)
        expected = beta * np.sqrt(sum(part**2 for part in parts))
        assert transport_term(torch.from_numpy(image)[None, None])[0, 0, 2, 2].item() == pytest.approx(
            expected, abs=1e-12
        )


def test_the_compiled_round_equals_the_readable_one():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 40, 50, generator=generator, dtype=torch.float64)
    hole = torch.zeros(2, 1, 40, 50, dtype=torch.float64)
    hole[0, :, 10:20, 5:30] = hole[1, :, :, 33:] = hole[1, :, :7, :9] = 1
    weight = torch.stack([ring_weight(one, 3) for one in hole])
    expected = torch_round(image, hole, weight, 15, 2, 0.1)
    torch.testing.assert_close(compiled_round(image, hole, weight, 15, 2, 0.1), expected, atol=1e-12, rtol=0)
    assert (expected - image).abs()[hole.expand_as(image) == 1].mean() > 0.01


@pytest.mark.parametrize("dt", [0.0, -0.1, 0.26, 2.55])
def test_a_dt_outside_the_stable_range_is_refused(dt):
    with pytest.raises(ValueError, match=r"dt is .*; expected 0 < dt <= 0.25"):
        Bertalmio(dt=dt)


def test_noise_and_edges_stay_bounded_at_the_largest_dt():
    noise = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    for image in (noise, (noise > 0.5).float(), (ROWS > COLUMNS).float()):
        out = Bertalmio(dt=0.25, colour="rgb", smoothing_steps=0).fill(grey(image) * (1 - HOLE), HOLE)
        assert out.min() > -1.1 and out.max() < 1.1


def test_the_paper_s_colours_come_back_and_lie_between_0_and_1():
    colours = torch.cat(
        [torch.rand(1, 3, 30, 30, dtype=torch.float64), torch.zeros(1, 3, 30, 30), torch.ones(1, 3, 30, 30)]
    )
    assert to_angles(colours).min() >= 0 and to_angles(colours).max() <= 1.01
    torch.testing.assert_close(from_angles(to_angles(colours)), colours, atol=1e-12, rtol=0)


def test_the_ring_is_smooth_one_in_the_hole_and_zero_beyond_its_width():
    weight = ring_weight(HOLE[0], 3)[0]
    assert (weight[HOLE[0, 0] == 1] == 1).all()
    assert 1 > weight[27, 30] > weight[26, 30] > weight[25, 30] > 0 == weight[24, 30]


def test_an_image_stops_by_itself_when_its_hole_no_longer_changes():
    slanted = grey(0.1 + 0.8 * torch.sigmoid((COLUMNS - 31.5) + (ROWS - 31.5) / 2))
    images, masks = torch.cat([grey(torch.full((64, 64), 0.3)), slanted]), HOLE.expand(2, 1, 64, 64)
    method = Bertalmio(rounds=60, tolerance=1e-4)
    steps = list(method.progress(images * (1 - masks), masks))
    assert 5 < len(steps) < 61
    assert sum(bool((a[0] != b[0]).any()) for a, b in pairwise(steps[1:])) == 0  # flat: one round
    torch.testing.assert_close(method.fill(images[1:] * (1 - HOLE), HOLE)[0], steps[-1][1], atol=0, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_gives_the_cpu_s_result():
    image = grey(0.1 + 0.8 * torch.sigmoid((COLUMNS - 31.5) + (ROWS - 31.5) / 2))
    method = Bertalmio(rounds=20)
    torch.testing.assert_close(method(image.cuda(), HOLE.cuda()).cpu(), method(image, HOLE), atol=1e-3, rtol=0)


def mean_gain(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """Hole PSNR of the evolution less that of its start, in dB."""
    method, gained = Bertalmio(), []
    for image, mask in pairs:
        out = method(image, mask)
        start = next(iter(method.progress(image * (1 - mask), mask)))
        before, after = (metric("psnr_hole")(round_to_8_bits(x), image, mask).item() for x in (start, out))
        gained.append(after - before)
    return float(np.mean(gained))


def test_photographs_keep_the_hole_psnr_of_the_start(holes20: list[tuple[Tensor, Tensor]]):
    assert mean_gain(holes20[::4]) >= -0.3


@pytest.mark.slow
def test_all_twenty_photographs_keep_the_hole_psnr_of_the_start(holes20: list[tuple[Tensor, Tensor]]):
    assert mean_gain(holes20) >= -0.3
