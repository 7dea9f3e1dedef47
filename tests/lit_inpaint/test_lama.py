"""LaMa: networks against the published program, losses as facts, weights in and out, refinement, one photograph."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import functional as F

from experiments.weights.imports import main as import_weights
from lit_inpaint.foreign import pickles as restricted_pickle
from lit_inpaint.load import load_method
from lit_inpaint.method import parameter_counts
from lit_inpaint.methods import LaMa
from lit_inpaint.methods.lama import refinement, weights
from lit_inpaint.methods.lama.loss import DilatedResNet50, feature_matching, masked_bce_discriminator, r1_penalty
from lit_inpaint.methods.lama.networks import Discriminator
from lit_inpaint.methods.lama.refinement import blur_and_halve, erode
from masks.convention import composite
from tests.support.fitting import fit, items_of, random_input
from tests.support.overfit import assert_learns, square
from tests.support.published import assert_probe, assert_sum, float64, random_state

SMALL: dict[str, Any] = {"width": 8, "blocks": 2, "discriminator_width": 4, "perceptual_weight": 0.0}
FOUR = items_of(*random_input(32, 32, 4))


def small(**arguments: Any) -> LaMa:
    torch.manual_seed(0)
    return LaMa(**(SMALL | arguments))


# ---- the published networks ------------------------------------------------------------------------------------------


def test_parameters_are_those_of_the_paper():
    with torch.device("meta"):
        assert parameter_counts(LaMa()) == {"generator": 27_048_835, "discriminator": 6_962_369}
        assert parameter_counts(LaMa(blocks=18))["generator"] == 50_975_875


def official_state(seed: int = 0) -> dict[str, Tensor]:
    """Random weights in the names of ``FFCResNetGenerator``, 8 channels and 2 blocks."""
    layers = weights.names(2)
    own = {name.rpartition("."): tuple(x.shape) for name, x in small().generator.state_dict().items()}
    return random_state({f"{layers[layer]}.{kind}": shape for (layer, _, kind), shape in own.items()}, seed)


def published(**arguments: Any) -> LaMa:
    """With those weights."""
    imported = weights.convert({"state_dict": {f"generator.{k}": v for k, v in official_state().items()}}, "official")
    assert imported["hyper_parameters"] == {"width": 8, "blocks": 2}
    model = small(**arguments)
    model.load_state_dict(imported["state_dict"], strict=False)
    return model


# advimman/lama at 786f5936, saicinpainting/training/modules/ffc.py: FFCResNetGenerator(4, 3, ngf=8, n_blocks=2, the
# ratios of lama-fourier, sigmoid) with the weights of official_state() and random_input(), padded as its data sets do
# (numpy's "symmetric"); twelve pixels and the sum of 2 x - 1.
PUBLISHED = {
    (72, 88, "eval"): [-0.955032, -0.938684, 0.035538, -0.480581, -0.910139, -0.952168, -0.889173, -0.957414, 0.786848,
                       0.115561, -0.955768, -0.913802, -4739.162804],
    (72, 88, "train"): [-0.703814, -0.513567, 0.859803, -0.383538, -0.925786, 0.406524, -0.713673, -0.565641, 0.758421,
                        0.129498, -0.895729, -0.370009, -7057.089361],
    (71, 89, "eval"): [-0.979842, -0.877279, 0.227481, -0.387422, 0.928478, -0.940826, -0.278273, 0.978596, 0.987668,
                       0.459697, -0.0513, -0.337412, -5155.913689],
    (71, 89, "train"): [-0.710382, -0.13773, -0.300206, -0.387892, 0.008025, -0.786676, 0.222486, 0.008366, 0.470592,
                        0.24105, 0.004332, -0.616908, -6975.36608],
}  # fmt: skip


@pytest.mark.parametrize(("height", "width", "mode"), PUBLISHED)
def test_the_generator_equals_the_published_one(height: int, width: int, mode: str):
    model = published().double().train(mode == "train")
    image, mask = (x.double() for x in random_input(height, width))
    with torch.no_grad(), float64():
        right, bottom = -width % 8, -height % 8
        raw = model.predict(model.pad(image, right, bottom), model.pad(mask, right, bottom))[..., :height, :width]
        assert_probe(raw, PUBLISHED[height, width, mode])
        if mode == "eval":
            torch.testing.assert_close(model(image, mask), composite(raw, image, mask))


# pix2pixhd.py: NLayerDiscriminator(3, ndf=8, n_layers=4) at random_input(72, 88) in [0, 1].
PUBLISHED_DISCRIMINATOR = {
    "eval": [-0.174083, 0.954314, -0.380225, 0.915343, 1.400806, 0.388892, -0.310737, 0.529606, 0.673816, 0.86158,
             1.077533, 0.419209, 68.798555],
    "train": [-0.08763, 0.948106, 0.351269, 1.268343, -0.609507, 0.120098, 0.184494, 0.426927, 1.41543, 0.520441,
              0.221992, 0.247542, 60.209218],
}  # fmt: skip
FEATURE_SUMS = {
    "eval": [8491.5704, 2840.4608, 2890.4615, 2018.4178, 4680.2961],
    "train": [8491.5704, 4983.6117, 2436.3668, 1734.3104, 4489.725],
}


@pytest.mark.parametrize("mode", PUBLISHED_DISCRIMINATOR)
def test_the_discriminator_and_its_features_equal_the_published_ones(mode: str):
    discriminator = Discriminator(8)
    own = discriminator.state_dict()
    layers = weights.discriminator_names()
    theirs = {f"{layers[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": tuple(x.shape) for name, x in own.items()}
    state = random_state(theirs, 3)
    back = {theirs: ours for ours, theirs in layers.items()}
    discriminator.load_state_dict({f"{back[n.rpartition('.')[0]]}.{n.rpartition('.')[2]}": x for n, x in state.items()})
    discriminator.double().train(mode == "train")
    with torch.no_grad(), float64():
        logits, features = discriminator((random_input(72, 88)[0].double() + 1) / 2)
    assert_probe(logits, PUBLISHED_DISCRIMINATOR[mode])
    for feature, total in zip(features, FEATURE_SUMS[mode], strict=True):
        assert_sum(feature, total)


def test_one_pixel_changes_the_whole_image_through_the_first_block():
    model = published().eval()
    image, mask = random_input(64, 64, 1)
    other = image.clone()
    other[..., 0, 0] = 1 - other[..., 0, 0]
    with torch.no_grad():
        change = (model.predict(image, mask) - model.predict(other, mask)).abs()
    assert (change[..., 48:, 48:] > 0).float().mean() > 0.9  # 3x3 convolutions alone reach 47 pixels


# ---- weights ----------------------------------------------------------------------------------------------------


class Bomb:
    """Opens a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def test_a_checkpoint_with_training_objects_is_imported_and_nothing_of_them_is_run(tmp_path, capsys):
    checkpoint = {"state_dict": {f"generator.{k}": v for k, v in official_state().items()}, "epoch": 39}
    checkpoint["state_dict"]["val_evaluator.scale"] = torch.ones(1)
    checkpoint["hyper_parameters"] = DictConfig({"generator": {"kind": "ffc_resnet"}})
    torch.save(checkpoint, tmp_path / "best.ckpt")
    assert import_weights(["LaMa", str(tmp_path / "best.ckpt"), "--out", str(tmp_path / "lama.ckpt")]) == 0
    assert "skipped the objects of" in (said := capsys.readouterr().out) and "omegaconf.dictconfig.DictConfig" in said
    model = load_method(tmp_path / "lama.ckpt")
    image, mask = (x.double() for x in random_input(72, 88))
    with torch.no_grad(), float64():
        assert_probe(model.double().predict(image, mask), PUBLISHED[72, 88, "eval"])


def test_a_checkpoint_with_code_in_it_is_refused_before_the_code_runs(tmp_path):
    marker = tmp_path / "ran"
    torch.save({"state_dict": official_state(), "callbacks": Bomb(marker)}, tmp_path / "bomb.ckpt")
    with pytest.raises(ValueError, match=r"it holds .*open, which is neither a tensor .*none of its code was run"):
        import_weights(["LaMa", str(tmp_path / "bomb.ckpt"), "--out", str(tmp_path / "lama.ckpt")])
    assert not marker.exists() and not (tmp_path / "lama.ckpt").exists()


def raw_pickle(path: Path, code: bytes) -> Path:
    """A file of torch's format whose pickle is ``code``."""
    torch.save({"x": 1}, path)
    with zipfile.ZipFile(path) as source:
        content = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w") as target:
        for name, data in content.items():
            target.writestr(name, code if name.endswith("data.pkl") else data)
    return path


def test_a_pickle_cannot_change_the_functions_it_is_given(tmp_path):
    before = torch._utils._rebuild_tensor_v2.__defaults__
    build = b"ctorch._utils\n_rebuild_tensor_v2\n(N}X\x0c\x00\x00\x00__defaults__)stb."  # BUILD with a slot state
    with pytest.raises(pickle.UnpicklingError, match="changes a function of torch"):
        restricted_pickle.load(raw_pickle(tmp_path / "x.ckpt", build))
    assert torch._utils._rebuild_tensor_v2.__defaults__ == before


def test_a_program_is_no_checkpoint_and_names_are_printed_without_escapes(tmp_path):
    with zipfile.ZipFile(raw_pickle(tmp_path / "program.pt", b"N."), "a") as program:
        program.writestr("program/code/__torch__.py", "")  # as torch.jit.save writes it
    with pytest.raises(pickle.UnpicklingError, match="TorchScript program"):
        restricted_pickle.load(tmp_path / "program.pt")
    _, skipped = restricted_pickle.load(raw_pickle(tmp_path / "x.ckpt", b"comegaconf\n\x1b[31mEVIL\n."))
    assert skipped == [r"omegaconf.\x1b[31mEVIL"]


def test_weights_leave_in_the_published_layout_and_come_back():
    model = small()
    state = weights.export(model)
    assert weights.detect(state) == "official"
    assert "generator.model.5.conv1.ffc.convg2g.fu.conv_layer.weight" in state["state_dict"]
    imported = weights.convert(state, "official")
    other = LaMa(**imported["hyper_parameters"], perceptual_weight=0)
    other.load_state_dict(imported["state_dict"])
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


# ---- losses ----------------------------------------------------------------------------------------------------


def test_the_penalty_of_a_linear_discriminator_is_the_square_of_its_weights():
    weight = torch.randn(3, 5, 5)
    real = torch.randn(4, 3, 5, 5, requires_grad=True)
    penalty = r1_penalty((real * weight).sum((1, 2, 3)), real)
    torch.testing.assert_close(penalty, weight.square().sum())


def test_only_patches_over_the_hole_are_called_fake():
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    real = torch.full((1, 1, 4, 4), 30.0)  # no doubt about the real image
    right, wrong = (torch.where(F.interpolate(mask, (4, 4)) == 1, -sign, sign) * 30 for sign in (1.0, -1.0))
    assert masked_bce_discriminator(real, right, mask) < 1e-6
    torch.testing.assert_close(masked_bce_discriminator(real, wrong, mask), torch.tensor(30.0))


def test_feature_matching_is_the_mean_over_layers_of_squares():
    ones, zeros = torch.ones(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)
    assert feature_matching([2 * ones, ones], [zeros, zeros]) == (4 + 1) / 2


def test_a_step_of_the_generator_lowers_the_suspicion_of_the_discriminator():
    model = small(
        feature_weight=0, learning_rate=1e-3, discriminator_learning_rate=0, gradient_weight=0, variant="paper"
    )
    image, mask = random_input(32, 32, 4)

    def suspicion() -> float:
        with torch.no_grad():
            return float(F.softplus(-model.discriminator((model.predict(image, mask) + 1) / 2)[0]).mean())

    before = suspicion()
    fit(model, FOUR, 4)
    assert suspicion() < before


def test_the_discriminator_judges_what_the_generator_makes_after_its_step_unless_told(monkeypatch: pytest.MonkeyPatch):
    for share, passes in ((False, 2), (True, 1)):
        model, calls = small(share_forward=share), []
        model.generator.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        fit(model, FOUR, 1)
        assert len(calls) == passes


def test_the_perceptual_loss_is_never_left_out_silently(tmp_path):
    for file in (None, str(tmp_path / "encoder_epoch_20.pth")):
        with pytest.raises(ValueError, match=r"needs the ResNet50 of ADE20k.*or set perceptual_weight to 0"):
            fit(small(perceptual_weight=30, segmentation_weights=file), FOUR, 1)
    torch.save({"something": torch.ones(1)}, tmp_path / "encoder_epoch_20.pth")
    with pytest.raises(ValueError, match="is not the ResNet50 of ADE20k"):
        fit(small(perceptual_weight=30, segmentation_weights=file), FOUR, 1)


def test_the_perceptual_network_is_a_dilated_resnet50_and_trains_the_generator(tmp_path):
    import torchvision

    torch.manual_seed(0)
    network = DilatedResNet50()
    torch.save(network.state_dict(), tmp_path / "encoder.pth")
    theirs = torchvision.models.resnet50(replace_stride_with_dilation=[False, True, True]).eval()
    network.eval()
    with torch.no_grad():
        first, *rest = network(torch.rand(1, 3, 64, 64))
        x = first
        for index, ours in zip((2, 3, 4), rest, strict=True):
            layer = getattr(theirs, f"layer{index}")
            layer.load_state_dict(getattr(network, f"layer{index}").state_dict())
            torch.testing.assert_close(x := layer(x), ours)
    assert [tuple(x.shape[1:]) for x in (first, *rest)] == [(256, 16, 16), (512, 8, 8), (1024, 8, 8), (2048, 8, 8)]
    model = small(perceptual_weight=30, segmentation_weights=str(tmp_path / "encoder.pth"))
    trainer = fit(model, FOUR, 1)
    assert trainer.callback_metrics["train/perceptual"] > 0
    assert not any("features" in name for name in model.state_dict())


# ---- training and inference --------------------------------------------------------------------------------------


def test_a_resumed_run_equals_one_that_never_stopped(tmp_path):
    whole = small()
    fit(whole, FOUR, 4)
    fit(small(), FOUR, 2).save_checkpoint(tmp_path / "half.ckpt")
    resumed = small()
    fit(resumed, FOUR, 4, ckpt_path=tmp_path / "half.ckpt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.slow
def test_two_hundred_steps_in_bfloat16_have_finite_losses():
    model = small(non_finite="stop")
    assert fit(model, FOUR, 200, precision="bf16-mixed").global_step == 200
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_lama_learns_one_photograph_beyond_telea():
    L.seed_everything(0, verbose=False)
    model = LaMa(width=16, blocks=3, discriminator_width=16, perceptual_weight=0)
    assert_learns(model, square(28), batch=4)


def test_the_fourier_units_and_the_image_stay_in_float32_under_bfloat16():
    model, kinds = small().eval(), {}
    block = model.generator.blocks[0].conv1
    block.global_to_global.fourier.register_forward_hook(lambda m, i, o: kinds.update(fourier=o.dtype))
    block.local_to_local.register_forward_hook(lambda m, i, o: kinds.update(conv=o.dtype))
    image, mask = random_input(32, 32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out = model.predict(image, mask)
    assert kinds == {"fourier": torch.float32, "conv": torch.bfloat16} and out.dtype == torch.float32


@pytest.mark.slow
def test_refinement_brings_the_inside_of_the_hole_nearer_to_the_smaller_copy():
    image, mask = random_input(736, 736, 1)
    model = published().eval()
    half_mask = (blur_and_halve(mask) > 0).float()
    inside = erode(F.interpolate(mask, (368, 368)))
    with torch.no_grad():
        below = model.generator(blur_and_halve((image + 1) / 2 * (1 - mask)) * (1 - half_mask), half_mask)
        distance = {}
        for steps in (1, 6):  # one looks only: the plain forward at the upper scale
            result = published(refinement_steps=steps).eval()(image, mask)
            distance[steps] = float(((blur_and_halve((result + 1) / 2) - below).abs() * inside).sum())
    assert distance[6] < 0.99 * distance[1]
    assert torch.equal(result * (1 - mask), image * (1 - mask))


# refine_predict of saicinpainting/evaluation/refinement.py at the same commit: that generator, random_input(60, 75, 1),
# and the mask below; modulo 8, 4 iterations, min_side 16, max_scales 3; twelve pixels and the sum of 2 x - 1.
REFINED = [0.515263, -0.136967, -0.262466, 0.317363, 0.730598, -0.547076, -0.030243, -0.841676, 0.781552, 0.155987,
           -0.196767, -0.053039, -706.527546]  # fmt: skip


def test_refinement_equals_the_published_one_where_sides_are_no_multiples_of_eight(monkeypatch):
    monkeypatch.setattr(refinement, "MIN_SIDE", 16)
    model = published(refinement_steps=4).double().eval()
    image, mask = random_input(60, 75, 1)[0].double(), torch.zeros(1, 1, 60, 75, dtype=torch.float64)
    mask[..., 10:50, :45] = mask[..., 30:, 60:] = 1
    with torch.no_grad(), float64():
        assert_probe(model(image, mask), REFINED)


def test_erosion_takes_seven_pixels_off():
    mask = torch.zeros(1, 1, 40, 40)
    mask[..., 10:30, 10:30] = 1
    assert erode(mask).sum() == (20 - 14) ** 2 and erode(mask)[0, 0, 17, 17] == 1
