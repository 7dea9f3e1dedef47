"""Samplers against the authors' programs, closed forms on Gaussians, and what must hold for every mask and batch size.

Numbers of official programs were printed by: andreas128/RePaint 8e2a055 (``p_sample_loop``), wyhuai/DDNM 00b58ea
(``ddnm_diffusion``), bahjat-kawar/ddrm 32b6b3c (``efficient_generalized_steps``), DPS2022/diffusion-posterior-sampling
effbde7 (``PosteriorSampling`` around guided-diffusion's ``p_sample``), UCSB-NLP-Chang/CoPaint 0b728b0
(``O_DDIMSampler`` with configs/celebahq.yaml), with the toy network, image and mask below.
"""

import math
from collections import Counter
from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from lit_inpaint.diffusion import Diffusion
from lit_inpaint.diffusion.samplers import (
    DDNM,
    DDRM,
    DPS,
    MCG,
    CoPaint,
    Denoiser,
    Noise,
    RePaint,
    RePaintDDIM,
    Replacement,
    Sampler,
    jump_times,
)
from lit_inpaint.diffusion.samplers.base import Network
from lit_inpaint.diffusion.samplers.dps import guided
from tests.support.published import assert_published, assert_sum

IMAGE = torch.linspace(-1, 1, 192).reshape(1, 3, 8, 8)
MASK = ((torch.arange(64).reshape(1, 1, 8, 8) % 3) == 0).float()
PICKED = [0, 1, 2, 50, 100, 150, 191]
SMALL: list[Sampler] = [
    RePaint(12, 3, 2),
    Replacement(8),
    RePaintDDIM(8, 2, 2, eta=0.5),
    DDNM(8, 2, 2),
    DDRM(8),
    MCG(8),
    DPS(8),
    CoPaint(8),
]
each_sampler = pytest.mark.parametrize("sampler", SMALL, ids=lambda s: type(s).__name__)


def toy(x: Tensor, t: Tensor) -> Tensor:
    """A network that any program can repeat."""
    time = t.to(x.dtype)[:, None, None, None] / 1000
    return torch.cat([x / (0.5 + x.abs()) + 0.25 * time, x / (1 + x * x)], 1)


class SingleNoise(Noise):
    """The noise of a float32 run, for one in float64."""

    def __call__(self, like: Tensor) -> Tensor:
        return super().__call__(like.float()).double()


class FirstDrawOnly(SingleNoise):
    """x_T from a seed, no noise after it."""

    first = True

    def __call__(self, like: Tensor) -> Tensor:
        noise = super().__call__(like) if self.first else torch.zeros_like(like)
        self.first = False
        return noise


def run_in_float64(sampler: Sampler, network: Network, noise: type[Noise], seed: int) -> tuple[Tensor, Denoiser]:
    denoiser = Denoiser(network, sampler.process(Diffusion.make()), clip=sampler.clip)
    x = sampler.run(denoiser, IMAGE.double(), MASK.double(), noise([torch.Generator().manual_seed(seed)]))
    return x.detach(), denoiser


# ---- RePaint -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "jump", "resamples", "calls", "undone"),
    [
        (250, 10, 10, 2410, 2160),
        (250, 10, 1, 250, 0),
        (250, 10, 5, 1210, 960),
        (250, 1, 10, 2491, 2241),
        (250, 5, 10, 2455, 2205),
        (100, 10, 10, 910, 810),
        (50, 5, 5, 230, 180),
        (1000, 10, 10, 9910, 8910),
    ],
)
def test_the_walk_has_the_published_number_of_steps(
    steps: int, jump: int, resamples: int, calls: int, undone: int
) -> None:
    times = jump_times(steps, jump, resamples)
    assert sum(b < a for a, b in pairwise(times)) == calls == RePaint(steps, jump, resamples).network_calls
    assert sum(b > a for a, b in pairwise(times)) == undone
    assert times[0] == steps - 1 and times[-1] == -1 and all(abs(a - b) == 1 for a, b in pairwise(times))
    visits = Counter(a for a, b in pairwise(times) if b < a)
    assert visits[0] == 1 and {visits[i] for i in range(1, steps - jump + 1)} == {resamples}


@pytest.mark.parametrize(
    ("sampler", "seed", "calls", "picked", "total", "squares"),
    [
        (
            RePaint(250, 10, 10),
            2022,
            2410,
            [
                0.09737680852413177,
                -0.9932648539543152,
                -0.9660816788673401,
                -0.4763825535774231,
                -0.21341317892074585,
                0.5733335614204407,
                -0.06560705602169037,
            ],
            0.7371424888260663,
            46.62693034740906,
        ),
        (
            RePaint(50, 5, 3),
            7,
            140,
            [
                -0.6283388733863831,
                -0.9643765091896057,
                -0.9680427312850952,
                -0.446651816368103,
                -0.5150275230407715,
                0.5710650682449341,
                -0.10605302453041077,
            ],
            1.5315626324154437,
            51.582746014219175,
        ),
    ],
)
def test_repaint_equals_the_official_sampler_draw_for_draw(
    sampler: RePaint, seed: int, calls: int, picked: list[float], total: float, squares: float
) -> None:
    told: list[int] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        told.append(int(t[0]))
        return toy(x, t)

    x, _ = run_in_float64(sampler, network, SingleNoise, seed)
    assert len(told) == calls
    assert told[:3] == ([999, 995, 991] if sampler.steps == 250 else [999, 979, 958])  # the original timesteps
    assert_published(x.flatten()[PICKED], picked, of=x, rounding=1e-5)
    assert_sum(x, total, rounding=1e-5)
    assert_sum(x.square(), squares, rounding=1e-5)


def test_each_paste_and_each_undo_has_the_noise_of_its_own_index() -> None:
    # With all noise equal to 1 the known part is sqrt(abar) x_0 + sqrt(1 - abar) exactly; the printed misprints (noise
    # factor 1 - abar; the level of a neighbour; the lower beta) are off by 1e-3 or more at most indices.
    diffusion = Diffusion.make().respaced(50)
    index_of = {int(t): index for index, t in enumerate(diffusion.timesteps)}
    pasted: list[tuple[int, float]] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        pasted.append((index_of[int(t[0])], x[0, 0, 0, 0].item()))
        return torch.zeros(x.shape[0], 6, *x.shape[2:], dtype=x.dtype)

    known, mask = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64), torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    denoiser = Denoiser(network, diffusion)
    RePaint(50, 5, 3).run(denoiser, known, mask, torch.ones_like)  # type: ignore[arg-type]
    abar = torch.cumprod(1 - diffusion.betas, 0)
    right = [abs(0.5 * abar[i].sqrt() + (1 - abar[i]).sqrt() - value).item() for i, value in pasted[1:]]
    misprint = [abs(0.5 * abar[i].sqrt() + (1 - abar[i]) - value).item() for i, value in pasted[1:]]
    neighbour = [abs(0.5 * abar[i - 1].sqrt() + (1 - abar[i - 1]).sqrt() - value).item() for i, value in pasted[1:]]
    assert max(right) < 1e-12
    assert max(misprint) > 0.1 and sorted(neighbour)[len(neighbour) // 4] > 1e-3
    for upper in range(1, 50):
        x = denoiser.renoise_step(torch.zeros(1, dtype=torch.float64), upper, torch.ones(1, dtype=torch.float64))
        assert x.item() == pytest.approx(math.sqrt(1 - abar[upper] / abar[upper - 1]), rel=1e-9)


def test_the_pasted_known_part_has_the_mean_and_deviation_of_its_index() -> None:
    diffusion = Diffusion.make().respaced(25)
    index_of = {int(t): index for index, t in enumerate(diffusion.timesteps)}
    seen: dict[int, list[Tensor]] = {}

    def network(x: Tensor, t: Tensor) -> Tensor:
        seen.setdefault(index_of[int(t[0])], []).append(x.clone())
        return torch.zeros(x.shape[0], 6, *x.shape[2:])

    known, mask = torch.full((4, 3, 64, 64), -0.7), torch.zeros(4, 1, 64, 64)
    generators = [torch.Generator().manual_seed(seed) for seed in range(4)]
    RePaint(25, 5, 2)(network, Diffusion.make(), known, mask, generators)
    abar = torch.cumprod(1 - diffusion.betas, 0)
    assert set(seen) == set(range(25))
    for index, states in seen.items():
        if index == 24:  # the first x_T is left as it is, and index 24 is not visited again
            continue
        x, deviation = torch.stack(states), math.sqrt(1 - abar[index])
        error = 5 / math.sqrt(x.numel())
        assert x.mean().item() == pytest.approx(-0.7 * math.sqrt(abar[index]), abs=error * deviation)
        assert x.std().item() == pytest.approx(deviation, rel=error)
    # Fresh noise each time: two pastes at one index share nothing.
    first, second = seen[10][0].flatten(), seen[10][1].flatten()
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1].item()) < 5 / math.sqrt(first.numel())


# ---- a Gaussian whose score is known -----------------------------------------------------------------------------


class GaussianData:
    """Images of 8 correlated pixels, N(mean, covariance), and what a perfect network would say. float64."""

    def __init__(self) -> None:
        position = torch.arange(8, dtype=torch.float64)
        self.covariance = 0.25 * 0.8 ** (position[:, None] - position).abs()
        self.mean = 0.3 * torch.cos(position)

    def estimate(self, diffusion: Diffusion, index: int) -> tuple[Tensor, Tensor]:
        """A and b of E[x_0 | x_t] = A x_t + b."""
        abar = diffusion.abar[index]
        gain = abar.sqrt() * self.covariance @ torch.linalg.inv(abar * self.covariance + (1 - abar) * torch.eye(8))
        return gain, self.mean - abar.sqrt() * gain @ self.mean

    def network(self, diffusion: Diffusion):  # type: ignore[no-untyped-def]
        """epsilon exactly, and v such that each pixel has its exact reverse variance."""
        index_of = {int(t): index for index, t in enumerate(diffusion.timesteps)}

        @cache
        def linear(index: int) -> tuple[Tensor, Tensor, Tensor]:
            gain, shift = self.estimate(diffusion, index)
            abar = diffusion.abar[index]
            variance = self.reverse_variance(diffusion, index)
            low, high = diffusion.log_posterior_variance[index], diffusion.log_betas[index]
            v = 2 * (variance.log() - low) / (high - low) - 1 if index else torch.zeros_like(variance)
            weight = (torch.eye(8) - abar.sqrt() * gain) / (1 - abar).sqrt()
            return weight.T, -abar.sqrt() * shift / (1 - abar).sqrt(), v

        def call(x: Tensor, t: Tensor) -> Tensor:
            weight, shift, v = linear(index_of[int(t[0])])
            epsilon = (x.flatten(1).double() @ weight + shift).to(x.dtype)
            return torch.stack([epsilon, v.to(x.dtype).expand_as(epsilon)], 1).unsqueeze(2)

        return call

    def reverse_variance(self, diffusion: Diffusion, index: int) -> Tensor:
        """Var[x_{t-1} | x_t] of each pixel: btilde + c1^2 Var[x_0 | x_t]."""
        gain, _ = self.estimate(diffusion, index)
        left = self.covariance - gain @ (diffusion.abar[index].sqrt() * self.covariance)
        return diffusion.posterior_variance[index] + diffusion.posterior_mean_x_0[index] ** 2 * left.diagonal()


def w2(mean_1: Tensor, covariance_1: Tensor, mean_2: Tensor, covariance_2: Tensor) -> float:
    """2-Wasserstein distance of two Gaussians."""

    def root(matrix: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T

    half = root(covariance_1)
    trace = torch.trace(covariance_1 + covariance_2 - 2 * root(half @ covariance_2 @ half))
    return math.sqrt(((mean_1 - mean_2).square().sum() + trace.clamp(min=0)).item())


def samples(sampler: Sampler, known: Tensor, mask: Tensor, seed: int) -> Tensor:
    data, process = GaussianData(), sampler.process(Diffusion.make())
    torch.manual_seed(seed)
    return sampler(data.network(process), Diffusion.make(), known, mask).flatten(1)


def test_unconditional_sampling_has_the_mean_and_covariance_of_the_data() -> None:
    data, sampler, count = GaussianData(), Replacement(250, clip=False), 8192
    diffusion = sampler.process(Diffusion.make())
    # What the chain must give exactly: x_T ~ N(0, I) through the linear reverse steps.
    mean, covariance = torch.zeros(8, dtype=torch.float64), torch.eye(8, dtype=torch.float64)
    for index in range(249, -1, -1):
        gain, shift = data.estimate(diffusion, index)
        step = diffusion.posterior_mean_x_0[index] * gain + diffusion.posterior_mean_x_t[index] * torch.eye(8)
        mean = step @ mean + diffusion.posterior_mean_x_0[index] * shift
        covariance = step @ covariance @ step.T
        if index:
            covariance = covariance + torch.diag(data.reverse_variance(diffusion, index))
    # Discretisation: 250 steps with independent noise a pixel.
    assert (mean - data.mean).abs().max() < 2e-3
    assert (covariance - data.covariance).abs().max() < 0.02 * 0.25
    # Monte Carlo: 5 standard errors of 8192 samples.
    nothing = torch.zeros(count, 1, 1, 8, dtype=torch.float64)
    x = samples(sampler, nothing, torch.ones_like(nothing), seed=0)
    assert (x.mean(0) - mean).abs().max() < 5 * math.sqrt(0.25 / count)
    assert (torch.cov(x.T) - covariance).abs().max() < 5 * 0.25 * math.sqrt(2 / count)


@pytest.mark.parametrize("steps", [100, pytest.param(250, marks=pytest.mark.slow)])
def test_resampling_brings_repaint_towards_the_posterior(steps: int) -> None:
    data, count = GaussianData(), 4096
    hole = torch.tensor([0, 0, 1, 1, 1, 1, 0, 0], dtype=torch.float64)
    known = data.mean + torch.tensor([0.5, 0.7, 0, 0, 0, 0, -0.6, -0.4], dtype=torch.float64)
    given, missing = hole == 0, hole == 1
    cross = data.covariance[missing][:, given] @ torch.linalg.inv(data.covariance[given][:, given])
    mean = data.mean[missing] + cross @ (known - data.mean)[given]
    covariance = data.covariance[missing][:, missing] - cross @ data.covariance[given][:, missing]
    image = known.float().expand(count, 8).reshape(count, 1, 1, 8)
    mask = hole.float().expand(count, 8).reshape(count, 1, 1, 8)
    distance = {}
    for resamples in (1, 5, 10):
        x = samples(RePaint(steps, 10, resamples, clip=False), image, mask, seed=resamples)[:, missing].double()
        distance[resamples] = w2(x.mean(0), torch.cov(x.T), mean, covariance)
    print(f"T = {steps}: W2 to a posterior of size {covariance.trace().sqrt().item():.3f}, by r: {distance}")
    assert distance[1] > distance[5] > distance[10]
    assert distance[10] <= 0.5 * distance[1]


# ---- the others against their authors' programs ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "picked", "total"),
    [
        (
            DDNM(20, clip=False),
            [-0.017395, -0.989529, -0.979058, -0.47644, -0.272907, 0.570681, -0.017423],
            -368.26522211544216,
        ),
        (
            DDNM(20, 2, 3, clip=False),
            [-0.010435, -0.989529, -0.979058, -0.47644, -0.010435, 0.570681, -0.010435],
            -0.6887429505586624,
        ),
        (
            DDRM(20, clip=False),
            [-0.017395, -0.982885, -0.972437, -0.47156, -0.272906, 0.56535, -0.017423],
            -368.26515469513834,
        ),
        (
            DPS(40),
            [-0.017803, -0.250332, -0.24753, -0.119474, -0.018124, 0.120822, -0.018002],
            -2.746692530810833,
        ),
        (CoPaint(40), [1.0, -0.246842, -0.243531, -0.085065, 0.260504, 0.620487, 0.5909], 96.66326705308165),
        (
            CoPaint(40, resamples=2),
            [-0.017445, -0.569218, -0.560508, -0.19171, -0.01759, 0.354744, -0.017511],
            3.420019386045169,
        ),
        (
            CoPaint(40, jump_length=5, resamples=3),
            [-0.011191, -0.619759, -0.611535, -0.244688, -0.011191, 0.289979, -0.011191],
            0.4393308339640498,
        ),
    ],
    ids=["DDNM", "DDNM with time travel", "DDRM", "DPS", "CoPaint", "CoPaint-TT", "CoPaint-TT with two climbs each"],
)
def test_a_sampler_equals_its_authors_program(sampler: Sampler, picked: list[float], total: float) -> None:
    # All noise after x_T is zero in both programs, since they draw it in another order.
    x, denoiser = run_in_float64(sampler, toy, FirstDrawOnly, 5)
    assert_published(x.flatten()[PICKED], picked, of=x, rounding=1e-5)
    assert_sum(x, total, rounding=1e-5)
    assert denoiser.calls >= sampler.network_calls


def test_copaint_s_network_calls_count_what_is_optimised_before_each_climb() -> None:
    sampler = CoPaint(8, learning_rate=1e-4, jump_length=2, resamples=2)  # so slow that no line search goes back
    _, denoiser = run_in_float64(sampler, toy, FirstDrawOnly, 5)
    assert denoiser.calls == sampler.network_calls == (7 + 2 * 3 + 3) * 5  # three climbs of two


def test_ddnm_noises_with_the_share_eta() -> None:
    def noise_free(x: Tensor, t: Tensor) -> Tensor:
        return torch.zeros(len(x), 6, *x.shape[2:])

    seen: list[Tensor] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        seen.append(x)
        return noise_free(x, t)

    known = torch.zeros(1, 3, 64, 64)
    DDNM(2, eta=0.85)(network, Diffusion.make(), known, torch.zeros(1, 1, 64, 64), [torch.Generator().manual_seed(0)])
    # epsilon and the projected x_0 are 0, so the second state is eta sqrt(1 - abar) z at timestep 0.
    assert seen[1].std().item() == pytest.approx(0.85 * math.sqrt(1e-4), rel=0.05)


def test_the_guidance_is_the_gradient_of_the_norm_of_each_images_misfit() -> None:
    # epsilon = 0.3 x makes x_0 = (r - 0.3 m) x, so the gradient is -(r - 0.3 m) misfit / |misfit|.
    diffusion = Diffusion.make().respaced(10)
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    known, hole = torch.zeros_like(x) + 0.1, torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    hole[1, :, :2] = True
    denoiser = Denoiser(lambda x, t: torch.cat([0.3 * x, 0 * x], 1), diffusion, clip=False)
    _, gradient = guided(denoiser, x, 5, known, hole)
    slope = (1 / diffusion.abar[5]).sqrt() - 0.3 * (1 / diffusion.abar[5] - 1).sqrt()
    misfit = (known - slope * x) * ~hole
    expected = -slope * misfit / misfit.square().sum((1, 2, 3), keepdim=True).sqrt()
    torch.testing.assert_close(gradient, expected)
    assert denoiser.calls == 2  # a gradient counts as a second call


def test_mcg_pastes_the_level_of_the_state_it_pastes_into() -> None:
    known, mask = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64), torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    seen: list[float] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        seen.append(x[0, 0, 0, 0].item())
        return torch.cat([0.1 * x, 0 * x], 1)

    diffusion = Diffusion.make().respaced(10)
    x = MCG(10).run(Denoiser(network, diffusion), known, mask, torch.ones_like)  # type: ignore[arg-type]
    abar = diffusion.abar.flip(0)[1:]
    torch.testing.assert_close(torch.tensor(seen[1:]), (0.5 * abar.sqrt() + (1 - abar).sqrt()).float())
    assert torch.equal(x, known)  # nothing is noised below index 0


# ---- what every sampler must do ----------------------------------------------------------------------------------


@each_sampler
def test_samples_do_not_depend_on_the_batch(sampler: Sampler) -> None:
    images = torch.cat([IMAGE, -IMAGE, 0.5 * IMAGE])
    masks = torch.cat([MASK, 1 - MASK, MASK])

    def generators(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    together = sampler(toy, Diffusion.make(), images, masks, generators(0, 1, 2))
    alone = [sampler(toy, Diffusion.make(), images[i : i + 1], masks[i : i + 1], generators(i)) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)
    assert (together[0] - together[2]).abs().max() > 1e-2
    with pytest.raises(ValueError, match="2 generators for 3 images"):
        sampler(toy, Diffusion.make(), images, masks, generators(0, 1))


@each_sampler
@pytest.mark.parametrize("hole", ["everything", "nothing", "all but one pixel"])
def test_extreme_masks_give_finite_images_that_do_not_depend_on_the_hidden_pixels(sampler: Sampler, hole: str) -> None:
    mask = torch.zeros_like(MASK) if hole == "nothing" else torch.ones_like(MASK)
    if hole == "all but one pixel":
        mask[0, 0, 3, 5] = 0

    def run(known: Tensor) -> Tensor:
        return sampler(toy, Diffusion.make(), known, mask, [torch.Generator().manual_seed(0)])

    x = run(IMAGE)
    assert x.shape == IMAGE.shape and torch.isfinite(x).all() and not x.requires_grad
    torch.testing.assert_close(run(torch.where(mask == 1, 0.9, IMAGE)), x, atol=0, rtol=0)
    if hole != "everything":
        assert not torch.equal(run(-IMAGE), x)  # but on the known ones


@each_sampler
def test_the_stated_number_of_network_calls_is_made(sampler: Sampler) -> None:
    counted: list[int] = []
    generators = [torch.Generator().manual_seed(3)]
    sampler(toy, Diffusion.make(), IMAGE, MASK, generators, progress=counted.append)
    if isinstance(sampler, CoPaint):
        assert sum(counted) >= sampler.network_calls == 7 * 5  # more where the line search goes back
    else:
        assert sum(counted) == sampler.network_calls


def test_gradient_samplers_run_where_gradients_are_switched_off() -> None:
    generators = [torch.Generator().manual_seed(0)]
    expected = DPS(4)(toy, Diffusion.make(), IMAGE, MASK, generators)
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            known, mask = IMAGE + 0, MASK + 0
            x = DPS(4)(toy, Diffusion.make(), known, mask, [torch.Generator().manual_seed(0)])
        assert torch.equal(x, expected)


def test_noise_is_standard_normal_and_each_images_own() -> None:
    noise = Noise([torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)])
    drawn = noise(torch.empty(2, 3, 64, 64))
    again = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(2))
    assert torch.equal(drawn[1], again)
    assert drawn.std().item() == pytest.approx(1, abs=0.03) and abs(drawn.mean().item()) < 0.03
