"""DeepFill v2: its layers against slow references, its losses, and one photograph that it must learn."""

import copy
import math
import zlib
from typing import Any

import cv2
import lightning as L
import numpy as np
import pytest
import skimage.data
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from lit_inpaint.discriminators import SNPatchGAN, SpectralNormConv2d
from lit_inpaint.layers.contextual_attention import contextual_attention
from lit_inpaint.layers.tf_same import Conv2dSame, resize_nearest
from lit_inpaint.layers.upsampled_conv import upsampled_conv
from lit_inpaint.losses.hinge import hinge_discriminator, hinge_generator
from lit_inpaint.methods.deepfillv2 import DeepFillV2, weights
from lit_inpaint.methods.deepfillv2.sketch import canny_edges
from masks.convention import InpaintingBatch, composite
from tests.support.published import assert_published, assert_sum, float64


def centre_hole(size: int, batch: int = 1) -> Tensor:
    mask = torch.zeros(batch, 1, size, size)
    mask[..., size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = 1
    return mask


def train(model: DeepFillV2, samples: list[InpaintingBatch], batch_size: int, steps: int, **trainer: Any) -> L.Trainer:
    options = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    options |= {"enable_model_summary": False, "max_steps": steps, "log_every_n_steps": 1} | trainer
    fitted = L.Trainer(**options)  # type: ignore[arg-type]
    fitted.fit(model, DataLoader(samples, batch_size))  # type: ignore[arg-type]
    return fitted


def random_samples(n: int, size: int = 32) -> list[InpaintingBatch]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n, 3, size, size, generator=generator) * 2 - 1
    return [InpaintingBatch(image, centre_hole(size)[0], str(i)) for i, image in enumerate(images)]


# ---- layers ----------------------------------------------------------------------------------------------------------


def test_default_networks_have_the_published_number_of_parameters():
    with torch.device("meta"):
        plain, guided = DeepFillV2(), DeepFillV2(sketch=True)
    count = [
        sum(p.numel() for p in network.parameters())
        for m in (plain, guided)
        for network in (m.generator, m.discriminator)
    ]
    assert count == [4_052_478, 5_946_816, 4_052_478 + 1_200, 5_948_416]


@pytest.mark.parametrize("kernel", [3, 5])
def test_first_taps_of_a_stride_two_same_convolution_are_centred_on_1_3_5(kernel):
    torch.manual_seed(kernel)
    layer = Conv2dSame(2, 3, kernel, stride=2).double()
    x = torch.randn(1, 2, 8, 12, dtype=torch.float64)
    expected = torch.zeros(1, 3, 4, 6, dtype=torch.float64)
    reach = kernel // 2
    for i, j in np.ndindex(4, 6):
        for a, b in np.ndindex(kernel, kernel):
            row, column = 1 + 2 * i + a - reach, 1 + 2 * j + b - reach
            if 0 <= row < 8 and 0 <= column < 12:
                expected[0, :, i, j] += layer.weight[:, :, a, b] @ x[0, :, row, column]
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("border", ["constant", "reflect"])
def test_convolution_of_an_upsampled_image_needs_no_upsampled_image(border):
    x, weight, bias = (torch.randn(*shape).double().requires_grad_() for shape in ((2, 5, 6, 7), (3, 5, 3, 3), (3,)))
    plain = F.conv2d(F.pad(F.interpolate(x, scale_factor=2), (1,) * 4, mode=border), weight, bias)
    ours = upsampled_conv(x, weight, bias, mirrored=border == "reflect")
    assert (ours - plain).abs().max() < 1e-12
    towards = torch.randn_like(plain)
    for a, b in zip(*(torch.autograd.grad(y, (x, weight, bias), towards) for y in (ours, plain)), strict=True):
        assert (a - b).abs().max() < 1e-12


def test_attention_downsamples_at_the_align_corners_indices():
    ramp = torch.arange(64.0).expand(1, 1, 64, 64)
    assert resize_nearest(ramp, 32, 32)[0, 0, 0].tolist() == [*range(0, 31, 2), *range(33, 64, 2)]
    # An odd number of samples meets a tie, 2.25 * 2 = 4.5, which TensorFlow's roundf takes upwards.
    assert resize_nearest(ramp[..., :10, :10], 5, 5)[0, 0, 0].tolist() == [0, 2, 5, 7, 9]


def slow_contextual_attention(features: Tensor, mask: Tensor) -> Tensor:
    """The official layer with all patches laid out, for one image (C, H, W) and its mask (1, H, W)."""
    channels, height, width = features.shape
    h, w = height // 2, width // 2
    rows = torch.tensor([math.floor(i * (height - 1) / (h - 1) + 0.5) for i in range(h)])
    columns = torch.tensor([math.floor(i * (width - 1) / (w - 1) + 0.5) for i in range(w)])
    small, small_mask = features[:, rows][..., columns], mask[:, rows][..., columns]
    patches = F.unfold(small[None], 3, padding=1)[0].T  # (L, 9 C)
    keys = patches / patches.norm(dim=1, keepdim=True).clamp_min(1e-4)
    scores = patches @ keys.T
    eye = torch.eye(3, dtype=scores.dtype)[None, None]
    scores = F.conv2d(scores[None, None], eye, padding=1)[0, 0].view(h, w, h, w)
    scores = scores.permute(1, 0, 3, 2).reshape(1, 1, h * w, h * w)
    scores = F.conv2d(scores, eye, padding=1).view(w, h, w, h).permute(1, 0, 3, 2).reshape(h * w, h * w)
    usable = (F.unfold(small_mask[None], 3, padding=1)[0].mean(0) == 0).to(scores.dtype)
    weights = torch.softmax(10 * scores * usable, dim=1) * usable
    blocks = F.unfold(features[None], 4, stride=2, padding=1)[0].T.view(h * w, channels, 4, 4)
    canvas = features.new_zeros(channels, height + 2, width + 2)
    for query in range(h * w):
        block = (weights[query, :, None, None, None] * blocks).sum(0)
        top, left = 2 * (query // w), 2 * (query % w)
        canvas[:, top : top + 4, left : left + 4] += block
    return canvas[:, 1:-1, 1:-1] / 4


@pytest.mark.parametrize(("channels", "height", "width"), [(96, 16, 16), (96, 12, 20), (128, 16, 12)])
def test_contextual_attention_equals_patches_laid_out_each_sample_with_its_own_mask(channels, height, width):
    generator = torch.Generator().manual_seed(channels + width)
    features = torch.randn(2, channels, height, width, dtype=torch.float64, generator=generator) / 9
    mask = torch.zeros(2, 1, height, width, dtype=torch.float64)
    mask[0, :, 2:7, 3:9] = 1
    mask[1, :, 7:11, 5:12] = 1
    slow, fast = features.clone().requires_grad_(), features.clone().requires_grad_()
    expected = torch.stack([slow_contextual_attention(x, m) for x, m in zip(slow, mask, strict=True)])
    output = contextual_attention(fast, fast, mask)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-9)
    single = contextual_attention(features.float(), features.float(), mask.float())
    torch.testing.assert_close(single.double(), expected.detach(), rtol=0, atol=1e-5)
    assert (output[0] - contextual_attention(features, features, mask.flip(0))[0]).abs().max() > 1e-3
    weights = torch.randn(output.shape, dtype=torch.float64, generator=generator)
    (slow_gradient,) = torch.autograd.grad((expected * weights).sum(), slow)
    (fast_gradient,) = torch.autograd.grad((output * weights).sum(), fast)
    torch.testing.assert_close(fast_gradient, slow_gradient, rtol=0, atol=1e-9)


def test_attention_is_divided_by_four_also_at_the_border_where_fewer_patches_overlap():
    features = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    output = contextual_attention(features, features, torch.zeros_like(features), softmax_scale=0.0, fuse=False)[0, 0]
    # Uniform weights: along one axis an inner pixel gets 1 + 3/4 (a quarter of the patches reaches over the border).
    corner, edge, inner = output[0, 0].item(), output[0, 4].item(), output[4, 4].item()
    assert (corner, edge, inner) == pytest.approx((1 / 4, 1.75 / 4, 1.75**2 / 4))


def test_contextual_attention_with_everything_masked_is_zero_and_has_finite_gradients():
    features = torch.zeros(1, 4, 8, 8).requires_grad_()
    output = contextual_attention(features, features, torch.ones(1, 1, 8, 8))
    output.sum().backward()
    assert output.abs().max() == 0
    assert torch.isfinite(features.grad).all()


def test_contextual_attention_keeps_float32_inside_autocast():
    torch.manual_seed(0)
    features, mask = 3 * torch.randn(1, 16, 16, 16).bfloat16(), F.interpolate(centre_hole(16), (16, 16))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = contextual_attention(features, features, mask)
    torch.testing.assert_close(mixed, contextual_attention(features.float(), features.float(), mask).bfloat16())


# ---- the discriminator
# ------------------------------------------------------------------------------------------------------


def test_spectral_norm_divides_by_the_largest_singular_value_once_converged_and_by_a_constant_in_evaluation():
    torch.manual_seed(0)
    layer = SpectralNormConv2d(3, 8, 5).double()
    for _ in range(200):
        layer.normalised_weight()
    assert torch.linalg.matrix_norm(layer.normalised_weight().flatten(1), 2).item() == pytest.approx(1, abs=1e-9)
    layer.u.copy_(torch.ones(8))
    layer.eval()
    torch.testing.assert_close(layer.normalised_weight(), layer.normalised_weight())
    assert layer.u.tolist() == [1.0] * 8


def test_gradient_of_spectral_norm_goes_through_sigma_and_the_power_iteration():
    torch.manual_seed(0)
    layer = SpectralNormConv2d(1, 3, 3).double().eval()
    start, probe = layer.weight.detach().clone(), torch.randn(3, 1, 3, 3, dtype=torch.float64)

    def value(weight: Tensor) -> Tensor:
        with torch.no_grad():
            layer.weight.copy_(weight)
        return (layer.normalised_weight() * probe).sum()

    value(start).backward()
    step = 1e-6 * torch.randn(start.shape, dtype=torch.float64)
    slope = (value(start + step) - value(start - step)).item() / 2
    assert (layer.weight.grad * step).sum().item() == pytest.approx(slope, rel=1e-6)


def test_discriminator_on_real_and_fake_together_is_one_power_iteration():
    torch.manual_seed(0)
    together = SNPatchGAN(4, width=4)
    apart, images = copy.deepcopy(together), torch.randn(4, 4, 64, 64)
    logits = together(images)
    assert logits.shape == (4, 16)
    real, fake = apart(images[:2]), apart(images[2:])
    torch.testing.assert_close(logits[:2], real)
    assert (logits[2:] - fake).abs().max() > 1e-6  # the second pass has moved on to the next iterate
    assert not torch.equal(together.conv1.u, apart.conv1.u)


def test_discriminator_ends_in_leaky_relu():
    torch.manual_seed(0)
    discriminator, seen = SNPatchGAN(4, width=4), {}
    discriminator.conv6.register_forward_hook(lambda module, args, output: seen.update(output=output))
    logits = discriminator(torch.randn(2, 4, 64, 64))
    torch.testing.assert_close(logits, F.leaky_relu(seen["output"], 0.2).flatten(1))
    assert (logits < 0).any()


# ---- the training step -----------------------------------------------------------------------------------------------


class Recorder(nn.Module):
    """Stands for a network and keeps what it was called with."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.inputs = network, []

    def forward(self, x: Tensor) -> Tensor:
        self.inputs.append(x.detach().clone())
        return self.network(x)


def test_training_step_has_the_official_losses_and_the_discriminator_sees_the_composite():
    torch.manual_seed(0)
    model = DeepFillV2(width=8, discriminator_width=4)
    model.discriminator = Recorder(model.discriminator)  # type: ignore[assignment]
    samples, before = random_samples(2), copy.deepcopy(model)
    trainer = train(model, samples, batch_size=2, steps=1)
    image, mask = torch.stack([s.image for s in samples]), torch.stack([s.mask for s in samples])
    judged, judged_again = model.discriminator.inputs
    coarse, refined = before.generator(image * (1 - mask), mask)
    completed = composite(refined, image, mask)
    torch.testing.assert_close(judged, torch.cat([torch.cat([image, mask], 1), torch.cat([completed, mask], 1)]))
    torch.testing.assert_close(judged_again, judged[2:])
    real, fake = before.discriminator.network(judged).chunk(2)
    logged = trainer.callback_metrics
    assert logged["train/discriminator_loss"].item() == pytest.approx(hinge_discriminator(real, fake).item(), abs=1e-6)
    assert logged["train/l1_coarse"].item() == pytest.approx((coarse - image).abs().mean().item(), abs=1e-6)
    assert logged["train/l1_refined"].item() == pytest.approx((refined - image).abs().mean().item(), abs=1e-6)
    terms = ("train/l1_coarse", "train/l1_refined", "train/adversarial")
    assert logged["train/generator_loss"].item() == pytest.approx(sum(logged[t].item() for t in terms), abs=1e-6)


def test_one_step_lowers_the_generators_loss_before_a_fixed_discriminator_and_the_discriminators_own():
    torch.manual_seed(0)
    model = DeepFillV2(width=8, discriminator_width=4, learning_rate=1e-3)
    samples = random_samples(2)
    image, mask = torch.stack([s.image for s in samples]), torch.stack([s.mask for s in samples])

    def losses(generator: nn.Module, discriminator: nn.Module) -> tuple[float, float]:
        completed = composite(generator(image * (1 - mask), mask)[1], image, mask)
        real, fake = discriminator.eval()(torch.cat([torch.cat([x, mask], 1) for x in (image, completed)])).chunk(2)
        return hinge_discriminator(real, fake).item(), hinge_generator(fake).item()

    before = copy.deepcopy(model)
    train(model, samples, batch_size=2, steps=1)
    with torch.no_grad():
        assert losses(before.generator, model.discriminator)[0] < losses(before.generator, before.discriminator)[0]
        assert losses(model.generator, model.discriminator)[1] < losses(before.generator, model.discriminator)[1]


def test_known_pixels_reach_the_output_untouched_and_hole_pixels_never_reach_the_network():
    torch.manual_seed(0)
    model = DeepFillV2(width=8, discriminator_width=4).eval()
    image, mask = torch.rand(1, 3, 36, 44) * 2 - 1, torch.zeros(1, 1, 36, 44)
    mask[..., 10:20, 8:30] = 1
    other = torch.where(mask == 1, -image, image)
    with torch.no_grad():
        output = model(image, mask)
        torch.testing.assert_close(output, model(other, mask), rtol=0, atol=0)
    assert torch.equal(output[..., :10, :], image[..., :10, :])


def test_bfloat16_training_keeps_the_image_the_logits_and_the_spectral_norm_in_float32():
    torch.manual_seed(0)
    model, kinds = DeepFillV2(width=8, discriminator_width=4), {}
    model.generator.conv5.register_forward_hook(lambda module, args, output: kinds.update(conv5=output.dtype))
    model.generator.register_forward_hook(lambda module, args, output: kinds.update(image=output[1].dtype))
    model.discriminator.register_forward_hook(lambda module, args, output: kinds.update(logits=output.dtype))
    trainer = train(model, random_samples(4, 64), batch_size=2, steps=2, precision="bf16-mixed")
    assert kinds == {"conv5": torch.bfloat16, "image": torch.float32, "logits": torch.float32}
    assert all(torch.isfinite(value) for value in trainer.callback_metrics.values())


def test_lines_of_a_sketch_count_in_the_hole_alone_and_only_where_there_is_a_channel():
    torch.manual_seed(0)
    model = DeepFillV2(width=8, discriminator_width=4, sketch=True).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # Glorot and the gates together shrink a signal to 1e-14 on its way through 17 layers
    image, mask = torch.rand(1, 3, 32, 32) * 2 - 1, centre_hole(32)
    lines = (torch.rand(1, 1, 32, 32) > 0.7).float()
    with torch.no_grad():
        drawn = model(image, mask, sketch=lines)
        torch.testing.assert_close(drawn, model(image, mask, sketch=lines * mask), rtol=0, atol=0)
        torch.testing.assert_close(model(image, mask), model(image, mask, sketch=0 * lines), rtol=0, atol=0)
        assert (drawn - model(image, mask)).abs().max() > 1e-5
    with pytest.raises(ValueError, match="sketch=True"):
        DeepFillV2(width=8, discriminator_width=4)(image, mask, sketch=lines)


def test_guided_training_shows_both_networks_the_edges_inside_the_hole_and_drops_them_at_random():
    torch.manual_seed(0)
    model = DeepFillV2(width=8, discriminator_width=4, sketch=True, sketch_drop=0.5)
    model.discriminator = Recorder(model.discriminator)  # type: ignore[assignment]
    samples = random_samples(8)
    train(model, samples, batch_size=8, steps=1)
    image, mask = torch.stack([s.image for s in samples]), torch.stack([s.mask for s in samples])
    lines = model.discriminator.inputs[0][:8, 4:]
    edges = canny_edges(image) * mask
    shown = lines.flatten(1).any(1)
    assert 0 < shown.sum() < 8
    torch.testing.assert_close(lines[shown], edges[shown])
    torch.testing.assert_close(model.discriminator.inputs[0][8:, 4:], lines)  # the same beside the completed images


# ---- weights ---------------------------------------------------------------------------------------------------------


def named_noise(layout: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights that depend on their names alone, large enough for a signal to reach the last layer."""
    out = {}
    for name, value in layout.items():
        scale = 2 / math.sqrt(value[0].numel()) if value.ndim == 4 else 0.1 if name.endswith("bias") else 1
        noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(tuple(value.shape))
        out[name] = value if "fuse_weight" in name else torch.from_numpy((scale * noise).astype(np.float32))
    return out


# Printed by networks_tf.py and networks.py of github.com/nipponjo/deepfillv2-pytorch at 4899fd38 (cnum 8, torch 2.15,
# one thread), loaded with named_noise of their own state_dict: refined[0, :, 20, 30], sum and absolute sum of refined,
# and of the discriminator on image and mask the first four logits and the sum.
PUBLISHED = {
    "nipponjo_tf": (
        [0.055002, -0.061208, -0.014315],
        (-392.5543, 1899.637),
        [-0.037183, -0.013285, -0.002353, 0.120327],
        2.44626,
    ),
    "nipponjo": (
        [-0.32071, -0.044877, 0.104691],
        (-874.3025, 2798.5499),
        [-0.034169, 0.039467, -0.009313, 0.124074],
        2.46277,
    ),
}


@pytest.mark.parametrize("format", PUBLISHED)
def test_imported_weights_compute_what_the_published_port_computes(format):
    layout = weights.layout(DeepFillV2(width=8, discriminator_width=8).state_dict(), format)
    state = {network: named_noise(layout[network]) for network in ("G", "D")}
    assert weights.detect(state) == format
    imported = weights.convert(state, format)
    model = DeepFillV2(**imported["hyper_parameters"])
    model.load_state_dict(imported["state_dict"])
    image = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 3, 64, 64)).astype(np.float32))
    mask = torch.zeros(2, 1, 64, 64)
    mask[..., 16:40, 20:52] = 1
    image, mask = image.double(), mask.double()
    with torch.no_grad(), float64():
        refined = model.double().predict(image, mask)
        logits = model.discriminator(torch.cat([image, mask], 1))
    pixel, (total, absolute), first, sum_of_logits = PUBLISHED[format]
    assert_published(refined[0, :, 20, 30], pixel, of=refined)
    assert_sum(refined, total)
    assert_sum(refined.abs(), absolute)
    assert_published(logits[0, :4], first, of=logits)
    assert_sum(logits, sum_of_logits)


@pytest.mark.parametrize("format", ["tensorflow", "nipponjo_tf", "nipponjo"])
@pytest.mark.parametrize("sketch", [False, True])
def test_exported_weights_come_back_bit_for_bit(format, sketch):
    torch.manual_seed(0)
    state = DeepFillV2(width=8, discriminator_width=4, sketch=sketch).state_dict()
    exported = weights.layout(state, format)
    assert weights.detect(exported) == format
    imported = weights.convert(exported, format)
    assert imported["hyper_parameters"]["sketch"] == sketch
    assert imported["state_dict"].keys() == state.keys()
    assert all(torch.equal(imported["state_dict"][name], value) for name, value in state.items())


def test_tensorflow_kernels_are_height_width_in_out_and_blue_first():
    torch.manual_seed(0)
    model = DeepFillV2(width=8, discriminator_width=4)
    exported = weights.layout(model.state_dict(), "tensorflow")
    first, last = exported["inpaint_net/conv1/kernel"], exported["inpaint_net/allconv17/kernel"]
    assert first.shape == (5, 5, 5, 8)
    assert exported["inpaint_net/conv13_upsample/conv13_upsample_conv/kernel"].shape == (3, 3, 16, 16)
    red, mask_channel = 0, 4
    assert first[3, 1, 2, 6] == model.generator.conv1.weight[6, red, 3, 1].item()
    assert first[3, 1, mask_channel, 6] == model.generator.conv1.weight[6, mask_channel, 3, 1].item()
    assert last[2, 0, 1, 2] == model.generator.allconv17.weight[red, 1, 2, 0].item()
    assert exported["discriminator/sn_patch_gan/conv1/kernel_sn/u"].shape == (1, 4)


# ---- learning --------------------------------------------------------------------------------------------------------


def psnr_hole(prediction: Tensor, target: Tensor, mask: Tensor) -> float:
    error = ((prediction - target).square() * mask).sum() / (3 * mask.sum())
    return 10 * math.log10(4 / error.item())


def telea(image: Tensor, mask: Tensor) -> Tensor:
    pixels = ((image[0].permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
    filled = cv2.inpaint(pixels, mask[0, 0].numpy().astype(np.uint8), 3, cv2.INPAINT_TELEA)
    return torch.from_numpy(filled).permute(2, 0, 1)[None] / 127.5 - 1


class StopAbove(L.Callback):
    """Ends the run once the hole of one image is filled better than ``target``."""

    def __init__(self, image: Tensor, mask: Tensor, target: float) -> None:
        self.image, self.mask, self.target, self.best = image, mask, target, -math.inf

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        if trainer.global_step % 5 == 0:
            with torch.no_grad():
                self.best = psnr_hole(pl_module(self.image, self.mask), self.image, self.mask)
            trainer.should_stop = self.best > self.target


def test_one_photograph_is_learnt_beyond_telea():
    # A rocket on its pad: Telea reaches 24.7 dB here, the best single colour 21.1 dB.
    photograph = cv2.resize(skimage.data.rocket()[:, 106:533], (64, 64), interpolation=cv2.INTER_AREA)
    image = torch.from_numpy(photograph).permute(2, 0, 1)[None] / 127.5 - 1
    mask = centre_hole(64)
    target = psnr_hole(telea(image, mask), image, mask)
    L.seed_everything(0, verbose=False)
    model = DeepFillV2(width=16, discriminator_width=8, learning_rate=2e-3)
    stop = StopAbove(image, mask, target)
    samples = [InpaintingBatch(image[0], mask[0], "rocket")] * 1000
    trainer = train(model, samples, batch_size=1, steps=1000, callbacks=[stop])
    print(f"Telea {target:.2f} dB, DeepFillV2 {stop.best:.2f} dB after {trainer.global_step} steps")
    assert stop.best > target
