"""The diffusion process, the denoiser, its losses and weights, and DDPM as a method.

Numbers of official programs were printed by openai/guided-diffusion 22e0df8, with the inputs below.
"""

import logging
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from experiments.weights.imports import main as import_weights
from lit_inpaint.diffusion import Diffusion, UNet, cosine_betas
from lit_inpaint.diffusion.losses import simple_loss, vlb_term
from lit_inpaint.diffusion.samplers import DDNM, RePaint
from lit_inpaint.diffusion.timesteps import SecondMomentTimesteps
from lit_inpaint.diffusion.unet import attention, timestep_embedding
from lit_inpaint.load import load_method
from lit_inpaint.methods.ddpm.method import DDPM
from lit_inpaint.methods.ddpm.weights import RELEASED, Shape, convert, detect, export, infer_flags
from masks.convention import InpaintingBatch
from tests.support import processes
from tests.support.contract import trainer
from tests.support.ddpm import NARROW, SHORT, Photos, random_weights, train_on
from tests.support.published import assert_published, assert_sum, float64


def toy(x: Tensor, t: Tensor) -> Tensor:
    time = t.to(x.dtype)[:, None, None, None] / 1000
    return torch.cat([x / (0.5 + x.abs()) + 0.25 * time, x / (1 + x * x)], 1)


def loader() -> DataLoader[InpaintingBatch]:
    return DataLoader(Photos(), batch_size=4)


# ---- the process -------------------------------------------------------------------------------------------------


def test_respacing_to_250_gives_the_published_betas_and_passes_the_original_timesteps() -> None:
    spaced = Diffusion.make().respaced(250)
    assert spaced.timesteps[[0, 1, 2, -3, -2, -1]].tolist() == [0, 4, 8, 991, 995, 999]
    betas = spaced.betas[[0, 1, 124, 249]].tolist()
    assert betas == pytest.approx([1e-4, 5.990656e-4, 0.0392888, 0.0775193], rel=2e-6)
    abar = spaced.abar[[1, 100, 124, 249]].tolist()
    assert abar == pytest.approx([0.9993010, 0.1920064, 0.0801878, 4.0358e-5], rel=2e-5)
    torch.testing.assert_close(spaced.abar, Diffusion.make().abar[spaced.timesteps])
    assert Diffusion.make().respaced(20, "stride").timesteps.tolist() == list(range(0, 1000, 50))
    with pytest.raises(ValueError, match="1001 sampling steps of a process of 1000"):
        Diffusion.make().respaced(1001)


def test_the_cosine_schedule_equals_the_official_one() -> None:
    official = [4.128422482196914e-05, 4.614175273665033e-05, 0.003155691441585007, 0.7499993929011166, 0.999]
    assert cosine_betas()[[0, 1, 500, 998, 999]].tolist() == pytest.approx(official, rel=1e-12)
    # improved-diffusion's models of 4000 steps get timesteps on the scale of 1000.
    assert Diffusion.make("cosine", 4000, True).respaced(2).timesteps.tolist() == [0, 999.75]


def test_the_posterior_is_bayes_rule() -> None:
    # q(x_{t-1} | x_t, x_0) is proportional to q(x_t | x_{t-1}) q(x_{t-1} | x_0): two Gaussians multiplied.
    spaced, i, x_0, x_t = Diffusion.make().respaced(50), 20, 0.4, -0.3
    beta, before = spaced.betas[i], spaced.abar[i - 1]
    precision = (1 - beta) / beta + 1 / (1 - before)
    mean = ((1 - beta).sqrt() * x_t / beta + before.sqrt() * x_0 / (1 - before)) / precision
    assert spaced.posterior_variance[i].item() == pytest.approx(1 / precision.item())
    ours = spaced.posterior_mean_x_0[i] * x_0 + spaced.posterior_mean_x_t[i] * x_t
    assert ours.item() == pytest.approx(mean.item())


# ---- the denoiser ------------------------------------------------------------------------------------------------


def test_the_default_denoiser_has_the_parameters_of_repaints() -> None:
    with torch.device("meta"):
        unconditional, class_conditional = DDPM(), DDPM(num_classes=1000)
    assert sum(p.numel() for p in unconditional.denoiser.parameters()) == 552_814_086
    assert sum(p.numel() for p in class_conditional.denoiser.parameters()) == 553_838_086
    assert len(unconditional.denoiser.state_dict()) == 566
    assert not any(table.is_meta for table in (unconditional.diffusion.betas, unconditional.diffusion.timesteps))


@pytest.mark.parametrize(
    ("flags", "label", "picked", "total"),
    [
        (
            {"model_channels": 64, "channel_mult": (1, 2, 2), "num_res_blocks": 1, "attention_factors": (2, 4)},
            None,
            [-0.14115256071090698, -2.3872358798980713, 0.522983968257904, -0.4593675434589386, 0.8872886896133423],
            204.59893837705022,
        ),
        (
            {
                "model_channels": 64,
                "channel_mult": (1, 2),
                "attention_factors": (2,),
                "use_new_attention_order": True,
                "num_classes": 10,
            },
            torch.tensor([2, 5]),
            [-0.2972497132156372, -0.2722218334674835, -0.0952257290482521, 0.8121734857559204, -0.14750757813453674],
            -234.1011235931146,
        ),
        (
            {
                "model_channels": 32,
                "channel_mult": (1, 2),
                "num_res_blocks": 1,
                "attention_factors": (2,),
                "num_heads": 2,
                "num_head_channels": None,
                "use_scale_shift_norm": False,
                "resblock_updown": False,
            },
            None,
            [0.27554628252983093, -0.33316004276275635, -0.6943002343177795, 0.6555092334747314, 0.21264147758483887],
            64.22257226485453,
        ),
    ],
    ids=["ADM", "new attention order, classes", "improved-diffusion"],
)
def test_the_denoiser_equals_the_official_network(
    flags: dict[str, Any], label: Tensor | None, picked: list[float], total: float
) -> None:
    network = UNet(**({"num_head_channels": 32} | flags)).eval()
    network.load_state_dict(random_weights(network, seed=3))
    x = (torch.arange(2 * 3 * 16 * 16) % 37 / 18 - 1).reshape(2, 3, 16, 16)
    with torch.no_grad(), float64():
        out = network.double()(x.double(), torch.tensor([17, 903]), label)
    assert_published(out.flatten()[[0, 100, 700, 1500, 2900]], picked, of=out)
    assert_sum(out, total)


def test_attention_is_softmax_of_scaled_products_in_both_orders_of_channels() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64) for _ in range(3))  # heads, channels
    weight = torch.softmax(torch.einsum("bhct,bhcs->bhts", q, k) / 2, -1)
    expected = torch.einsum("bhts,bhcs->bhct", weight, v).reshape(2, 12, 5)
    new = torch.cat([part.reshape(2, 12, 5) for part in (q, k, v)], 1)
    legacy = torch.stack([q, k, v], 2).reshape(2, 36, 5)
    torch.testing.assert_close(attention(new, 3, new_order=True), expected)
    torch.testing.assert_close(attention(legacy, 3, new_order=False), expected)


def test_the_time_embedding_is_cosine_first_or_as_ho_et_al() -> None:
    t = torch.tensor([10])
    angle = 10 * 10000 ** (-torch.arange(4) / 4)
    torch.testing.assert_close(timestep_embedding(t, 8)[0], torch.cat([angle.cos(), angle.sin()]))
    angle = 10 * 10000 ** (-torch.arange(4) / 3)
    torch.testing.assert_close(timestep_embedding(t, 8, "ho")[0], torch.cat([angle.sin(), angle.cos()]))


def test_a_fresh_denoiser_predicts_no_noise_and_recomputing_changes_no_gradient() -> None:
    flags: dict[str, Any] = {"model_channels": 32, "channel_mult": (1, 2), "num_head_channels": 32}
    x, t = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 700])
    assert not UNet(**flags)(x, t).any()  # the last layer begins at zero
    gradients = []
    for recompute in (False, True):
        network = UNet(**flags, attention_factors=(2,), use_checkpoint=recompute)
        network.load_state_dict(random_weights(network, seed=1))
        network(x, t).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    torch.testing.assert_close(*gradients)


# ---- losses ------------------------------------------------------------------------------------------------------


def test_the_hybrid_loss_equals_the_official_one() -> None:
    x_0 = (torch.arange(4 * 3 * 4 * 4) % 52 / 25.5 - 1).reshape(4, 3, 4, 4)
    noise = (torch.arange(4 * 3 * 4 * 4) * 7 % 41 / 10 - 2).reshape(4, 3, 4, 4)
    t, diffusion = torch.tensor([0, 3, 500, 999]), Diffusion.make()
    x_t = diffusion.q_sample(x_0, t, noise)
    epsilon, v = toy(x_t, t).chunk(2, 1)
    simple = [1.551973819732666, 1.6792712211608887, 0.37678876519203186, 0.4023396670818329]
    assert simple_loss(epsilon, noise).tolist() == pytest.approx(simple, rel=1e-6)
    bits = [2.852769136428833, 0.464210569858551, 0.002996552735567093, 0.005923193413764238]
    assert vlb_term(diffusion, x_0, x_t, t, epsilon, v).tolist() == pytest.approx(bits, rel=2e-5)


def test_the_variational_term_trains_the_variance_alone_and_is_least_at_the_true_one() -> None:
    x_0 = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    noise, t, diffusion = torch.randn_like(x_0), torch.tensor([5, 500]), Diffusion.make()
    x_t = diffusion.q_sample(x_0, t, noise)
    epsilon = noise.clone().requires_grad_()
    v = torch.full_like(x_0, 0.3, requires_grad=True)
    vlb_term(diffusion, x_0, x_t, t, epsilon, v).sum().backward()
    assert epsilon.grad is None and v.grad is not None and (v.grad > 0).all()  # towards btilde, v = -1
    at_btilde = vlb_term(diffusion, x_0, x_t, t, noise, torch.full_like(x_0, -1))
    assert at_btilde.abs().max() < 1e-9  # the true noise and the true variance: no divergence


def test_importance_sampled_timesteps_are_drawn_by_loss_and_keep_the_expectation() -> None:
    timesteps = SecondMomentTimesteps(4, terms=2)
    assert timesteps.probabilities().tolist() == [0.25] * 4  # until each timestep has its losses
    every = torch.arange(4)
    for scale in (99.0, 3.0, 4.0):  # of three losses the last two count
        timesteps.observe(every, scale * torch.tensor([1.0, 2.0, 3.0, 4.0]))
    timesteps.observe(every[:2], torch.tensor([torch.nan, torch.inf]))  # of an update that was left out
    p = timesteps.probabilities()
    expected = 0.999 * torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64) + 0.001 / 4
    torch.testing.assert_close(p, expected)
    torch.manual_seed(0)
    t, weight = timesteps.draw(20000, torch.device("cpu"))
    assert torch.bincount(t, minlength=4).div(20000).tolist() == pytest.approx(p.tolist(), abs=0.015)
    losses = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert (weight * losses[t]).mean().item() == pytest.approx(losses.mean().item(), rel=0.01)


# ---- weights -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", RELEASED, ids=lambda s: f"{s.variant}-{s.model_channels}-{len(s.channel_mult)}")
@pytest.mark.parametrize("num_classes", [None, 1000])
def test_the_flags_of_every_released_model_are_read_off_its_tensors(shape: Shape, num_classes: int | None) -> None:
    hidden = dict(RELEASED[shape])
    flags = {
        "model_channels": shape.model_channels,
        "channel_mult": shape.channel_mult,
        "num_res_blocks": shape.num_res_blocks,
        "attention_resolutions": tuple(hidden["image_size"] // factor for factor in shape.attention_factors),
        "resblock_updown": shape.resblock_updown,
        "use_scale_shift_norm": shape.variant != "ho" and hidden.get("num_heads") != 1,  # LSUN of improved-diffusion
        "learn_sigma": shape.variant != "ho",
        "conditional": False,
        "num_classes": num_classes,
        "variant": shape.variant,
        **hidden,
    }
    with torch.device("meta"):
        tensors = DDPM(**flags).denoiser.state_dict()
    assert infer_flags(tensors, shape.variant) == flags


def test_weights_leave_in_the_official_layout_and_come_back(tmp_path: Path) -> None:
    source = DDPM(**NARROW)
    source.denoiser.load_state_dict(random_weights(source.denoiser, seed=2))
    torch.save(export(source), tmp_path / "ema_0.9999_250000.pt")
    state = torch.load(tmp_path / "ema_0.9999_250000.pt", weights_only=True)
    assert detect(state) == "guided-diffusion" and set(state) == set(source.denoiser.state_dict())
    with pytest.raises(ValueError, match="state num_heads or num_head_channels"):
        convert(state, "guided-diffusion")
    read = convert(state, "guided-diffusion", num_head_channels=32)
    copy = DDPM(**read["hyper_parameters"])
    copy.load_state_dict(read["state_dict"])
    x, t = torch.linspace(-1, 1, 768).reshape(1, 3, 16, 16), torch.tensor([500])
    assert torch.equal(copy.denoiser(x, t), source.denoiser(x, t)) and copy.denoiser(x, t).abs().max() > 0.1
    state["input_blocks.0.0.weight"] = state["input_blocks.0.0.weight"].repeat(1, 2, 1, 1)
    with pytest.raises(ValueError, match="upsamplers"):
        convert(state, "guided-diffusion", num_head_channels=32)


def test_a_unet2dmodel_of_diffusers_gives_the_same_noise() -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    theirs = diffusers.UNet2DModel(
        sample_size=16,
        in_channels=3,
        out_channels=3,
        layers_per_block=2,
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        norm_eps=1e-6,
    ).eval()  # the settings of google/ddpm-celebahq-256 and -cifar10-32
    theirs.load_state_dict(random_weights(theirs, seed=5))
    state = theirs.state_dict()
    assert detect(state) == "diffusers"
    read = convert(state, "diffusers", num_heads=1, image_size=16)
    ours = DDPM(**read["hyper_parameters"]).eval()
    ours.load_state_dict(read["state_dict"])
    x, t = torch.linspace(-1, 1, 1536).reshape(2, 3, 16, 16), torch.tensor([7, 800])
    with torch.no_grad(), float64():
        expected = theirs.double()(x.double(), t).sample
        torch.testing.assert_close(ours.double().denoiser(x.double(), t), expected)
    assert expected.abs().max() > 0.1 and ours.variance == "fixed_large"


def test_what_the_tensors_of_an_unknown_model_do_not_show_are_options_of_the_command(tmp_path: Path) -> None:
    method = DDPM(**NARROW | {"num_heads": 2, "num_head_channels": None, "noise_schedule": "cosine"})
    torch.save(export(method), tmp_path / "model.pt")
    words = ["DDPM", str(tmp_path / "model.pt"), "--out", str(tmp_path / "ddpm.ckpt")]
    with pytest.raises(ValueError, match=r"do not show the number of heads: .*--num-heads, --num-head-channels, "):
        import_weights(words)
    stated = ["--num-heads", "2", "--image-size", str(NARROW["image_size"]), "--noise-schedule", "cosine"]
    assert import_weights([*words, *stated, "--diffusion-steps", "50", "--use-new-attention-order"]) == 0
    read = load_method(tmp_path / "ddpm.ckpt").hparams
    found = {name: read[name] for name in ("num_heads", "noise_schedule", "diffusion_steps", "rescale_timesteps")}
    assert found == {
        "num_heads": 2, "noise_schedule": "cosine", "diffusion_steps": 50, "rescale_timesteps": False
    } and read["use_new_attention_order"]  # fmt: skip


# ---- DDPM --------------------------------------------------------------------------------------------------------


def test_training_lowers_the_error_and_the_mask_plays_no_part(tmp_path: Path) -> None:
    torch.manual_seed(0)
    method = DDPM(**NARROW, learning_rate=2e-3, diffusion_steps=50)
    start = {name: value.clone() for name, value in method.state_dict().items()}
    seen: list[float] = []

    class Watch(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
            seen.append(float(trainer.callback_metrics["train/simple"]))

    L.seed_everything(1)
    trainer(tmp_path, max_epochs=4, callbacks=[Watch()]).fit(method, loader())
    final = {name: value.clone() for name, value in method.state_dict().items()}
    trainer(tmp_path, max_epochs=8, callbacks=[Watch()]).fit(method, loader())
    assert seen[0] == pytest.approx(1, abs=0.15)  # a fresh network predicts 0
    assert sum(seen[-6:]) / 6 < 0.6

    class Holes(Photos):
        def __getitem__(self, index: int) -> InpaintingBatch:
            photo = super().__getitem__(index)
            return photo._replace(mask=1 - photo.mask)

    other = DDPM(**NARROW, learning_rate=2e-3, diffusion_steps=50)
    other.load_state_dict(start)
    L.seed_everything(1)
    trainer(tmp_path, max_epochs=4).fit(other, DataLoader(Holes(), batch_size=4))
    assert all(torch.equal(value, final[name]) for name, value in other.state_dict().items())


def test_a_loss_drawn_by_importance_is_divided_by_its_probability(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    method = DDPM(**NARROW, **SHORT, timestep_sampling="loss-second-moment")
    timesteps: Any = method.timesteps
    timesteps.history[:], timesteps.counts[:] = torch.tensor([[1.0], [3.0]]), 10  # probabilities 0.25 and 0.75
    minimised, terms, compute = [], [], method._losses

    def watched(image: Tensor, mask: Tensor, t: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        terms.append((t, sum(made := compute(image, mask, t, *rest))))
        return made

    monkeypatch.setattr(method, "_losses", watched)
    monkeypatch.setattr(timesteps, "observe", lambda t, losses: None)  # the probabilities stay
    monkeypatch.setattr(method, "manual_backward", lambda loss, **_: minimised.append(loss.item()))
    trainer(tmp_path, max_steps=2, limit_val_batches=0).fit(method, loader())
    for loss, (t, losses) in zip(minimised, terms, strict=True):
        weight = torch.where(t == 0, 1 / (2 * 0.25), 1 / (2 * 0.75))
        assert loss == pytest.approx((weight * losses).mean().item(), rel=0.01)  # a share of 0.001 is uniform
    assert {0, 1} == set(torch.cat([t for t, _ in terms]).tolist())


def test_a_resumed_run_equals_one_that_never_stopped(tmp_path: Path) -> None:
    def fit(folder: Path, epochs: int, resume: Path | None = None) -> DDPM:
        L.seed_everything(3)
        method = DDPM(**NARROW, **SHORT, timestep_sampling="loss-second-moment", sampler=DDNM(2))
        run = trainer(folder, max_epochs=epochs, enable_checkpointing=True)
        run.fit(method, loader(), ckpt_path=resume, weights_only=True if resume else None)
        run.save_checkpoint(folder / "last.ckpt")
        return method

    whole = fit(tmp_path / "whole", 4)
    fit(tmp_path / "first", 3)
    resumed = fit(tmp_path / "second", 4, tmp_path / "first" / "last.ckpt")
    state = resumed.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.state_dict().items())
    assert state["timesteps.counts"].tolist() == [10, 10]  # timesteps were drawn by loss at the end
    loaded = load_method(tmp_path / "second" / "last.ckpt")
    assert isinstance(loaded, DDPM) and loaded.sampler == DDNM(2)  # rebuilt from plain values


def test_validation_is_cheap_says_so_before_fit_and_leaves_the_published_sampler_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    method = DDPM(**NARROW, validation_sampler=DDNM(3), validation_images=5)
    calls: list[int] = []
    handle = method.denoiser.register_forward_hook(lambda m, inputs, out: calls.append(len(inputs[0])))
    said: list[str] = []

    class First(L.Callback):
        def on_sanity_check_start(self, *_: Any) -> None:
            said.append(capsys.readouterr().err)

    run = trainer(tmp_path, max_epochs=1, limit_train_batches=1, callbacks=[First()], num_sanity_val_steps=1)
    run.fit(method, loader(), loader())
    assert "3 network calls per image, 5 images: 15 calls per validation" in said[0]
    # Sanity: error of 4 images, 3 calls for 4; a training step; then 4 + 4 errors, 3 calls for 4 and 3 for 1.
    assert calls == [4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 1, 1, 1]
    assert {"val/psnr", "val/simple", "train/loss", "train/simple", "train/vlb"} <= set(run.callback_metrics)
    assert method.validation_sampler.network_calls <= 50 and DDPM(**NARROW).validation_sampler.network_calls <= 50
    assert method.sampler == RePaint(250, 10, 10)
    calls.clear()
    run.validate(method, loader(), verbose=False)
    assert sum(calls) == 8 + 3 * 5
    method.sampler = DDNM(4)
    with caplog.at_level(logging.INFO, "lit_inpaint"):
        run.test(method, loader(), verbose=False)
    assert "4 network calls per image; known pixels are pasted at the end" in caplog.text
    handle.remove()


def test_fill_pastes_the_known_part_and_samples_are_keyed_by_image_not_by_batch() -> None:
    method = DDPM(**NARROW, sampler=DDNM(3)).eval()
    method.denoiser.load_state_dict(random_weights(method.denoiser, seed=4))
    photos = [Photos()[i] for i in range(3)]
    image, mask = torch.stack([p.image for p in photos]), torch.stack([p.mask for p in photos])
    together = method.sample(image, mask, n=2, seed=1, names=["a", "b", "c"])
    alone = method.sample(image[1:2], mask[1:2], n=2, seed=1, names=["b"])
    torch.testing.assert_close(together[:, 1:2], alone, atol=1e-4, rtol=0)
    known = (mask == 0).expand_as(image)
    assert torch.equal(together[0][known], image[known])
    assert (together[0] - together[1]).abs().max() > 0.05
    hidden = method.sample(torch.where(mask == 1, 0.5, image), mask, n=1, seed=1, names=["a", "b", "c"])
    assert torch.equal(hidden[0][(mask == 1).expand_as(image)], together[0][(mask == 1).expand_as(image)])


def test_the_conditional_form_sees_the_erased_image_and_the_mask() -> None:
    method = DDPM(**NARROW, conditional=True, sampler=DDNM(2)).eval()
    assert method.denoiser.input_blocks[0][0].in_channels == 7
    inputs: list[Tensor] = []
    method.denoiser.register_forward_hook(lambda m, given, out: inputs.append(given[0]))
    photo = Photos()[2]
    image, mask = photo.image[None], photo.mask[None]
    method(image, mask)
    assert torch.equal(inputs[0][:, 3:6], torch.where(mask == 1, 0, image)) and torch.equal(inputs[0][:, 6:], mask)
    t = torch.tensor([10])
    method._losses(image, mask, t, torch.zeros_like(image), None)
    torch.testing.assert_close(inputs[-1][:, :3], Diffusion.make().abar[10].sqrt().float() * image)
    assert torch.equal(inputs[-1][:, 3:6], torch.where(mask == 1, 0, image))


def test_a_class_is_given_or_drawn_an_image_and_cannot_be_trained_without_labels(tmp_path: Path) -> None:
    method = DDPM(**NARROW, num_classes=10, label=4, sampler=DDNM(1))
    labels: list[Tensor] = []
    method.denoiser.register_forward_hook(lambda m, given, out: labels.append(given[2]))
    image, mask = torch.zeros(2, 3, 16, 16), torch.ones(2, 1, 16, 16)
    method(image, mask)
    method.label = None
    method.sample(image, mask, n=1, names=["a", "b"])
    method.sample(image, mask, n=1, names=["b", "a"])
    assert labels[0].tolist() == [4, 4] and labels[1].tolist() == labels[2].tolist()[::-1]
    with pytest.raises(ValueError, match="carry no labels"):
        trainer(tmp_path, max_epochs=1).fit(method, loader())


def test_the_noise_level_and_the_predicted_noise_stay_in_float32_under_bfloat16() -> None:
    denoiser = DDPM(**NARROW).eval().denoiser
    denoiser.load_state_dict(random_weights(denoiser, seed=6))
    told = [m for n, m in denoiser.named_modules() if n == "time_embed" or n.endswith("emb_layers")]
    seen: list[torch.Tensor] = []
    for module in [*told, denoiser.input_blocks[0]]:
        module.register_forward_hook(lambda module, inputs, output: seen.append(output))
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([3, 990])
    with torch.no_grad():
        denoiser(x, t)
        exact, seen = seen, []
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = denoiser(x, t)
    assert len(seen) == len(told) + 1 > 4
    for ours, theirs in zip(seen, exact, strict=True):
        if ours.ndim == 4:  # the first convolution
            assert ours.dtype == torch.bfloat16
        else:
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert out.dtype == torch.float32 and (out != out.bfloat16().float()).float().mean() > 0.9


@pytest.mark.slow
def test_bf16_and_fp32_sample_the_same_distribution() -> None:
    method = DDPM(**NARROW, sampler=DDNM(4)).eval()
    method.denoiser.load_state_dict(random_weights(method.denoiser, seed=6))
    image = Photos()[0].image.expand(8, 3, 16, 16)
    mask = Photos()[0].mask.expand(8, 1, 16, 16)
    names = [str(i) for i in range(8)]
    exact = method.sample(image, mask, n=1, names=names)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = method.sample(image, mask, n=1, names=names)[0]
    assert rounded.dtype == torch.float32
    hole = (mask == 1).expand_as(image)
    # Rounding moves single samples; their mean and spread over 8 x 108 values must stay within the sampling error.
    error = 5 * exact[hole].std().item() / (8 * 108) ** 0.5
    assert rounded[hole].mean().item() == pytest.approx(exact[hole].mean().item(), abs=error)
    assert rounded[hole].std().item() == pytest.approx(exact[hole].std().item(), rel=0.05)


@pytest.mark.slow
@pytest.mark.xdist_group("ddp")
def test_two_processes_hold_the_same_weights_and_sample_what_one_process_samples(tmp_path: Path) -> None:
    processes.on_one_and_two(train_on, tmp_path)
    single, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    assert all(torch.equal(value, second["state"][name]) for name, value in first["state"].items())
    assert first["state"]["timesteps.counts"].sum() == 16  # each rank learned from the losses of both
    together = torch.empty_like(single["out"])
    together[0::2], together[1::2] = first["out"], second["out"]
    torch.testing.assert_close(together, single["out"], atol=1e-3, rtol=0)  # an 8-bit step is 8e-3
    assert first["val"]["val/psnr"] == second["val"]["val/psnr"]
