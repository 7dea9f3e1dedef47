"""Imported weights compute what the public programs compute.

Each program was run outside this repository with the random weights of :func:`random_state` in its own names and layout
and the input of :func:`random_input`; a few numbers that it printed stand here beside its address.
"""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from lit_inpaint.layers.partial_conv import PartialConv2d
from lit_inpaint.methods import ContextEncoder, PartialConv
from lit_inpaint.methods.context_encoder import weights as context_encoder_weights
from lit_inpaint.methods.partial_conv import weights as partial_conv_weights
from masks.convention import erase

Shapes = dict[str, tuple[int, ...]]

# Printed by the public programs: twelve pixels and the sum, see probe().
NAOTO = [
    7.480929, -4.466633, -15.282196, 9.276247, 1.132953, 1.058819, 3.301337, -5.333608, -9.201725, 1.744298,
    8.528526, 7.858929, 28147.606775
]  # fmt: skip
NVIDIA = [
    0.443211, 0.240834, -0.117217, -1.150451, -0.0, 1.024117, 0.424423, -1.287616, -0.001396, -1.53963, -0.0,
    -0.420871, -50.415009
]  # fmt: skip
MMAGIC_PCONV = [
    -6.516728, -5.502032, -8.785697, 0.694054, -5.547947, -6.041962, 4.480551, 0.427163, -8.614515, 3.463021,
    2.158998, -1.156467, 17180.208286
]  # fmt: skip
BOYUANJIANG = [
    -0.107029, -0.07372, -0.115567, -0.119687, -0.021981, -0.065148, -0.104763, -0.057445, -0.113929, -0.151523,
    -0.024169, -0.051006, -2403.557788
]  # fmt: skip
BOYUANJIANG_CRITIC = [
    0.466033, 0.289965
]  # fmt: skip


def random_state(shapes: Shapes, seed: int) -> dict[str, Tensor]:
    """Random weights of sensible size, drawn in the order of the sorted names."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for name, shape in sorted(shapes.items()):
        if "mask_conv" in name or "mask_updater" in name:
            state[name] = torch.ones(shape)
        elif name.endswith("num_batches_tracked"):
            state[name] = torch.zeros(shape, dtype=torch.long)
        elif name.endswith("running_var"):
            state[name] = 0.5 + torch.rand(shape, generator=generator)
        elif len(shape) == 1:
            state[name] = (1 if name.endswith("weight") else 0) + 0.1 * torch.randn(shape, generator=generator)
        else:
            state[name] = torch.randn(shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:]))
    return state


def random_input(size: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    """Images in [-1, 1] and masks (1 = hole), one rectangle a sample."""
    image = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mask = torch.zeros(batch, 1, size, size)
    for i in range(batch):
        mask[i, :, size // 4 + i : size // 2 + 3, size // 3 : 3 * size // 4 - i] = 1
    return image, mask


def layer(shapes: Shapes, name: str, outputs: int, inputs: int, kernel: int, bias: bool) -> None:
    shapes[f"{name}.weight"] = (outputs, inputs, kernel, kernel)
    if bias:
        shapes[f"{name}.bias"] = (outputs,)


def norm(shapes: Shapes, name: str, channels: int) -> None:
    for part in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"{name}.{part}"] = (channels,)
    shapes[f"{name}.num_batches_tracked"] = ()


def probe(output: Tensor) -> list[float]:
    """Twelve pixels that lie apart, and the sum."""
    flat = output.double().flatten()
    return [*flat[:: len(flat) // 12][:12].tolist(), flat.sum().item()]


def assert_probe(output: Tensor, expected: list[float]) -> None:
    values = probe(output.detach())
    torch.testing.assert_close(torch.tensor(values[:12]), torch.tensor(expected[:12]), atol=1e-4, rtol=0)
    assert abs(values[12] - expected[12]) < 1e-4 * max(output.numel() ** 0.5, abs(expected[12]))


def loaded(cls: type, imported: dict) -> torch.nn.Module:
    model = cls(**imported["hyper_parameters"])
    missing, unexpected = model.load_state_dict(imported["state_dict"], strict=False)
    assert not unexpected
    assert {name.split(".")[0] for name in missing} <= {"discriminator", "discriminator_global", "discriminator_local"}
    return model.eval()


# ---- partial convolution ---------------------------------------------------------------------------------------------


def u_net(levels: int) -> Iterator[tuple[str, int, int, int, int]]:
    """(part, number, inputs, outputs, kernel) of the U-Net of Liu et al. 2018, numbered from 1."""
    channels = [3, 64, 128, 256] + [512] * (levels - 3)
    for i in range(levels):
        yield "enc", i + 1, channels[i], channels[i + 1], [7, 5, 5][i] if i < 3 else 3
        yield "dec", i + 1, channels[i] + channels[i + 1], channels[i], 3


def naoto_shapes(levels: int) -> Shapes:
    shapes: Shapes = {}
    for part, i, inputs, outputs, kernel in u_net(levels):
        layer(shapes, f"{part}_{i}.conv.input_conv", outputs, inputs, kernel, bias=(part, i) == ("dec", 1))
        layer(shapes, f"{part}_{i}.conv.mask_conv", outputs, inputs, kernel, bias=False)
        if i > 1:
            norm(shapes, f"{part}_{i}.bn", outputs)
    return shapes


def mmagic_pconv_shapes(levels: int) -> Shapes:
    shapes: Shapes = {}
    for part, i, inputs, outputs, kernel in u_net(levels):
        name = f"generator.{'encoder' if part == 'enc' else 'decoder'}.{part}{i}"
        layer(shapes, f"{name}.conv", outputs, inputs, kernel, bias=i == 1)
        shapes[f"{name}.conv.weight_mask_updater"] = (outputs, inputs, kernel, kernel)
        if i > 1:
            norm(shapes, f"{name}.bn", outputs)
    return shapes


def naoto_state(levels: int) -> dict[str, Tensor]:
    # The port divides by sum(M) alone, so weights of the usual size would leave nothing but the biases.
    state = random_state(naoto_shapes(levels), 0)
    return {name: x * x[0].numel() if name.endswith("input_conv.weight") else x for name, x in state.items()}


def test_naoto0804_weights_compute_what_naoto0804_s_program_computes():
    imported = partial_conv_weights.convert({"n_iter": 1, "model": naoto_state(5)}, "naoto0804")
    image, mask = random_input(64)
    # github.com/naoto0804/pytorch-inpainting-with-partial-conv, net.py, PConvUNet(layer_size=5)
    assert_probe(loaded(PartialConv, imported).predict(image, mask), NAOTO)


def test_mmagic_weights_of_partial_convolution_compute_what_mmagic_computes():
    imported = partial_conv_weights.convert({"state_dict": random_state(mmagic_pconv_shapes(5), 0)}, "mmagic")
    image, mask = random_input(64)
    # github.com/open-mmlab/mmagic, PConvEncoder(num_layers=5), PConvDecoder(num_layers=5), fed BGR; shown as RGB
    assert_probe(loaded(PartialConv, imported).predict(image, mask), MMAGIC_PCONV)


def test_partial_convolution_of_two_sources_computes_what_nvidia_s_multi_channel_layer_computes():
    conv = PartialConv2d(6, 5, 5, stride=2, padding=2)
    conv.load_state_dict(random_state({"weight": (5, 6, 5, 5), "bias": (5,)}, 2))
    image, mask = random_input(64)
    out, known = conv([image, image.flip(2)], [1 - mask, (1 - mask).flip(3)])
    # github.com/NVIDIA/partialconv, models/partialconv2d.py, PartialConv2d(multi_channel=True, return_mask=True)
    assert_probe(out, NVIDIA)
    assert known.sum() * 5 == 9565


def test_formats_of_partial_convolution_are_told_apart():
    assert partial_conv_weights.detect({"model": dict.fromkeys(naoto_shapes(5), 0)}) == "naoto0804"
    assert partial_conv_weights.detect({"state_dict": dict.fromkeys(mmagic_pconv_shapes(5), 0)}) == "mmagic"
    assert partial_conv_weights.detect({"state_dict": {"generator.weight": 0}}) is None


# ---- context encoder -------------------------------------------------------------------------------------------------


def boyuanjiang_shapes(width: int, bottleneck: int) -> Shapes:
    w, shapes, number = width, Shapes(), 0
    for inputs, outputs in [(3, w), (w, w), (w, 2 * w), (2 * w, 4 * w), (4 * w, 8 * w), (8 * w, bottleneck)]:
        layer(shapes, f"main.{number}", outputs, inputs, 4, bias=False)
        if number:
            norm(shapes, f"main.{number + 1}", outputs)
        number += 3 if number else 2
    for inputs, outputs in [(bottleneck, 8 * w), (8 * w, 4 * w), (4 * w, 2 * w), (2 * w, w), (w, 3)]:
        layer(shapes, f"main.{number}", inputs, outputs, 4, bias=False)  # a transposed convolution: (in, out, k, k)
        if outputs != 3:
            norm(shapes, f"main.{number + 1}", outputs)
        number += 3
    return shapes


def boyuanjiang_critic_shapes(width: int) -> Shapes:
    w, shapes, number = width, Shapes(), 0
    for inputs, outputs in [(3, w), (w, 2 * w), (2 * w, 4 * w), (4 * w, 8 * w), (8 * w, 1)]:
        layer(shapes, f"main.{number}", outputs, inputs, 4, bias=False)
        if number and outputs != 1:
            norm(shapes, f"main.{number + 1}", outputs)
        number += 3 if number else 2
    return shapes


def test_boyuanjiang_s_weights_compute_what_its_program_computes():
    state = {"epoch": 1, "state_dict": random_state(boyuanjiang_shapes(16, 100), 0)}
    assert context_encoder_weights.detect(state) == "boyuanjiang"
    image, _ = random_input(128)
    mask = torch.zeros(2, 1, 128, 128)
    mask[..., 36:92, 36:92] = 1
    model = loaded(ContextEncoder, context_encoder_weights.convert(state, "boyuanjiang"))
    # github.com/BoyuanJiang/context_encoder_pytorch, model.py, _netG(nef=16, ngf=16, nBottleneck=100)
    assert_probe(model.predict(image, mask)[..., 32:96, 32:96], BOYUANJIANG)
    assert torch.equal(model.predict(image, mask), model.fill(erase(image, mask, 0.3), mask))


def test_boyuanjiang_s_critic_computes_what_its_program_computes():
    state = {"epoch": 1, "state_dict": random_state(boyuanjiang_critic_shapes(16), 3)}
    assert context_encoder_weights.detect(state) == "boyuanjiang_discriminator"
    imported = context_encoder_weights.convert(state, "boyuanjiang_discriminator")
    model = ContextEncoder(**imported["hyper_parameters"], bottleneck=8)
    model.load_state_dict(imported["state_dict"], strict=False)
    # the same, _netlocalD(ndf=16): a probability where ours is a logit
    probability = model.discriminator.eval()(random_input(64)[0]).sigmoid()
    torch.testing.assert_close(probability.detach(), torch.tensor(BOYUANJIANG_CRITIC), atol=1e-4, rtol=0)
