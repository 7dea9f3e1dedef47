"""Palette against Janspiry's program, and what its training and its samplers must hold.

Numbers were printed by Janspiry/Palette-Image-to-Image-Diffusion-Models 136b29f in float64: the Network of
models/network.py with inner_channel 32, channel_mults [1, 2], attn_res [2], res_blocks 1, dropout 0, weights of
``random_weights`` (seed 3, in the order of our names), on the image, noises and masks below.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lit_inpaint.diffusion.samplers import DDIM, Refinement, RePaint
from lit_inpaint.load import load_method
from lit_inpaint.methods import DDPM, Palette
from lit_inpaint.methods.palette.method import told_gamma
from lit_inpaint.methods.palette.weights import convert, detect, export
from lit_inpaint.sampling import choose
from masks.convention import erase
from tests.support.contract import trainer
from tests.support.ddpm import NARROW as NARROW_DDPM
from tests.support.ddpm import Photos, random_weights
from tests.support.published import assert_published, assert_sum, float64

NARROW: dict[str, Any] = {
    "image_size": 16, "model_channels": 32, "num_res_blocks": 1, "channel_mult": (1, 2), "attention_resolutions": (8,),
    "dropout": 0.0,
}  # fmt: skip
INDEX = torch.arange(2 * 3 * 16 * 16)
IMAGE = (INDEX % 37 / 18 - 1).reshape(2, 3, 16, 16).double()
FIRST = (INDEX * 7 % 41 / 10 - 2).reshape(2, 3, 16, 16).double()  # fills the hole of the condition
NOISE = (INDEX * 11 % 43 / 10 - 2.1).reshape(2, 3, 16, 16).double()
MASK = torch.zeros(2, 1, 16, 16, dtype=torch.float64)
MASK[0, :, 4:10, 4:12] = MASK[1, :, 8:16, 0:4] = 1
CONDITION = torch.where(MASK == 1, FIRST, IMAGE)


def narrow(**changes: Any) -> Palette:
    method = Palette(**NARROW | changes).double()
    method.denoiser.load_state_dict(random_weights(method.denoiser, seed=3))
    return method


# ---- the program -----------------------------------------------------------------------------------------------------


def test_the_denoiser_told_a_noise_level_equals_the_programs():
    with float64(), torch.no_grad():
        out = narrow().denoiser(torch.cat([CONDITION, IMAGE], 1), torch.tensor([0.3, 0.9]))
    expected = [0.3132074981011794, -0.5475422020256602, -0.04349595118253502, -0.7104054896721905, -0.0369340018563546]
    assert_published(out.flatten()[[0, 100, 700, 1200, 1500]], expected, of=out)
    assert_sum(out, 94.47848296245203)


def test_loss_and_gradients_equal_the_programs():
    method = narrow()
    with float64():
        gamma = method._between(torch.tensor([0, 1299]), torch.tensor([0.25, 0.75]).double())
        loss = method._errors(IMAGE, MASK, CONDITION, gamma, NOISE).mean()
    loss.backward()
    assert loss.item() == pytest.approx(0.48097915840106625, rel=1e-6)
    gradients = {name: p.grad for name, p in method.denoiser.named_parameters() if p.grad is not None}
    norm = torch.cat([g.flatten() for g in gradients.values()]).norm().item()
    assert norm == pytest.approx(4.314541337206394, rel=1e-5)
    for name, of_name, picked in (
        ("input_blocks.0.0.weight", 1.5086894456830515, [0.02651888061525252, 0.037160986438253565]),
        ("time_embed.2.bias", 0.04721636855256516, [0.003423912436918861, -0.015362897080911656]),
        ("out.2.weight", 1.905087056251256, [-0.030648152442280058, -0.06311696944668552]),
    ):
        assert gradients[name].norm().item() == pytest.approx(of_name, rel=1e-5)
        assert_published(gradients[name].flatten()[:2], picked, of=gradients[name])


def test_refinement_equals_the_programs_restoration():
    """Twelve steps from beta 0.05 to 0.3; noise of torch.randn in float32 from seeds 0, 1, ... by step."""
    method = narrow(inference_steps=12, inference_betas=(0.05, 0.3))
    drawn = [torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(i)).double() for i in range(12)]
    noises = iter([FIRST, *drawn])
    with float64(), patch("torch.randn_like", lambda x: next(noises)), torch.no_grad():
        out = method.predict(IMAGE, MASK)
    hole = out[(MASK == 1).expand_as(out)]
    expected = [0.16742840571608664, 0.8431805384792809, 0.8003309608476307, -0.22241244072771998, -0.9573244163090386]
    assert_published(hole[[2, 53, 94, 136, 192]], expected, of=out)
    assert_sum(out, 16.928056986693903)


def test_weights_leave_in_the_programs_layout_and_come_back(tmp_path: Path):
    source = Palette(**NARROW).eval()
    source.denoiser.load_state_dict(random_weights(source.denoiser, seed=2))
    torch.save(export(source), tmp_path / "190_Network.pth")
    state = torch.load(tmp_path / "190_Network.pth", weights_only=True)
    assert detect(state) == "janspiry" and len(state) == len(source.denoiser.state_dict()) + 6
    # numbers of models/network.py, set_new_noise_schedule
    assert state["posterior_log_variance_clipped"][[0, -1]].tolist() == pytest.approx([-46.0517, -4.6052], abs=1e-4)
    read = convert(state, "janspiry")
    assert read["hyper_parameters"]["attention_resolutions"] == (128,)  # of 256: the file holds factors
    copy = Palette(**read["hyper_parameters"] | {"image_size": 16, "attention_resolutions": (8,)}).eval()
    copy.load_state_dict(read["state_dict"])
    x, gamma = torch.linspace(-1, 1, 1536).reshape(1, 6, 16, 16), torch.tensor([0.5])
    assert torch.equal(copy.denoiser(x, gamma), source.denoiser(x, gamma)) and copy.denoiser(x, gamma).std() > 0.1
    averaged = {name: value for name, value in state.items() if name.startswith("denoise_fn")}
    assert convert(averaged, "janspiry")["hyper_parameters"]["diffusion_steps"] == 2000
    other = {**state, "gammas": told_gamma(2000, 1e-4, 0.02).abar}
    with pytest.raises(ValueError, match="a process of 2000 steps that ends at gamma"):
        convert(other, "janspiry")
    colour = {**state, "denoise_fn.input_blocks.0.0.weight": torch.zeros(32, 4, 3, 3)}
    with pytest.raises(ValueError, match="takes 4 channels and returns 3"):
        convert(colour, "janspiry")


def test_a_network_that_the_program_cannot_build_is_not_exported():
    with pytest.raises(ValueError, match="norm_groups is 8; the program normalises in 32"):
        export(Palette(**NARROW, norm_groups=8))


# ---- what the paper says ---------------------------------------------------------------------------------------------


def test_the_noise_level_is_uniform_between_neighbouring_steps_and_the_paper_has_one_interval_more():
    steps = 4
    gammas = [1.0, *told_gamma(steps, 1e-6, 0.01).abar.tolist()]
    for variant, first in (("janspiry", 1), ("paper", 0)):
        method = Palette(**NARROW, variant=variant, diffusion_steps=steps)
        assert method._intervals == steps - first
        interval = torch.arange(method._intervals)
        ends = [method._between(interval, torch.full((len(interval),), share)) for share in (0.0, 1.0)]
        torch.testing.assert_close(ends[0], torch.tensor(gammas[first:-1]))
        torch.testing.assert_close(ends[1], torch.tensor(gammas[first + 1 :]))


def test_the_loss_counts_the_hole_alone_and_known_pixels_of_the_state_are_clean():
    method, seen = narrow(), []
    forward = method.denoiser.forward

    def watched(x: Tensor, gamma: Tensor) -> Tensor:
        seen.append(x)
        return torch.where(MASK == 1, forward(x, gamma), 1e6)  # what is predicted outside plays no part

    with patch.object(method.denoiser, "forward", watched), float64():
        loss = method._errors(IMAGE, MASK, CONDITION, torch.full((2,), 0.4).double(), NOISE)
    known = (MASK == 0).expand_as(IMAGE)
    assert torch.equal(seen[0][:, :3], CONDITION) and torch.equal(seen[0][:, 3:][known], IMAGE[known])
    level = 0.4**0.5 * IMAGE + 0.6**0.5 * NOISE
    torch.testing.assert_close(seen[0][:, 3:][~known], level[~known])
    assert loss.max() < 10


def test_32_groups_at_32_channels_erase_the_means_of_channels_and_fewer_keep_them():
    features = torch.randn(1, 32, 16, 16, generator=torch.Generator().manual_seed(0))
    shifted = features + torch.arange(32.0).reshape(1, 32, 1, 1)
    for groups, keeps in ((32, False), (8, True), (1, True)):
        out = narrow(norm_groups=groups).float().denoiser.out
        with torch.no_grad():
            assert ((out(shifted) - out(features)).abs().max() > 0.1) == keeps


def test_completions_do_not_depend_on_the_batch_and_know_nothing_of_the_hole():
    method = Palette(**NARROW, inference_steps=6, inference_betas=(0.05, 0.5), sampler=DDIM(3)).eval()
    method.denoiser.load_state_dict(random_weights(method.denoiser, seed=4))
    photos = [Photos()[i] for i in range(3)]
    image, mask = torch.stack([p.image for p in photos]), torch.stack([p.mask for p in photos])
    with torch.no_grad():
        for sampler in (DDIM(3), DDIM(3, eta=1.0), Refinement(6)):
            method.sampler = sampler
            together = method.sample(image, mask, n=2, seed=1, names=["a", "b", "c"])
            alone = method.sample(image[1:2], mask[1:2], n=1, seed=1, names=["b"])
            torch.testing.assert_close(together[:1, 1:2], alone, atol=1e-4, rtol=0)
            hidden = method.sample(erase(image, mask), mask, n=1, seed=1, names=["a", "b", "c"])
            assert torch.equal(hidden, together[:1]) and (together[0] - together[1]).abs().max() > 0.05


def test_ddim_of_all_steps_with_eta_1_is_refinement():
    """The same posterior: DDIM's sigma at eta 1 is the root of the posterior variance."""
    method = narrow(inference_steps=8, inference_betas=(0.05, 0.5))
    out = []
    for sampler in (Refinement(8), DDIM(8, eta=1.0)):
        method.sampler = sampler
        with torch.no_grad(), float64():
            out.append(method.predict(IMAGE, MASK, **method.draws(0, ["a", "b"])))
    torch.testing.assert_close(out[0], out[1], atol=1e-9, rtol=0)


def test_training_lowers_the_error_and_checkpoints_keep_the_sampler(tmp_path: Path):
    torch.manual_seed(0)
    method = Palette(**NARROW, variant="paper", learning_rate=2e-3, sampler=DDIM(4), validation_sampler=DDIM(2))
    loader = DataLoader(Photos(), batch_size=4)
    run = trainer(tmp_path, max_epochs=1, enable_checkpointing=True)
    run.fit(method, loader, loader)
    before = run.callback_metrics["val/simple"].item()
    run = trainer(tmp_path, max_epochs=6)
    run.fit(method, loader, loader)
    assert run.callback_metrics["val/simple"].item() < 0.6 * before
    run.save_checkpoint(tmp_path / "last.ckpt")
    loaded = load_method(tmp_path / "last.ckpt")
    assert isinstance(loaded, Palette) and loaded.sampler == DDIM(4) and loaded.validation_sampler == DDIM(2)


def test_an_unconditional_denoiser_refuses_samplers_that_leave_the_known_part_clean():
    for sampler in (Refinement(4), DDIM(4)):
        with pytest.raises(ValueError, match="told the known part"):
            DDPM(**NARROW_DDPM, sampler=sampler)
    assert DDPM(**NARROW_DDPM).sampler == RePaint(250)


def test_a_sampler_is_suited_wherever_it_is_named():
    """Else `--sampler DDIM` of a DDPM is a row like any other."""
    for method, words in ((DDPM(**NARROW_DDPM), ["DDIM", "steps=4"]), (Palette(**NARROW), ["RePaint", "steps=4"])):
        with pytest.raises(ValueError, match=rf"{words[0]} is for .*; give {type(method).__name__} another sampler"):
            choose(method, words)
        with pytest.raises(ValueError, match=r"the checkpoint's sampler .*cannot be made.*another sampler"):
            method.on_load_checkpoint({"sampler": {"class_path": words[0], "init_args": {"steps": 4}}})


@dataclass(frozen=True)
class OwnSampler(RePaint):
    pass


def test_a_sampler_of_one_s_own_is_kept_and_never_replaced_by_another():
    method, checkpoint = DDPM(**NARROW_DDPM, sampler=OwnSampler(3, 1, 1)), {}
    method.on_save_checkpoint(checkpoint)
    assert checkpoint["sampler"]["class_path"] == f"{__name__}.OwnSampler"
    loaded = DDPM(**NARROW_DDPM)
    loaded.on_load_checkpoint(checkpoint)
    assert loaded.sampler == OwnSampler(3, 1, 1)
    for path in ("lab.samplers.OwnSampler", "OwnSampler", "jump_times"):
        stored = {"sampler": checkpoint["sampler"] | {"class_path": path}}
        with pytest.raises(ValueError, match=r"is not imported.*--import"):
            DDPM(**NARROW_DDPM).on_load_checkpoint(stored)
