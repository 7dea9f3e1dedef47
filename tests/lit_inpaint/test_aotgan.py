"""AOT-GAN: its blocks and losses against the published program, the three label rules, and one photograph to learn."""

import hashlib
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint import backbones
from lit_inpaint.checkpoint_io import AtomicCheckpointIO
from lit_inpaint.discriminators import FixedVectorSpectralConv2d
from lit_inpaint.losses.perceptual import VGG19Features, gram, style
from lit_inpaint.method import parameter_counts
from lit_inpaint.methods import AOTGAN
from lit_inpaint.methods.aotgan import weights
from lit_inpaint.methods.aotgan.loss import smgan_discriminator, smgan_generator, soften
from lit_inpaint.methods.aotgan.networks import AOTBlock, standardise
from masks.convention import composite
from tests.support import processes
from tests.support.aotgan import SMALL, WITHOUT_VGG, small, train_on
from tests.support.fitting import fit, items_of, random_input
from tests.support.overfit import assert_learns, square
from tests.support.published import assert_probe, assert_published, assert_sum, float64, random_state


def wide(tensors: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    image, mask = tensors
    return image.double(), mask.double()


def gradients_of_a_step(model: AOTGAN, image: Tensor, mask: Tensor, **arguments: Any) -> dict[str, Tensor]:
    """By the name of the parameter, each before its own optimiser steps."""
    gradients: dict[str, Tensor] = {}

    class Gradients(L.Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            own = {id(p) for group in optimizer.param_groups for p in group["params"]}
            gradients.update({k: p.grad.clone() for k, p in pl_module.named_parameters() if id(p) in own})

    fit(model, items_of(image, mask), callbacks=[Gradients()], **arguments)
    return gradients


# ---- VGG19 -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def random_vgg19(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """A VGG19 of random weights in the cache of torch hub, in torchvision's layout, where the real one would lie."""
    generator, state, inputs = torch.Generator().manual_seed(0), {}, 3
    channels = iter([64] * 2 + [128] * 2 + [256] * 4 + [512] * 8)
    for index in (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34):
        outputs = next(channels)
        weight = torch.randn(outputs, inputs, 3, 3, generator=generator) * (2 / (9 * inputs)) ** 0.5
        state[f"features.{index}.weight"] = weight
        state[f"features.{index}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
        inputs = outputs
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(state, folder / "vgg19.pth")
    digits = hashlib.sha256((folder / "vgg19.pth").read_bytes()).hexdigest()[:8]
    (folder / "vgg19.pth").rename(folder / f"vgg19-{digits}.pth")
    known = backbones.BACKBONES["vgg19"]._replace(sha256=digits, hub_file=f"vgg19-{digits}.pth")
    monkeypatch.setitem(backbones.BACKBONES, "vgg19", known)
    monkeypatch.delenv("LIT_INPAINT_WEIGHTS", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return state


def test_vgg19_in_the_cache_of_torch_hub_gives_the_features_of_torchvision_s_network(random_vgg19):
    import torchvision

    with torch.device("meta"):
        theirs = torchvision.models.vgg19().features.eval()
    theirs.load_state_dict({name.removeprefix("features."): x for name, x in random_vgg19.items()}, assign=True)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    normalised = torchvision.transforms.functional.normalize(image, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for given, features in ((True, normalised), (False, image)):
        for index, ours in zip((1, 8, 17, 31), VGG19Features((1, 8, 17, 31), normalise=given)(image), strict=True):
            torch.testing.assert_close(ours, theirs[: index + 1](features), atol=1e-4, rtol=1e-4)


def test_a_vgg19_that_is_another_file_or_is_missing_is_refused(random_vgg19, tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_INPAINT_WEIGHTS", str(tmp_path))
    (tmp_path / "vgg19-dcbb9e9d.pth").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"expected .*: replace the file"):
        VGG19Features((1,))(torch.zeros(1, 3, 16, 16))
    (tmp_path / "vgg19-dcbb9e9d.pth").unlink()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "empty"))
    with pytest.raises(backbones.BackboneMissingError, match=r"vgg19-dcbb9e9d\.pth .* Do without."):
        VGG19Features((1,)).require("Do without.")


# ---- the discriminator
# ------------------------------------------------------------------------------------------------------


def test_spectral_norm_with_fixed_vectors_is_torch_s_own_over_steps_and_in_evaluation():
    torch.manual_seed(0)
    ours = FixedVectorSpectralConv2d(3, 5, 4, 2, padding=1, bias=False)
    theirs = nn.Conv2d(3, 5, 4, 2, padding=1, bias=False)
    theirs.load_state_dict({"weight": ours.weight})
    torch.nn.utils.spectral_norm(theirs)
    theirs.weight_u.copy_(ours.u)
    theirs.weight_v.copy_(ours.v)
    for _ in range(3):  # two forward passes per step, as a discriminator and then its generator make them
        x, y = torch.randn(2, 2, 3, 8, 8)
        for layer in (ours, theirs):
            layer.zero_grad()
            (layer(x).square().mean() + layer(y).mean()).backward()
        torch.testing.assert_close(ours(x), theirs(x))
        torch.testing.assert_close(ours.weight.grad, theirs.weight_orig.grad)
        with torch.no_grad():
            for weight in (ours.weight, theirs.weight_orig):
                weight -= 0.1 * weight.grad
    before = ours.u.clone()
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    assert torch.equal(ours.u, before)


# ---- the published programs ------------------------------------------------------------------------------------------

# Printed by github.com/researchmm/AOT-GAN-for-Inpainting at 2cd1afd8, in float64 (its gate multiplies rounding errors
# by hundreds), loaded with random_state of its own names and shapes: twelve pixels of the generator's output and the
# sum. Seed 0; 72x88 whole; 71x89 reflected to 72x92, of the output the holes alone. Evaluation and training mode alike.
OFFICIAL = {
    (72, 88): [
        -0.446726232, 0.585353724, 0.608922923, 0.003269062, -0.803265774, -0.503457031, -0.356334541, -0.159550166,
        0.713685124, -0.347775694, -0.437364959, -0.733725892, -4025.998756392
    ],
    (71, 89): [
        -0.578082935, -0.81709387, -0.510583216, 0.423569907, 0.933816842, -0.950913493, -0.731280682, -0.866065624,
        0.976353871, 0.989364658, 0.856118667, -0.957000083, -647.670686503
    ],
}  # fmt: skip
# Its discriminator, seed 1, vectors normalised: one pass in training mode, then one more and a pass in evaluation mode.
DISCRIMINATOR = {
    "train": [
        0.055813411, -0.031599511, 0.06246657, -0.024725588, -0.019056125, 0.051355436, 0.060702405, -0.041876187,
        0.063485384, 0.162101179, -0.15711115, -0.128575713, 1.150406493
    ],
    "eval": [
        0.060658785, 0.00062644, 0.065227958, 0.005347226, 0.009240828, 0.057597193, 0.064016386, -0.006431247,
        0.065927645, 0.133653759, -0.085570862, -0.065973655, 3.603383812
    ],
}  # fmt: skip
# github.com/open-mmlab/mmagic at 0a560bba: AOTEncoder, AOTBlockNeck, AOTDecoder one after the other, seed 4.
MMAGIC = [
    0.42153, -0.653501, 0.500479, -0.049107, 0.364474, 0.81241, 0.22434, 0.918594, -0.648764, -0.839037, 0.498656,
    0.332257, 5435.85115
]  # fmt: skip


def official_state(seed: int, blocks: int = 8) -> dict[str, Tensor]:
    """A random G*.pt: the names and shapes stand here apart from those that weights.py knows."""
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, outputs: int, inputs: int, kernel: int = 3) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs, kernel, kernel), (outputs,)

    layer("encoder.1", 64, 4, 7)
    layer("encoder.3", 128, 64, 4)
    layer("encoder.5", 256, 128, 4)
    for block in range(blocks):
        for i in range(4):
            layer(f"middle.{block}.block0{i}.1", 64, 256)
        layer(f"middle.{block}.fuse.1", 256, 256)
        layer(f"middle.{block}.gate.1", 256, 256)
    layer("decoder.0.conv", 128, 256)
    layer("decoder.2.conv", 64, 128)
    layer("decoder.4", 3, 64)
    return random_state(shapes, seed)


def official_discriminator_state(seed: int) -> dict[str, Tensor]:
    """A random D*.pt."""
    shapes: dict[str, tuple[int, ...]] = {"conv.8.weight": (1, 512, 4, 4), "conv.8.bias": (1,)}
    for number, (inputs, outputs) in enumerate(((3, 64), (64, 128), (128, 256), (256, 512))):
        shapes[f"conv.{2 * number}.weight_orig"] = (outputs, inputs, 4, 4)
        shapes[f"conv.{2 * number}.weight_u"], shapes[f"conv.{2 * number}.weight_v"] = (outputs,), (inputs * 16,)
    state = random_state(shapes, seed)
    return {k: F.normalize(x, dim=0) if k.endswith(("_u", "_v")) else x for k, x in state.items()}


def mmagic_state(seed: int) -> dict[str, Tensor]:
    names = {"encoder.1": "encoder.encoder.1", "encoder.3": "encoder.encoder.2", "encoder.5": "encoder.encoder.3"}
    names |= {"decoder.0.conv": "decoder.decoder.0", "decoder.2.conv": "decoder.decoder.1"}
    names |= {"decoder.4": "decoder.decoder.2"}
    shapes = {}
    for name, value in official_state(0).items():
        layer, _, kind = name.rpartition(".")
        theirs = names.get(layer) or layer.replace("middle", "dilation_neck.model").replace("block0", "blocks.")
        shapes[f"generator.{theirs}.conv.{kind}"] = tuple(value.shape)
    return random_state(shapes, seed)


def loaded(state: dict[str, Any], **arguments: Any) -> AOTGAN:
    """The method that a published file makes, the networks that are not in it at random; in float64."""
    format = weights.detect(state)
    assert format
    imported = weights.convert(state, format)
    model = AOTGAN(**(imported["hyper_parameters"] | arguments))
    missing, unexpected = model.load_state_dict(imported["state_dict"], strict=False)
    assert not unexpected and len({name.split(".")[0] for name in missing}) <= 1
    return model.double()


def test_default_networks_have_the_published_number_of_parameters():
    with torch.device("meta"):
        assert parameter_counts(AOTGAN()) == {"generator": 15_200_835, "discriminator": 2_763_777}


def test_released_weights_compute_what_the_program_computes_in_both_modes_and_at_sides_that_are_padded():
    model = loaded(official_state(0))
    with torch.no_grad(), float64():
        image, mask = wide(random_input(72, 88))
        assert_probe(model.eval().predict(image, mask), OFFICIAL[72, 88])
        image, mask = wide(random_input(71, 89))
        completed = model.train()(image, mask)
        assert_probe(completed[(mask == 1).expand_as(completed)], OFFICIAL[71, 89])


def test_the_released_discriminator_computes_what_the_program_computes_in_both_modes():
    discriminator = loaded(official_discriminator_state(1), width=4, blocks=1).discriminator
    image = random_input(72, 88)[0].double()
    with torch.no_grad(), float64():
        assert_probe(discriminator.train()(image), DISCRIMINATOR["train"])
        discriminator(image)
        assert_probe(discriminator.eval()(image), DISCRIMINATOR["eval"])


def test_mmagic_s_weights_compute_what_mmagic_computes():
    model = loaded({"meta": {}, "state_dict": mmagic_state(4)})
    assert model.hparams["variant"] == "mmagic"
    image, mask = wide(random_input(72, 88))
    with torch.no_grad(), float64():
        assert_probe(model.predict(image, mask), MMAGIC, rounding=2e-4)  # the float32 of its gates


def test_one_step_of_the_official_variant_has_the_losses_and_gradients_of_the_released_trainer(random_vgg19):
    # The same program with block_num 1, seeds 2 and 3, and the VGG19 above: train() of src/trainer/trainer.py on 64x64
    # images, the discriminator in evaluation mode after three passes over them. Gradients: six elements and the
    # absolute sum.
    losses = {"l1": 0.5681444573, "style": 3.699849217 / 250, "perceptual": 4.00707695, "adversarial": 0.9358975602}
    expected = {
        "generator.encoder.0": [
            -0.0476135553, 0.0457457779, 0.00596052386, -0.0635663252, -0.00121701763, -0.0111915429, 303.231835
        ],
        "generator.middle.0.gate": [
            -0.00045779852, 0.00108808391, -4.82440097e-05, -0.00728688465, -0.00116758524, 0.000294792243, 2222.72164
        ],
        "discriminator.convolutions.0": [
            -2.03750942e-05, 0.00025944557, 2.04337795e-05, -0.00075561419, 2.14966941e-05, 0.000295166668, 0.687794259
        ],
        "discriminator.logits": [
            -0.00359728365, -0.00473263483, 0.000791243137, -0.00496318859, -0.00261432457, -6.87215739e-05, 29.2614273
        ],
    }  # fmt: skip
    generator = weights.convert(official_state(2, blocks=1), "official")
    discriminator = weights.convert(official_discriminator_state(3), "official_discriminator")
    model = AOTGAN(**(generator["hyper_parameters"] | discriminator["hyper_parameters"]))
    model.load_state_dict(generator["state_dict"] | discriminator["state_dict"])
    model, (image, mask) = model.double(), wide(random_input(64, 64))
    with torch.no_grad():
        for _ in range(3):
            model.discriminator(image)
    model.discriminator.eval()
    with float64():
        gradients = gradients_of_a_step(model, image, mask, precision="64-true")
    logged = model.trainer.callback_metrics
    assert {name: logged[f"train/{name}"].item() for name in losses} == pytest.approx(losses, rel=1e-6)
    assert logged["train/discriminator_loss"].item() == pytest.approx(0.0301536072 + 0.01 * 0.9358975602, rel=1e-6)
    for name, numbers in expected.items():
        flat = gradients[f"{name}.weight"].flatten()
        assert_published(flat[:: len(flat) // 6][:6], numbers[:6], of=flat)
        assert_sum(flat.abs(), numbers[6])


def test_exported_weights_are_the_released_layout_and_come_back_bit_for_bit():
    state = official_state(5, blocks=3)
    model = loaded(state)
    exported = weights.export(model)
    assert exported.keys() == state.keys() and AOTGAN.exports == ("official",)
    assert all(torch.equal(exported[name], value) for name, value in state.items())
    exported["encoder.1.bias"] += 1  # a copy, not a view of the model
    assert not torch.equal(exported["encoder.1.bias"], model.generator.encoder[0].bias)


def test_files_that_are_not_aotgan_s_are_not_taken_for_it():
    assert weights.detect(official_discriminator_state(0)) == "official_discriminator"
    assert weights.detect({"state_dict": {"generator.encoder.enc1.conv.weight": 0}}) is None
    five = official_state(0, 1) | {"middle.0.block04.1.weight": torch.zeros(64, 256, 3, 3)}
    with pytest.raises(ValueError, match="5 dilated convolutions"):
        weights.convert(five, "official")


# ---- blocks ----------------------------------------------------------------------------------------------------------


def test_the_gate_s_features_get_mean_minus_five_and_deviation_ten_whatever_their_scale():
    generator = torch.Generator().manual_seed(0)
    out = standardise(3 + 0.1 * torch.randn(2, 4, 9, 11, generator=generator))
    torch.testing.assert_close(out.mean((2, 3)), torch.full((2, 4), -5.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(out.std((2, 3)), torch.full((2, 4), 10.0), atol=1e-4, rtol=0)  # unbiased
    assert torch.isfinite(standardise(torch.ones(1, 1, 4, 4))).all()
    assert standardise(out.bfloat16()).dtype == torch.float32


def test_a_block_is_its_input_where_the_gate_is_shut_and_its_transformation_where_it_is_open():
    torch.manual_seed(0)
    block = AOTBlock(8, (1, 2))
    x = torch.randn(1, 8, 12, 12)
    nn.init.zeros_(block.gate.weight)
    with torch.no_grad():
        block.gate.weight[:, 0, 1, 1] = 1  # every channel's gate follows channel 0 of the input
    x[:, 0] = -1.0
    x[:, 0, 4, 4], x[:, 0, 4, 5] = 1e3, 1e3
    out = block(x)
    transformed = block.fuse(torch.cat([F.relu(conv(x)) for conv in block.transformations], 1))
    torch.testing.assert_close(out[..., 4, 4:6], transformed[..., 4, 4:6])
    shut = torch.ones(12, 12, dtype=torch.bool)
    shut[4, 4:6] = False
    assert (out - x)[..., shut].abs().max() < 0.01 * transformed.abs().max()


def test_an_image_too_small_for_the_largest_dilation_is_refused_with_both_sizes():
    with pytest.raises(ValueError, match=r"image is 32x32; .* at least 36 pixels"):
        small()(torch.zeros(1, 3, 32, 32), torch.ones(1, 1, 32, 32))
    with pytest.raises(ValueError, match="divide"):
        AOTGAN(width=8, rates=(1, 2, 4))


def test_the_network_sees_white_in_the_hole_and_its_image_is_float32_also_under_bfloat16():
    model, seen = small().eval(), []
    model.generator.encoder[0].register_forward_hook(lambda module, args, output: seen.append((args[0], output.dtype)))
    image, mask = random_input(40, 48)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        prediction = model.predict(image, mask)
    ((shown, dtype),) = seen
    torch.testing.assert_close(shown, torch.cat([image * (1 - mask) + mask, mask], 1))
    assert (dtype, prediction.dtype) == (torch.bfloat16, torch.float32)
    assert (prediction != prediction.bfloat16().float()).float().mean() > 0.5


# ---- losses ----------------------------------------------------------------------------------------------------------


def test_the_separable_blur_is_the_dense_one_and_fades_at_the_border():
    mask = random_input(96, 120)[1]
    mask[0, :, :30, :50] = 1
    line = torch.exp(-((torch.arange(71).double() - 35) ** 2) / 200)
    dense = torch.outer(line / line.sum(), line / line.sum())[None, None]
    assert (soften(mask) - F.conv2d(mask.double(), dense, padding=35)).abs().max() < 2e-6
    everything = soften(torch.ones(1, 1, 200, 200))[0, 0]
    assert everything[100, 100].item() == pytest.approx(1, abs=1e-5)
    assert everything[0, 100].item() == pytest.approx((1 + line[35] / line.sum()).item() / 2, abs=1e-5)


@pytest.mark.parametrize(("variant", "real"), [("paper", 1.0), ("official", 0.0), ("mmagic", 1.0)])
def test_the_discriminator_s_loss_is_zero_at_its_labels_and_one_or_more_at_the_opposite_ones(variant, real):
    mask = torch.zeros(1, 1, 200, 200)
    mask[..., 100:] = 1
    fake = 1 - soften(mask) if variant == "paper" else soften(mask)
    at_labels = torch.full_like(mask, real)
    assert smgan_discriminator(at_labels, fake, mask, variant).item() == pytest.approx(0, abs=1e-10)
    assert smgan_discriminator(1 - at_labels, fake, mask, variant).item() == pytest.approx(1, abs=1e-6)
    assert (fake[..., 100, 20].item() > 0.99) == (variant == "paper")  # known pixels
    assert (fake[..., 100, 160].item() > 0.95) == (variant != "paper")  # the hole, away from edge and border


@pytest.mark.parametrize(("variant", "nearer"), [("paper", True), ("official", False), ("mmagic", True)])
def test_the_generator_s_gradient_makes_the_hole_look_real_except_in_the_released_program(variant, nearer):
    torch.manual_seed(0)
    discriminator = small().discriminator
    image, mask = random_input(64, 64)
    with torch.no_grad():
        for _ in range(20):
            discriminator(image)  # until sigma is the largest singular value
        discriminator.eval().logits.bias.fill_(0.5)  # undecided between the labels
    hole = mask[..., ::8, ::8][..., :6, :6] == 1  # cells of the discriminator's 6x6 map that lie in the hole
    real = 0.0 if variant == "official" else 1.0

    def doubt(fake: Tensor) -> float:
        """Distance of the discriminator's map from the label of real images, in the hole."""
        return (discriminator(fake) - real)[hole].square().mean().item()

    step = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(smgan_generator(discriminator(step), mask, variant), step)
    moved = image - 1e-2 * gradient / gradient.norm()
    with torch.no_grad():
        assert (doubt(moved) < doubt(image)) == nearer


def test_the_paper_s_generator_is_judged_in_each_hole_alone_and_the_programs_judge_the_whole_image():
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, :2, :2], mask[1, :, 4:, :] = 1, 1  # 4 and 32 pixels
    fake = torch.ones(2, 1, 8, 8)
    fake[0, :, 0, 0] = 3  # error 4 in one of the 4 pixels
    fake[:, :, 3, 7] = 9  # error 64, known in both
    assert smgan_generator(fake, mask, "paper").item() == pytest.approx((4 / 4 + 0) / 2)
    for variant in ("official", "mmagic"):
        assert smgan_generator(fake, mask, variant).item() == pytest.approx((4 + 2 * 64) / 128)
    assert torch.isfinite(smgan_generator(fake, 0 * mask, "paper"))


def test_style_of_constant_features_is_its_closed_form():
    a, b = torch.full((2, 4, 3, 5), 3.0), torch.full((2, 4, 3, 5), 2.0)
    torch.testing.assert_close(gram(a), torch.full((2, 4, 4), 9 / 4))  # a^2 h w / (c h w)
    assert style([a, a], [b, b]).item() == pytest.approx(2 * (9 - 4) / 4)


def test_style_and_perceptual_loss_are_refused_before_the_first_batch_without_vgg19(monkeypatch, tmp_path):
    monkeypatch.delenv("LIT_INPAINT_WEIGHTS", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    model = small(style_weight=250.0)
    with pytest.raises(backbones.BackboneMissingError, match=r"vgg19 .* set style_weight and perceptual_weight to 0"):
        fit(model, items_of(*random_input(64, 64)))


# ---- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["paper", "official", "mmagic"])
def test_the_discriminator_sees_the_truth_and_the_completed_image_and_the_losses_are_the_variant_s(variant):
    model, seen = small(variant=variant), []
    image, mask = random_input(64, 64)
    completed = composite(model.predict(image, mask), image, mask).detach()
    discriminator = small(variant=variant).discriminator.eval()
    model.discriminator.eval()  # a constant spectral norm, so that the numbers can be told beforehand
    model.discriminator.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach().clone()))
    logged = fit(model, items_of(image, mask)).callback_metrics
    torch.testing.assert_close(seen[0], completed)
    torch.testing.assert_close(seen[1], torch.cat([image, completed]))
    with torch.no_grad():
        real, fake = discriminator(image), discriminator(completed)
    adversarial = smgan_generator(fake, mask, variant).item()
    l1 = (small(variant=variant).predict(image, mask) - image).abs().mean().item()
    expected = smgan_discriminator(real, fake, mask, variant).item() + (
        0.01 * adversarial if variant == "official" else 0
    )
    assert logged["train/discriminator_loss"].item() == pytest.approx(expected, rel=1e-5)
    assert logged["train/generator_loss"].item() == pytest.approx(l1 + 0.01 * adversarial, rel=1e-5)
    betas = {group["betas"] for optimizer in model.configure_optimizers() for group in optimizer.param_groups}
    assert betas == {(0.5, 0.999) if variant == "official" else (0.0, 0.9)}


def test_a_resumed_run_continues_bit_for_bit(tmp_path: Path):
    image, mask = random_input(64, 64)
    L.seed_everything(5, verbose=False)
    whole = small()
    fit(whole, items_of(image, mask), steps=4)
    L.seed_everything(5, verbose=False)
    fit(small(), items_of(image, mask), steps=2, plugins=[AtomicCheckpointIO()]).save_checkpoint(tmp_path / "half.ckpt")
    torch.manual_seed(99)
    resumed = AOTGAN(**SMALL)
    again = fit(resumed, items_of(image, mask), steps=4, ckpt_path=tmp_path / "half.ckpt")
    assert again.global_step == 4 and resumed.generator_updates == whole.generator_updates == 4
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())


@pytest.mark.slow  # test_ddp.py compares the gradients of every method; this one the weights and the power iteration
@pytest.mark.xdist_group("ddp")
def test_two_processes_train_the_weights_of_one_with_twice_the_batch(tmp_path: Path):
    processes.on_one_and_two(train_on, tmp_path)
    single, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    for name, value in single.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_two_hundred_steps_in_bfloat16_stay_finite_and_learn():
    image, mask = random_input(64, 64)
    image = F.avg_pool2d(image, 9, 1, 4)  # something that can be learnt
    model = small(learning_rate=1e-3, non_finite="stop")
    logged = fit(model, items_of(image, mask), steps=200, precision="bf16-mixed").callback_metrics
    assert model.generator_updates == 200 and model.skipped == 0
    assert all(torch.isfinite(value) for value in logged.values())
    nothing_learnt = (image - image.mean((2, 3), keepdim=True)).abs().mean().item()  # one colour an image
    assert logged["train/l1"].item() < 0.6 * nothing_learnt


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_photograph_is_learnt_beyond_telea():
    L.seed_everything(0, verbose=False)
    model = AOTGAN(width=16, blocks=4, discriminator_width=16, learning_rate=2e-3, betas=(0.5, 0.999), **WITHOUT_VGG)
    assert_learns(model, square(32), batch=2)
