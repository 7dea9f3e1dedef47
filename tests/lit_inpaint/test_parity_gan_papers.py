"""Imported weights compute what the public programs compute.

Each program was run outside this repository with the random weights of :func:`random_state` in its own names and layout
and the input of :func:`random_input`; a few numbers that it printed stand here beside its address.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from experiments.weights.imports import main as import_weights
from lit_inpaint.layers.partial_conv import PartialConv2d
from lit_inpaint.load import load_method
from lit_inpaint.methods import GLCIC, ContextEncoder, DeepFillV1, DeepFillV2, PartialConv
from lit_inpaint.methods.context_encoder import weights as context_encoder_weights
from lit_inpaint.methods.deepfillv1 import weights as deepfillv1_weights
from lit_inpaint.methods.deepfillv2 import weights as deepfillv2_weights
from lit_inpaint.methods.glcic import weights as glcic_weights
from lit_inpaint.methods.partial_conv import weights as partial_conv_weights
from masks.convention import erase
from tests.support.published import assert_probe, assert_published, float64, random_state

Shapes = dict[str, tuple[int, ...]]

# Printed by the public programs: twelve pixels and the sum, see published.assert_probe().
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
BOYUANJIANG_DISCRIMINATOR = [
    0.466033, 0.289965
]  # fmt: skip
OTENIM = [
    0.129135, 0.177188, -0.106336, -0.221234, 0.153293, 0.028397, 0.131225, 0.172304, -0.106609, -0.215054,
    0.152526, 0.032063, 292.406268
]  # fmt: skip
OTENIM_DISCRIMINATOR = 0.56821
MMAGIC_GL = [
    0.132245, 0.045472, -0.114615, -0.109573, -0.093881, -0.130692, 0.136485, 0.046592, -0.111538, -0.112017,
    -0.091603, -0.130286, -193.594309
]  # fmt: skip
DAA233_COARSE = [
    -0.147233, 0.127281, 0.41508, 0.095642, 0.00431, 0.068994, -0.389557, -0.158418, 0.254208, 0.704265, 0.050996,
    -0.122879, 1147.310657
]  # fmt: skip
DAA233_REFINED = [
    -0.14817, 0.854462, 0.451345, -1.0, 0.215151, 0.161968, 0.25341, -0.552577, -0.202846, -0.728372, 0.492456,
    -0.008965, -2250.306914
]  # fmt: skip
MMAGIC_DEEPFILL = {
    1: [
        [
            0.0491, -0.010714, 0.255383, 0.268918, 0.267205, 0.190767, -0.008627, 0.052208, 0.279734, 0.289317,
            0.231147, 0.245846, 11464.812844
        ],
        [
            0.227955, -0.146746, -0.122043, 0.110915, 0.04147, 0.191434, -0.103891, 0.194904, 0.110321, -0.038466,
            0.210038, 0.058947, 2780.856813
        ],
    ],
    2: [
        [
            -0.227796, -0.322294, 0.343238, 0.040149, -0.549618, -0.44767, 0.005415, -0.327706, -0.174943, -0.10966,
            -0.24157, -0.253314, -6518.21358
        ],
        [
            0.229519, 0.137196, 0.16228, -0.078209, 0.623058, -0.194398, 0.099817, 0.09702, 0.047091, -0.325205,
            0.328388, 0.072063, 1632.181887
        ],
    ],
}  # fmt: skip
DAA233_DISCRIMINATORS = [0.350242, 1.027146, -0.453927, -1.220438]


@pytest.fixture(autouse=True)
def wide() -> Iterator[None]:
    with float64():
        yield


def random_input(size: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    """Images in [-1, 1] and masks (1 = hole), one rectangle a sample, as float64 of numbers drawn in float32."""
    image = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mask = torch.zeros(batch, 1, size, size)
    for i in range(batch):
        mask[i, :, size // 4 + i : size // 2 + 3, size // 3 : 3 * size // 4 - i] = 1
    return image.double(), mask.double()


def layer(shapes: Shapes, name: str, outputs: int, inputs: int, kernel: int, bias: bool) -> None:
    shapes[f"{name}.weight"] = (outputs, inputs, kernel, kernel)
    if bias:
        shapes[f"{name}.bias"] = (outputs,)


def norm(shapes: Shapes, name: str, channels: int) -> None:
    for part in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"{name}.{part}"] = (channels,)
    shapes[f"{name}.num_batches_tracked"] = ()


def loaded(cls: type, imported: dict) -> torch.nn.Module:
    model = cls(**imported["hyper_parameters"])
    missing, unexpected = model.load_state_dict(imported["state_dict"], strict=False)
    assert not unexpected
    assert {name.split(".")[0] for name in missing} <= {"discriminator", "discriminator_global", "discriminator_local"}
    return model.double().eval()


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
    out, known = conv.double()([image, image.flip(2)], [1 - mask, (1 - mask).flip(3)])
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


def boyuanjiang_discriminator_shapes(width: int) -> Shapes:
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


def test_boyuanjiang_s_discriminator_computes_what_its_program_computes():
    state = {"epoch": 1, "state_dict": random_state(boyuanjiang_discriminator_shapes(16), 3)}
    assert context_encoder_weights.detect(state) == "boyuanjiang_discriminator"
    imported = context_encoder_weights.convert(state, "boyuanjiang_discriminator")
    model = ContextEncoder(**imported["hyper_parameters"], bottleneck=8)
    model.load_state_dict(imported["state_dict"], strict=False)
    # the same, _netlocalD(ndf=16): a probability where ours is a logit
    probability = model.discriminator.double().eval()(random_input(64)[0]).sigmoid()
    assert_published(probability, BOYUANJIANG_DISCRIMINATOR)


# ---- GLCIC -----------------------------------------------------------------------------------------------------------

# (inputs, outputs, kernel) of layers 1-17.
COMPLETION = [
    *((4, 64, 5), (64, 128, 3), (128, 128, 3), (128, 256, 3), *[(256, 256, 3)] * 8),
    *((256, 128, 4), (128, 128, 3), (128, 64, 4), (64, 32, 3), (32, 3, 3)),
]


def otenim_shapes() -> Shapes:
    shapes: Shapes = {}
    for number, (inputs, outputs, kernel) in enumerate(COMPLETION, start=1):
        if kernel == 4:
            shapes[f"deconv{number}.weight"] = (inputs, outputs, 4, 4)
            shapes[f"deconv{number}.bias"] = (outputs,)
        else:
            layer(shapes, f"conv{number}", outputs, inputs, kernel, bias=True)
        if number < 17:
            norm(shapes, f"bn{number}", outputs)
    return shapes


def otenim_discriminator_shapes() -> Shapes:
    """The configuration for CelebA: 160 px, crops of 96 px."""
    shapes: Shapes = {"linear1.weight": (1, 2048), "linear1.bias": (1,)}
    for branch, pixels in (("model_ld", 3 * 3), ("model_gd", 5 * 5)):
        for number, (inputs, outputs) in enumerate([(3, 64), (64, 128), (128, 256), (256, 512), (512, 512)], start=1):
            layer(shapes, f"{branch}.conv{number}", outputs, inputs, 5, bias=True)
            norm(shapes, f"{branch}.bn{number}", outputs)
        shapes[f"{branch}.linear6.weight"], shapes[f"{branch}.linear6.bias"] = (1024, 512 * pixels), (1024,)
    return shapes


def mmagic_gl_shapes() -> Shapes:
    names = [
        *(f"generator.encoder.enc{i}" for i in range(1, 7)),
        *(f"generator.dilation_neck.dilation_convs.{i}" for i in range(4)),
        *(f"generator.decoder.dec{i}" for i in range(1, 8)),
    ]
    shapes: Shapes = {}
    for name, (inputs, outputs, kernel) in zip(names, COMPLETION, strict=True):
        first, second = (inputs, outputs) if kernel == 4 else (outputs, inputs)
        layer(shapes, f"{name}.conv", first, second, kernel, bias=outputs == 3)
        if outputs != 3:
            norm(shapes, f"{name}.bn", outputs)
    return shapes


def test_otenim_s_weights_compute_what_its_program_computes():
    state = random_state(otenim_shapes(), 4)
    assert glcic_weights.detect(state) == "otenim"
    image, mask = random_input(32)
    model = loaded(GLCIC, glcic_weights.convert(state, "otenim", mean=(0.5, 0.4, 0.3)))
    # github.com/otenim/GLCIC-PyTorch, models.py, CompletionNetwork, with mpv (0.5, 0.4, 0.3)
    assert_probe(model.predict(image, mask), OTENIM)


def test_otenim_s_colour_of_the_hole_is_given_by_its_config(tmp_path: Path):
    torch.save(random_state(otenim_shapes(), 4), tmp_path / "x.pth")
    command = ["GLCIC", str(tmp_path / "x.pth"), "--out", str(tmp_path / "x.ckpt")]
    with pytest.raises(ValueError, match=r"three numbers in \[0, 1\]"):
        import_weights([*command, "--mean", "128", "100", "80"])
    import_weights([*command, "--mean", "0.5", "0.4", "0.3"])
    image, mask = random_input(32)
    assert_probe(load_method(tmp_path / "x.ckpt").double().predict(image, mask), OTENIM)


def test_otenim_s_discriminator_computes_what_its_program_computes():
    state = random_state(otenim_discriminator_shapes(), 5)
    assert glcic_weights.detect(state) == "otenim_discriminator"
    imported = glcic_weights.convert(state, "otenim_discriminator")
    with torch.device("meta"):
        discriminator = GLCIC(size=160, local_size=96, **imported["hyper_parameters"]).discriminator
    weights = {name.removeprefix("discriminator."): value for name, value in imported["state_dict"].items()}
    discriminator.load_state_dict(weights, assign=True)
    image = random_input(160, batch=1)[0]
    # the same, ContextDiscriminator((3, 96, 96), (3, 160, 160), arc="celeba"): a probability where ours is a logit
    probability = discriminator.double().eval()(image, image[..., 10:106, 20:116]).sigmoid()
    assert_published(probability, [OTENIM_DISCRIMINATOR])


def test_mmagic_s_weights_of_glcic_compute_what_mmagic_computes():
    state = {"state_dict": random_state(mmagic_gl_shapes(), 6)}
    assert glcic_weights.detect(state) == "mmagic"
    image, mask = random_input(32)
    # github.com/open-mmlab/mmagic, GLEncoderDecoder of configs/_base_/models/base_gl.py, fed BGR; shown as RGB
    assert_probe(loaded(GLCIC, glcic_weights.convert(state, "mmagic")).predict(image, mask), MMAGIC_GL)


# ---- DeepFill v1 -----------------------------------------------------------------------------------------------------


def daa233_shapes(c: int) -> Shapes:
    """c: ngf of the port's configuration, 32 as published."""
    coarse = [(5, c), (c, 2 * c), (2 * c, 2 * c), (2 * c, 4 * c), *[(4 * c, 4 * c)] * 8]
    coarse += [(4 * c, 2 * c), (2 * c, 2 * c), (2 * c, c), (c, c // 2), (c // 2, 3)]
    branch = [(5, c), (c, c), (c, 2 * c), (2 * c, 2 * c), (2 * c, 4 * c), *[(4 * c, 4 * c)] * 5]
    attention = [(5, c), (c, c), (c, 2 * c), (2 * c, 4 * c), *[(4 * c, 4 * c)] * 4]
    merged = [(8 * c, 4 * c), (4 * c, 4 * c), (4 * c, 2 * c), (2 * c, 2 * c), (2 * c, c), (c, c // 2), (c // 2, 3)]
    suffix = {2: "_downsample", 4: "_downsample", 7: "_atrous", 8: "_atrous", 9: "_atrous", 10: "_atrous"}
    numbers = [1, 2, 3, 4, 5, 6, 9, 10]
    rows = [(f"coarse_generator.conv{i}{suffix.get(i, '')}", io) for i, io in enumerate(coarse, 1)]
    rows += [(f"fine_generator.conv{i}{suffix.get(i, '')}", io) for i, io in enumerate(branch, 1)]
    rows += [
        (f"fine_generator.pmconv{i}{suffix[i] if i < 5 and i in suffix else ''}", io)
        for i, io in zip(numbers, attention, strict=True)
    ]
    rows += [(f"fine_generator.allconv{i}", io) for i, io in enumerate(merged, 11)]
    shapes: Shapes = {}
    for name, (inputs, outputs) in rows:
        layer(shapes, f"{name}.conv", outputs, inputs, 5 if inputs == 5 else 3, bias=True)
    return shapes


def daa233_discriminator_shapes(c: int, side: int) -> Shapes:
    shapes: Shapes = {"linear.weight": (1, 4 * c * side * side), "linear.bias": (1,)}
    for i, (inputs, outputs) in enumerate([(3, c), (c, 2 * c), (2 * c, 4 * c), (4 * c, 4 * c)], 1):
        layer(shapes, f"dis_conv_module.conv{i}.conv", outputs, inputs, 5, bias=True)
    return shapes


def test_daa233_s_weights_compute_what_its_program_computes():
    state = random_state(daa233_shapes(8), 7)
    assert deepfillv1_weights.detect(state) == "daa233"
    image, mask = random_input(64)
    mask = mask[:1].repeat(2, 1, 1, 1)  # the port uses the first mask for the whole batch
    model = loaded(DeepFillV1, deepfillv1_weights.convert(state, "daa233"))
    coarse, refined = model.generator(erase(image, mask), mask)
    # github.com/daa233/generative-inpainting-pytorch, model/networks.py, Generator with ngf 8
    assert_probe(coarse, DAA233_COARSE)
    assert_probe(refined, DAA233_REFINED)


def test_daa233_s_discriminators_compute_what_its_program_computes():
    state = {
        "localD": random_state(daa233_discriminator_shapes(4, 8), 8),
        "globalD": random_state(daa233_discriminator_shapes(4, 16), 9),
    }
    assert deepfillv1_weights.detect(state) == "daa233_discriminator"
    imported = deepfillv1_weights.convert(state, "daa233_discriminator")
    model = DeepFillV1(width=2, **imported["hyper_parameters"])
    model.load_state_dict(imported["state_dict"], strict=False)
    model, image = model.double(), random_input(256)[0]
    logits = torch.cat([model.discriminator_local(image[..., :128, :128]), model.discriminator_global(image)])
    # the same, LocalDis and GlobalDis with ndf 4
    assert_published(logits, DAA233_DISCRIMINATORS)


def test_weights_that_tensorflow_trained_get_its_padding_and_our_colour_order():
    state = random_state(daa233_shapes(8), 7)
    converted = deepfillv1_weights.convert({f"netG.{k}": v for k, v in state.items()}, "daa233_converted")
    assert converted["hyper_parameters"] == {"variant": "official", "width": 8}
    native = loaded(DeepFillV1, deepfillv1_weights.convert(state, "daa233") | {"hyper_parameters": {"width": 8}})
    image, mask = random_input(64)
    torch.testing.assert_close(
        loaded(DeepFillV1, converted).predict(image, mask),
        native.predict(image.flip(1), mask).flip(1),
    )


def mmagic_deepfill_shapes(version: int) -> Shapes:
    """DeepFillEncoderDecoder of its two configurations."""
    c, gated, shapes = (32, 1, {}) if version == 1 else (24, 2, {})  # a gated convolution computes twice its channels
    encoders = {
        "stage1.encoder": [5, c, 2 * c, 2 * c, 4 * c, 4 * c, 4 * c],
        "stage2.encoder_conv": [5, c, c, 2 * c, 2 * c, 4 * c, 4 * c],
        "stage2.encoder_attention": [5, c, c, 2 * c, 4 * c, 4 * c, 4 * c],
    }
    decoders = {
        "stage1.decoder": [4 * c, 4 * c, 4 * c, 2 * c, 2 * c, c, c // 2, 3],
        "stage2.decoder": [8 * c, 128, 128, 64, 64, 32, 16, 3],
    }
    rows = [
        (f"{part}.{part.split('.')[1][:3]}{i}", inputs, outputs, 5 if inputs == 5 else 3)
        for part, channels in (encoders | decoders).items()
        for i, (inputs, outputs) in enumerate(pairwise(channels), 1)
    ]
    rows += [(f"stage{s}.dilation_neck.dilation_convs.{i}", 4 * c, 4 * c, 3) for s in (1, 2) for i in range(4)]
    rows += [(f"stage2.contextual_attention_neck.conv{i}", 4 * c, 4 * c, 3) for i in (1, 2)]
    for name, inputs, outputs, kernel in rows:
        nested = f"generator.{name}{'.conv' * version}"
        layer(shapes, nested, gated * outputs, inputs, kernel, bias=True)
    return shapes


@pytest.mark.parametrize("version", [1, 2])
def test_mmagic_s_deepfill_weights_compute_what_its_programs_compute(version: int):
    state = random_state(mmagic_deepfill_shapes(version), 4 + version)
    assert sum(math.prod(value.shape) for value in state.values()) == {1: 3_601_542, 2: 4_414_908}[version]
    for value in state.values():  # the outputs neither vanish nor saturate
        if value.ndim == 4 and version == 1:
            value.mul_(0.05 if len(value) == 3 else 1)
        elif value.ndim == 4:
            value.mul_(0.5 if len(value) == 6 else 1.6)
    module, cls = (deepfillv1_weights, DeepFillV1) if version == 1 else (deepfillv2_weights, DeepFillV2)
    file = {"state_dict": state}
    assert [m.detect(file) for m in (deepfillv1_weights, deepfillv2_weights)].index("mmagic") == version - 1
    model = loaded(cls, module.convert(file, "mmagic"))
    image, mask = random_input(96)
    outputs = model.generator(erase(image, mask).flip(1), mask)  # its images are BGR
    # github.com/open-mmlab/mmagic, DeepFillEncoderDecoder of configs/_base_/models/base_deepfillv1.py and ...v2.py;
    # what `export` writes loads there with strict=True and gives the same numbers
    for output, expected in zip(outputs, MMAGIC_DEEPFILL[version], strict=True):
        assert_probe(output.flip(1), expected)
    back = module.export(model)["state_dict"]
    assert all(torch.equal(back[name], value) for name, value in state.items())
    everything = model.predict(image, torch.ones_like(mask))  # no key left: mmagic gives NaN
    assert everything.isfinite().all()
    with pytest.raises(ValueError, match="72 px"):
        model.predict(image[..., :64, :64], mask[..., :64, :64])
