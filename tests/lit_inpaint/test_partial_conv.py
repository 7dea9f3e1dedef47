"""Partial convolutions: the layer, the losses and the two stages of Liu et al. 2018."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lit_inpaint.layers.partial_conv import PartialConv2d
from lit_inpaint.losses.perceptual import VGG16Features, gram, perceptual, style
from lit_inpaint.method import parameter_counts
from lit_inpaint.methods.partial_conv import PartialConv
from lit_inpaint.methods.partial_conv.loss import hole_total_variation
from masks.convention import composite
from tests.support.fitting import fit, items_of
from tests.support.published import float64

SMALL = {"levels": 4, "width": 8, "perceptual_weight": 0, "style_weight": 0}


def image_and_mask(size: int = 64, batch: int = 2) -> tuple[Tensor, Tensor]:
    image = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mask = torch.zeros(batch, 1, size, size)
    for i in range(batch):
        mask[i, :, 10 + i : 40, 20 : 50 + i] = 1
    return image, mask


def test_default_networks_have_the_published_number_of_parameters():
    with torch.device("meta"):
        assert parameter_counts(PartialConv()) == {"generator": 32_859_796}
        assert parameter_counts(PartialConv(levels=7)) == {"generator": 25_779_860}


def test_partial_conv_ignores_what_lies_in_the_hole():
    torch.manual_seed(0)
    layer = PartialConv2d(3, 8, kernel_size=3, padding=1)
    image, mask = image_and_mask()
    noisy = torch.where(mask == 1, torch.randn_like(image), image)
    torch.testing.assert_close(layer([noisy], [1 - mask])[0], layer([image], [1 - mask])[0], atol=0, rtol=0)


def test_the_whole_network_ignores_what_lies_in_the_hole():
    image, mask = image_and_mask()
    network = PartialConv(**SMALL).generator.eval()
    noisy = torch.where(mask == 1, torch.randn_like(image), image)
    assert torch.equal(network(noisy, 1 - mask), network(image, 1 - mask))


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(7, 2, 3), (3, 1, 1), (5, 2, 2)])
def test_two_sources_equal_a_multi_channel_mask_in_float64(kernel: int, stride: int, padding: int):
    torch.manual_seed(1)
    layer = PartialConv2d(8, 4, kernel, stride, padding).double()
    a, b = torch.randn(2, 5, 20, 22).double(), torch.randn(2, 3, 20, 22).double()
    known_a, known_b = (torch.rand(2, 2, 1, 20, 22) > 0.9).double()
    known_a[:, :, :10] = 0
    known_b[:, :, :9] = 0
    # Section 3.1, word for word, with one mask value for every feature.
    known = torch.cat([known_a.expand_as(a), known_b.expand_as(b)], 1)
    count = F.conv2d(known, torch.ones_like(layer.weight[:1]), None, stride, padding)
    raw = F.conv2d(torch.cat([a, b], 1) * known, layer.weight, None, stride, padding)
    assert layer.bias is not None
    expected = torch.where(count > 0, raw * (8 * kernel**2) / count.clamp(min=1) + layer.bias.view(1, -1, 1, 1), 0)
    with float64():
        out, mask = layer([a, b], [known_a, known_b])
    torch.testing.assert_close(out, expected)
    assert torch.equal(mask.double(), (count > 0).double())
    assert 0 < mask.mean() < 1


def test_a_constant_stays_constant_whatever_is_known_and_the_first_version_divides_by_the_count():
    image, mask = torch.full((1, 2, 8, 8), 3.0), torch.zeros(1, 1, 8, 8)
    mask[..., 2, 2:4] = 1  # two known pixels
    for variant, expected in (("paper", 3.0 * 18), ("first_version", 3.0)):
        layer = PartialConv2d(2, 1, 3, padding=1, bias=False, variant=variant)  # type: ignore[arg-type]
        torch.nn.init.ones_(layer.weight)
        out, known = layer([image], [mask])
        torch.testing.assert_close(out[known == 1], torch.full((12,), expected))  # rows 1-3, columns 1-4
        assert (out[known == 0] == 0).all()


def test_total_variation_counts_pairs_inside_the_dilated_hole_only():
    mask = torch.zeros(1, 1, 9, 9)
    mask[..., 4, 4] = 1
    image = torch.zeros(1, 1, 9, 9)
    image[..., :, 6:] = 5.0  # an edge just outside of the 3x3 region
    assert hole_total_variation(image, mask) == 0
    image[..., :, 5:] = 5.0  # now between its second and third column, on three rows
    assert hole_total_variation(image, mask).item() == pytest.approx(3 * 5 / 81)


def test_gram_and_style_are_those_of_a_loop_in_float64():
    torch.manual_seed(0)
    a, b = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    expected = 0.0
    for x, y in zip(a.double(), b.double(), strict=True):
        for i in range(3):
            for j in range(3):
                expected += abs((x[i] * x[j]).sum().item() - (y[i] * y[j]).sum().item()) / (3 * 4 * 5)
    assert style([a], [b]).item() == pytest.approx(expected / (2 * 9), rel=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert gram(a.bfloat16()).dtype == torch.float32


def test_vgg_is_read_at_first_use_takes_no_gradient_and_is_in_no_state_dict(weights_dir):
    model = PartialConv(levels=3, width=4)
    assert model.features._network is None
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    features = model.features(image)
    assert [tuple(f.shape[1:]) for f in features] == [(64, 16, 16), (128, 8, 8), (256, 4, 4)]  # pool1, pool2, pool3
    perceptual(features, [torch.zeros_like(f) for f in features]).backward()
    assert image.grad is not None and image.grad.abs().sum() > 0
    network = model.features._network
    assert network is not None and all(p.grad is None for p in network.parameters())
    assert not any("features" in name for name in model.state_dict())


def test_vgg_features_are_torchvision_s(weights_dir):
    import torchvision

    with torch.device("meta"):
        theirs = torchvision.models.vgg16().features.eval()
    state = torch.load(weights_dir / "vgg16_features.pth", weights_only=True)
    theirs.load_state_dict({name.removeprefix("features."): value for name, value in state.items()}, assign=True)
    image = image_and_mask(32)[0] / 2 + 0.5
    normalised = torchvision.transforms.functional.normalize(image, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for index, features in zip((4, 9, 16), VGG16Features()(image), strict=True):
        torch.testing.assert_close(features, theirs[: index + 1](normalised), atol=1e-4, rtol=1e-4)


def test_training_step_is_equation_seven_on_images_in_unit_range(weights_dir):
    image, mask = image_and_mask(32)
    model = PartialConv(levels=3, width=4)
    with torch.no_grad():  # in training mode, as the step sees it
        output = (model.predict(image, mask) + 1) / 2
    logged = fit(model, items_of(image, mask)).callback_metrics
    truth = (image + 1) / 2
    completed = composite(output, truth, mask)
    n = truth.numel()
    expected = {
        "train/valid": ((output - truth).abs() * (1 - mask)).sum() / n,
        "train/hole": ((output - truth).abs() * mask).sum() / n,
        "train/tv": hole_total_variation(completed, mask),
    }
    vgg = VGG16Features()
    of = {name: vgg(x) for name, x in (("output", output), ("completed", completed), ("truth", truth))}
    expected["train/perceptual"] = sum(
        (of[name][p] - of["truth"][p]).abs().mean() for name in ("output", "completed") for p in range(3)
    )  # type: ignore[assignment]
    expected["train/style"] = sum(
        (gram(of[name][p]) - gram(of["truth"][p])).abs().mean() for name in ("output", "completed") for p in range(3)
    )  # type: ignore[assignment]
    weights = {"valid": 1, "hole": 6, "perceptual": 0.05, "style": 120, "tv": 0.1}
    for name, value in expected.items():
        assert logged[name].item() == pytest.approx(value.item(), rel=1e-4), name
    total = sum(weight * expected[f"train/{name}"].item() for name, weight in weights.items())
    assert logged["train/loss"].item() == pytest.approx(total, rel=1e-4)


def test_the_image_is_made_in_float32_also_under_bfloat16():
    image, mask = image_and_mask()
    model = PartialConv(**SMALL).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        prediction = model.predict(image, mask)
    assert prediction.dtype == torch.float32
    assert not torch.equal(prediction, prediction.bfloat16().float())


def test_stage_two_freezes_the_encoder_s_norms_and_nothing_else():
    model = PartialConv(stage=2, learning_rate=1e-2, **SMALL)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit(model, items_of(*image_and_mask()), steps=2)
    same = {name for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    norms = {name for name in before if name.startswith("generator.encoder") and ".norm." in name}
    assert norms and norms <= same
    assert not {name for name in same - norms if "num_batches" not in name}
    model.eval().train()
    assert not any(m.training for m in model.generator.encoder.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert all(m.training for m in model.generator.decoder.modules() if isinstance(m, torch.nn.BatchNorm2d))
