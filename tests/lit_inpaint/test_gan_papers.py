"""ContextEncoder, GLCIC and DeepFillV1: what discriminators see, losses in closed form, phases, resuming."""

import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from lit_inpaint.layers.local_crop import local_crop, random_corner
from lit_inpaint.losses.bce import bce_discriminator, bce_generator, bce_generator_minimax
from lit_inpaint.losses.wasserstein import gradient_penalty, wasserstein_discriminator, wasserstein_generator
from lit_inpaint.method import parameter_counts
from lit_inpaint.methods import GLCIC, ContextEncoder, DeepFillV1, DeepFillV2, PartialConv, Telea
from lit_inpaint.methods.context_encoder.method import MEAN_COLOUR
from lit_inpaint.methods.context_encoder.networks import ChannelwiseFullyConnected
from lit_inpaint.methods.deepfillv1.loss import spatial_discount
from lit_inpaint.methods.glcic.blend import blend
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch, composite
from tests.support.fitting import SMALL, batch_of, fit, samples, small


class Recorder(nn.Module):
    """Stands in for a discriminator and keeps what it was shown."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.seen: list[tuple[Tensor, ...]] = []

    def forward(self, *images: Tensor) -> Tensor:
        self.seen.append(tuple(x.detach().clone() for x in images))
        return self.network(*images)


def same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-6)


def differs(a: Tensor, b: Tensor) -> bool:
    return (a - b).abs().max().item() > 1e-3


# ---- networks --------------------------------------------------------------------------------------------------------


def test_default_networks_have_the_published_number_of_parameters():
    with torch.device("meta"):
        assert parameter_counts(ContextEncoder()) == {"generator": 71_130_531, "discriminator": 2_766_529}
        assert parameter_counts(ContextEncoder("random")) == {"generator": 71_196_259, "discriminator": 2_832_257}
        assert parameter_counts(GLCIC()) == {"generator": 6_072_131, "discriminator": 45_063_681}
        counts = {"generator": 3_601_542, "discriminator_global": 2_733_441, "discriminator_local": 4_339_329}
        assert parameter_counts(DeepFillV1()) == counts
        # AlexNet's pool5, section 3.1 of the Context Encoder: m n^4.
        assert sum(p.numel() for p in ChannelwiseFullyConnected(256, 6).parameters()) == 331_776


def test_channelwise_layer_mixes_positions_and_never_channels():
    layer = ChannelwiseFullyConnected(3, 4)
    x = torch.zeros(1, 3, 4, 4)
    x[0, 1, 2, 3] = 1
    out = layer(x)
    assert (out[0, [0, 2]] == 0).all()
    assert torch.equal(out[0, 1].flatten(), layer.weight[1, 2 * 4 + 3])


@pytest.mark.parametrize("cls", [ContextEncoder, GLCIC, DeepFillV1])
def test_the_image_is_made_in_float32_also_under_bfloat16(cls: type[InpaintingModule]):
    batch, model = batch_of(samples()), small(cls).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        prediction = model.predict(batch.image, batch.mask)
    assert prediction.dtype == torch.float32
    inside = prediction[(batch.mask == 1).expand_as(prediction)]
    assert (inside != inside.bfloat16().float()).float().mean() > 0.5


@pytest.mark.parametrize("cls", list(SMALL))
def test_padding_to_a_multiple_never_mirrors_the_true_hole_into_the_network(cls: type[InpaintingModule]):
    image = batch_of(samples(1)).image[..., :61, :53]
    mask = torch.zeros(1, 1, 61, 53)
    mask[..., 40:60, 32:52] = 1  # what the padding on the right and below mirrors
    model = small(cls).eval()
    with torch.no_grad():
        out, other = model(image, mask), model(torch.where(mask == 1, 0.9, image), mask)
    inside = (mask == 1).expand_as(out)
    torch.testing.assert_close(out[inside], other[inside])


# ---- losses ----------------------------------------------------------------------------------------------------------


def test_gradient_penalty_of_a_linear_discriminator_is_its_closed_form_with_and_without_a_mask():
    torch.manual_seed(0)
    weight = torch.randn(3, 8, 8)
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, 2:5, 1:4] = 1
    mask[1, :, 4:, 4:] = 1
    real, fake = torch.randn(2, 2, 3, 8, 8)

    def discriminator(x: Tensor) -> Tensor:
        return (x * weight).sum((1, 2, 3))

    assert gradient_penalty(discriminator, real, fake).item() == pytest.approx(
        (weight.norm().item() - 1) ** 2, rel=1e-5
    )
    norms = [(weight * m).norm().item() for m in mask]
    expected = sum((norm - 1) ** 2 for norm in norms) / 2
    assert gradient_penalty(discriminator, real, fake, mask).item() == pytest.approx(expected, rel=1e-5)


def test_gradient_penalty_of_a_quadratic_discriminator_is_taken_between_real_and_fake():
    real, fake, share = (
        torch.full((1, 1, 1, 2), 1.0),
        torch.full((1, 1, 1, 2), 3.0),
        torch.tensor(0.25).view(1, 1, 1, 1),
    )
    # D(x) = sum(x^2) / 2 has the gradient x, which is 1.5 in both pixels a quarter of the way.
    penalty = gradient_penalty(lambda x: x.square().sum((1, 2, 3)) / 2, real, fake, share=share)
    assert penalty.item() == pytest.approx((1.5 * math.sqrt(2) - 1) ** 2, rel=1e-6)


def test_gradient_penalty_reaches_the_discriminator_s_weights_stays_float32_and_is_finite_without_a_hole():
    discriminator = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(4 * 36, 1))
    real, fake = torch.randn(2, 2, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        penalty = gradient_penalty(discriminator, real, fake, torch.zeros(2, 1, 8, 8))
    assert penalty.dtype == torch.float32 and penalty.item() == pytest.approx(1, abs=1e-6)
    (penalty + gradient_penalty(discriminator, real, fake)).backward()
    gradient = discriminator[0].weight.grad  # type: ignore[union-attr]
    assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0  # type: ignore[arg-type, union-attr]


@pytest.mark.parametrize(
    ("discriminator_loss", "generator_loss"),
    [
        (bce_discriminator, bce_generator),
        (bce_discriminator, bce_generator_minimax),
        (wasserstein_discriminator, wasserstein_generator),
    ],
)
def test_one_generator_step_lowers_the_discriminator_s_suspicion_and_one_discriminator_step_raises_it(
    discriminator_loss, generator_loss
):
    torch.manual_seed(0)
    discriminator, fake = nn.Linear(6, 1), torch.randn(4, 6)
    real = torch.randn(4, 6)
    step = fake.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(generator_loss(discriminator(step)), step)
    assert discriminator(fake - 0.1 * gradient).mean() > discriminator(fake).mean()  # looks more real

    before = (discriminator(real).mean() - discriminator(fake).mean()).item()
    discriminator_loss(discriminator(real), discriminator(fake)).backward()
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter -= 0.1 * parameter.grad  # type: ignore[operator]
    assert (discriminator(real).mean() - discriminator(fake).mean()).item() > before


def test_spatial_discount_has_the_official_mean():
    discount = spatial_discount(128)
    assert discount.mean().item() == pytest.approx(0.2529, abs=5e-5)
    assert discount[64, 64].item() == pytest.approx(0.9**64, rel=1e-5)
    assert (discount[0] == 1).all() and discount[-1, 5:-5].unique().item() == pytest.approx(0.9)


def test_local_crop_is_centred_on_each_hole_and_clamped():
    mask = torch.zeros(3, 1, 20, 30)
    mask[0, :, 8:12, 10:14] = 1
    mask[1, :, 0:2, 28:30] = 1  # at the corner; the third has none
    image = torch.arange(600.0).view(1, 1, 20, 30).expand(3, 1, 20, 30)
    crop = local_crop(image, mask, 8)
    for i, (top, left) in enumerate([(6, 8), (0, 22), (6, 11)]):
        assert torch.equal(crop[i], image[i, :, top : top + 8, left : left + 8])


# ---- ContextEncoder --------------------------------------------------------------------------------------------------


def test_context_encoder_s_discriminator_sees_the_raw_square_with_its_band_and_never_the_context():
    items = samples()
    image = batch_of(items).image
    model = small(ContextEncoder)
    patch = model.generator(model._blank(image)).detach()  # batch norms in training mode, as in the step
    model.discriminator = Recorder(model.discriminator)
    fit(model, items, 1)
    (real,), (fake,) = model.discriminator.seen  # the generator's loss is that of the same output
    assert torch.equal(real, image[..., 16:48, 16:48])
    torch.testing.assert_close(fake, patch)


def test_context_encoder_of_random_regions_shows_the_whole_raw_prediction():
    items = samples()
    model = small(ContextEncoder, region="random")
    model.discriminator = Recorder(model.discriminator)
    fit(model, items, 1)
    (real,), (fake,) = model.discriminator.seen
    image, mask, _ = batch_of(items)
    assert torch.equal(real, image)
    assert differs(fake * (1 - mask), image * (1 - mask))


def test_context_encoder_s_losses_are_those_of_the_official_program():
    items = samples()
    image = batch_of(items).image
    model = small(ContextEncoder)
    difference = (model.generator(model._blank(image)).detach() - image[..., 16:48, 16:48]).square()
    weights = torch.full((32, 32), 10.0)
    weights[2:30, 2:30] = 1  # the band of 2 px counts ten times, the mean stays that of all elements
    logged = fit(model, items, 1).callback_metrics
    assert logged["train/l2"].item() == pytest.approx(difference.mean().item(), rel=1e-5)
    expected = 0.999 * (difference * weights).mean().item() + 0.001 * logged["train/adversarial"].item()
    assert logged["train/generator_loss"].item() == pytest.approx(expected, rel=1e-5)


def test_context_encoder_blanks_the_inner_square_in_the_authors_colour():
    image = torch.rand(1, 3, 128, 128)
    with torch.device("meta"):
        model = ContextEncoder()
    blank = model._blank(image)
    for channel, value in enumerate((117, 104, 123)):
        assert ((blank[0, channel, 36:92, 36:92] + 1) * 127.5 - value).abs().max() < 1e-4
    outside = torch.ones(128, 128, dtype=torch.bool)
    outside[36:92, 36:92] = False
    assert torch.equal(blank[..., outside], image[..., outside])


def test_context_encoder_fills_an_off_centre_hole_by_moving_it_to_the_centre():
    model = small(ContextEncoder).eval()
    image = batch_of(samples(1)).image
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 2:22, 40:60] = 1
    moved = torch.tensor(MEAN_COLOUR).view(3, 1, 1).expand(3, 64, 64).clone()
    moved[:, 16:, :50] = image[0, :, :48, 14:]  # rows 18-38, columns 26-46 lie in the square 18-46
    expected = model.generator(model._blank(moved[None]))[0]
    out = model(image, mask)[0]
    torch.testing.assert_close(out[:, 2:22, 40:60], expected[:, 2:22, 10:30])
    assert model.adaptation(mask[0]) == "moved so that the hole lies at the centre"


def test_context_encoder_refuses_what_its_centre_cannot_hold_and_says_what_to_do():
    model = small(ContextEncoder)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 10:50, 10:50] = 1
    with pytest.raises(ValueError, match=r"40x40 px of 64.*at most 28x28.*region='random'"):
        model(torch.zeros(1, 3, 64, 64), mask)
    with pytest.raises(ValueError, match="CenterRectangle of 28/64"):
        fit(model, [InpaintingBatch(torch.zeros(3, 64, 64), mask[0], "")] * 2, 1)


def test_context_encoder_without_adversarial_weight_has_no_discriminator_and_learns_by_l2_alone():
    model = small(ContextEncoder, adversarial_weight=0)
    assert not hasattr(model, "discriminator")
    logged = fit(model, samples(), 2).callback_metrics
    assert "train/discriminator_loss" not in logged and model.generator_updates == 2


# ---- GLCIC -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "second_mask"), [("paper", 1), ("mmagic", 0)])
def test_glcic_s_discriminator_sees_the_composite_and_the_real_crop_lies_where_its_variant_says(variant, second_mask):
    items = samples()
    image, mask, _ = batch_of(items)
    model = small(GLCIC, variant=variant, completion_steps=0, discriminator_steps=1)
    expected = composite(model.predict(image, mask).detach(), image, mask)
    model.discriminator = Recorder(model.discriminator)
    fit(model, items, 1)
    (fake, fake_crop), (real, real_crop) = model.discriminator.seen
    assert torch.equal(real, image)
    assert torch.equal(real_crop, local_crop(image, mask.flip(0) if second_mask else mask, 32))
    assert differs(local_crop(image, mask, 32), local_crop(image, mask.flip(0), 32))
    torch.testing.assert_close(fake, expected)
    torch.testing.assert_close(fake_crop, local_crop(expected, mask, 32))


def test_glcic_s_otenim_discriminator_sees_the_raw_output_in_unit_range_and_a_square_of_it_around_the_hole():
    items = samples()
    image, mask, _ = batch_of(items)
    model = small(GLCIC, variant="otenim", completion_steps=0, discriminator_steps=1)
    expected = (model.predict(image, mask).detach() + 1) / 2
    model.discriminator = Recorder(model.discriminator)
    fit(model, items, 1)
    (fake, fake_crop), (real, real_crop) = model.discriminator.seen
    torch.testing.assert_close(real, (image + 1) / 2)
    torch.testing.assert_close(fake, expected)
    for i in range(len(items)):
        places = [(y, x) for y in range(33) for x in range(33)]
        around = [p for p in places if mask[i, 0, p[0] : p[0] + 32, p[1] : p[1] + 32].sum() == mask[i].sum()]
        assert any(same(fake_crop[i], expected[i, :, y : y + 32, x : x + 32]) for y, x in around)
        assert any(same(real_crop[i], (image[i, :, y : y + 32, x : x + 32] + 1) / 2) for y, x in places)


@pytest.mark.parametrize("size", [8, 3, 12])
def test_a_random_square_lies_evenly_over_all_places_that_contain_the_hole(size: int):
    mask = torch.zeros(20_000, 1, 12, 20)
    mask[:, :, 2:6, 5:9] = 1  # rows 2-5, columns 5-8
    torch.manual_seed(0)
    tops, lefts = random_corner(mask, size)
    rows = {8: range(0, 3), 3: range(2, 4), 12: range(0, 1)}[size]  # 3 px lie inside the hole
    columns = {8: range(1, 6), 3: range(5, 7), 12: range(0, 6)}[size]
    for drawn, allowed in ((tops, rows), (lefts, columns)):
        counts = torch.bincount(drawn, minlength=20)
        expected = len(drawn) / len(allowed)
        assert counts.sum() == counts[allowed.start : allowed.stop].sum()
        assert (counts[allowed.start : allowed.stop] - expected).abs().max() < 5 * expected**0.5
    tops, lefts = random_corner(torch.zeros(20_000, 1, 12, 20), 8)  # without a hole: anywhere
    assert tops.unique().tolist() == list(range(5)) and lefts.unique().tolist() == list(range(13))


def test_glcic_trains_completion_then_discriminator_then_both():
    model, items = small(GLCIC, completion_steps=2, discriminator_steps=1), samples()
    changed = []

    class Watch(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *args: Any) -> None:
            self.before = {name: p.detach().clone() for name, p in module.named_parameters()}

        def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *args: Any) -> None:
            names = {
                name.split(".")[0] for name, p in module.named_parameters() if not torch.equal(p, self.before[name])
            }
            changed.append(sorted(names))

    fit(model, items, 4, callbacks=[Watch()])
    assert changed == [["generator"], ["generator"], ["discriminator"], ["discriminator", "generator"]]
    assert model.generator_updates == 3


def test_glcic_s_completion_loss_counts_the_hole_alone_in_unit_range():
    items = samples()
    image, mask, _ = batch_of(items)
    model = small(GLCIC)
    error = (model.predict(image, mask).detach() - image) / 2
    logged = fit(model, items, 1).callback_metrics
    assert logged["train/completion"].item() == pytest.approx((error.square() * mask).mean().item(), rel=1e-5)


def test_glcic_fills_the_hole_with_its_variant_s_colour_before_the_network():
    image, mask, _ = batch_of(samples())
    seen: list[Tensor] = []
    for variant in ("paper", "otenim", "mmagic"):
        model = small(GLCIC, variant=variant, mean=(0.5, 0.25, 0.125))
        model.generator.layers[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        model.predict(image, mask)
    known = mask == 0
    mean = torch.tensor([0.5, 0.25, 0.125]).view(3, 1, 1)
    for x, expected, hole in zip(seen, ((image + 1) / 2 - mean, (image + 1) / 2, image), (0, mean, 0), strict=True):
        torch.testing.assert_close(x[:, :3], torch.where(known, expected, torch.as_tensor(hole).expand(3, 64, 64)))
        assert torch.equal(x[:, 3:], mask)


def test_glcic_blends_without_reading_the_true_hole():
    image, mask, _ = batch_of(samples())
    image = torch.nn.functional.avg_pool2d(image, 9, 1, 4)
    mask[1, :, :8, :20] = 1  # touches the border
    model = small(GLCIC, blend=True).eval()
    with torch.no_grad():
        out = model(image, mask)
        other = model(torch.where(mask == 1, -0.3, image), mask)
        plain = small(GLCIC).eval()(image, mask)
    inside = (mask == 1).expand_as(out)
    assert torch.equal(out[inside], other[inside])
    assert torch.equal(out[~inside], image[~inside])
    assert differs(out[inside], plain[inside])


def test_blending_leaves_no_seam_where_the_network_is_off_by_a_constant():
    ramp = torch.linspace(-0.5, 0.5, 64).expand(1, 3, 64, 64).contiguous()
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 0:30, 20:44] = 1  # touches the upper border, where a careless clone is shifted
    out = blend(torch.where(mask == 1, ramp + 0.3, ramp), mask)
    assert (out - ramp)[..., 5:25, 25:40].abs().max() < 0.1
    torch.testing.assert_close(out[mask.expand_as(out) == 0], ramp[mask.expand_as(out) == 0], atol=0, rtol=0)


@pytest.mark.parametrize("box", [(1, 1), (1, 9), (2, 2), (9, 2), (3, 3), (6, 20)])
@pytest.mark.parametrize("corner", [(20, 30), (0, 0), (58, 44)])
def test_blending_fills_holes_thinner_than_seven_pixels_as_telea_does(box: tuple[int, int], corner: tuple[int, int]):
    image, mask = batch_of(samples(1)).image, torch.zeros(1, 1, 64, 64)
    mask[..., corner[0] : corner[0] + box[0], corner[1] : corner[1] + box[1]] = 1
    out, other = (blend(torch.where(mask == 1, made, image), mask) for made in (torch.tensor(0.9), -image))
    # A clone solves anew for what Telea's gradients are already those of: a grey level of rounding.
    torch.testing.assert_close(out, other, rtol=0, atol=0.008)
    if corner == (20, 30):  # elsewhere the border is repeated beyond the image
        torch.testing.assert_close(out, Telea(radius=1)(image, mask), rtol=0, atol=0.008)


# ---- DeepFill v1 -----------------------------------------------------------------------------------------------------


def test_deepfillv1_s_discriminators_see_the_composite_and_its_crop():
    items = samples()
    image, mask, _ = batch_of(items)
    model = small(DeepFillV1)
    completed = composite(model.predict(image, mask), image, mask).detach()
    model.discriminator_global = Recorder(model.discriminator_global)
    model.discriminator_local = Recorder(model.discriminator_local)
    fit(model, items, 1)
    ((pair,), *_), ((crops,), *_) = model.discriminator_global.seen, model.discriminator_local.seen
    torch.testing.assert_close(pair, torch.cat([image, completed]))
    torch.testing.assert_close(crops, torch.cat([local_crop(image, mask, 32), local_crop(completed, mask, 32)]))


def test_deepfillv1_trains_its_discriminators_five_times_before_each_generator_step():
    model = small(DeepFillV1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    fit(model, samples(), 5)
    changed = {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"discriminator_global", "discriminator_local"} and model.generator_updates == 0
    model = small(DeepFillV1, discriminator_updates=1)
    fit(model, samples(), 5)
    assert model.generator_updates == 2


def test_deepfillv1_s_generator_losses_are_the_official_ones():
    items = samples()
    image, mask, _ = batch_of(items)
    model = small(DeepFillV1, discriminator_updates=0)
    coarse, refined = (x.detach() for x in model.generator(image * (1 - mask), mask))
    logged = fit(model, items, 1).callback_metrics
    discount, hole, known = spatial_discount(32), 0.0, 0.0
    for weight, output in ((1.2, coarse), (1.0, refined)):
        error = (output - image).abs()
        hole += weight * (local_crop(error, mask, 32) * discount).mean().item()
        # both masks have nearly one area; the share is that of each image
        shares = (1 - mask).mean((1, 2, 3))
        known += weight * ((error * (1 - mask)).mean((1, 2, 3)) / shares).mean().item()
    assert logged["train/hole"].item() == pytest.approx(hole, rel=1e-5)
    assert logged["train/known"].item() == pytest.approx(known, rel=1e-5)
    expected = 1.2 * hole + 1.2 * known + 0.001 * logged["train/adversarial"].item()
    assert logged["train/generator_loss"].item() == pytest.approx(expected, rel=1e-4)


def test_deepfillv1_s_refinement_teaches_the_coarse_network_too():
    image, mask, _ = batch_of(samples())
    model = small(DeepFillV1)
    model.generator(image * (1 - mask), mask)[1].square().mean().backward()
    gradient = model.generator.conv1.weight.grad
    assert gradient is not None and gradient.abs().sum() > 0


# ---- resuming --------------------------------------------------------------------------------------------------------

RESUMED = [
    pytest.param(GLCIC, {"completion_steps": 2, "discriminator_steps": 2}, 1, id="GLCIC in phase 1"),
    pytest.param(GLCIC, {"completion_steps": 2, "discriminator_steps": 2}, 3, id="GLCIC in phase 2"),
    pytest.param(GLCIC, {"completion_steps": 2, "discriminator_steps": 2}, 5, id="GLCIC in phase 3"),
    pytest.param(
        GLCIC, {"completion_steps": 1, "discriminator_steps": 1, "variant": "otenim"}, 4,
        id="GLCIC otenim, whose gradients enter the next step",
    ),
    pytest.param(PartialConv, {"stage": 1}, 2, id="PartialConv in stage 1"),
    pytest.param(PartialConv, {"stage": 2, "learning_rate": 5e-5}, 2, id="PartialConv in stage 2"),
    pytest.param(ContextEncoder, {}, 2, id="ContextEncoder"),
    pytest.param(DeepFillV1, {"discriminator_updates": 2}, 2, id="DeepFillV1 before its generator step"),
]  # fmt: skip


@pytest.mark.parametrize(("cls", "arguments", "at"), RESUMED)
def test_a_resumed_run_continues_bit_for_bit(
    cls: type[InpaintingModule], arguments: dict[str, Any], at: int, tmp_path: Path
):
    L.seed_everything(5, verbose=False)
    whole = small(cls, **arguments)
    finished = fit(whole, samples(), at + 2)
    L.seed_everything(5, verbose=False)
    fit(small(cls, **arguments), samples(), at).save_checkpoint(tmp_path / "half.ckpt")
    torch.manual_seed(99)
    resumed = cls(**(SMALL[cls] | arguments))
    again = fit(resumed, samples(), at + 2, ckpt_path=tmp_path / "half.ckpt")
    assert again.global_step == finished.global_step == at + 2
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())
    assert resumed.generator_updates == whole.generator_updates


@pytest.mark.parametrize("method", [DeepFillV1, DeepFillV2])
def test_a_variant_that_is_none_is_refused_with_those_that_are(method: Any):
    with pytest.raises(ValueError, match=r"variant is 'torch'; expected one of official, .*mmagic"):
        method(variant="torch")
