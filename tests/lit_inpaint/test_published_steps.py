"""Whole training steps equal those of the published programs: gradients and updates over several steps.

Each program was run outside this repository, in float64, on the inputs of :func:`batch`, with the random weights of
``random_state`` in its own names; the norms of the gradient and of the update of every optimiser step, and some of the
gradients, are what it printed. Its layers were made narrower where the test says so, which the programs have no option
for: the classes of torch.nn that they build on divided every number of channels above 7 by 8.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from lit_inpaint.methods import GLCIC, ContextEncoder
from lit_inpaint.methods.context_encoder import weights as context_encoder_weights
from lit_inpaint.methods.glcic import method as glcic
from lit_inpaint.methods.glcic import weights as glcic_weights
from masks.convention import InpaintingBatch
from tests.support.fitting import items_of
from tests.support.published import float64, random_state
from tests.support.steps import Step, assert_steps, steps_of


@pytest.fixture(autouse=True)
def wide() -> Iterator[None]:
    with float64():
        yield


def batch(size: int, boxes: list[tuple[int, int, int, int]]) -> list[InpaintingBatch]:
    """Images of torch.rand (generator of seed 1, float32) in [-1, 1], and one hole each: top, bottom, left, right."""
    image = torch.rand(len(boxes), 3, size, size, generator=torch.Generator().manual_seed(1)).double() * 2 - 1
    mask = torch.zeros(len(boxes), 1, size, size, dtype=torch.float64)
    for one, (top, bottom, left, right) in zip(mask, boxes, strict=True):
        one[:, top:bottom, left:right] = 1
    return items_of(image, mask)


def renamed(state: dict[str, Tensor], *pairs: tuple[str, str]) -> dict[str, Tensor]:
    for old, new in pairs:
        state = {name.replace(old, new): value for name, value in state.items()}
    return state


def drawn(state: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    return random_state({name: tuple(value.shape) for name, value in state.items()}, seed)


# ---- GLCIC -----------------------------------------------------------------------------------------------------------

# github.com/otenim/GLCIC-PyTorch 3f9de13, main() of train.py, --steps_1 1 --steps_2 1 --steps_3 3 --cn_input_size 128
# --mpv 0.5 0.4 0.3 --alpha 0.4, all layers an eighth as wide; weights of seeds 4 (CompletionNetwork) and 5
# (ContextDiscriminator, its linear1.weight * 0.02: a critic in doubt); areas (20, 10) for the fake and (3, 29) for the
# real image, of 96 px. Picked: conv1.weight, conv17.bias; model_gd.conv1.weight, model_ld.conv1.weight, linear1.bias.
OTENIM = [
    Step("generator", 0.17875693, 0.13072681, [0.0012332272, 0.00096601682, -0.001245059, 2.4897086e-05]),
    Step(
        "discriminator", 3.0126013, 0.39545417, [0.0097584534, 0.0082944516, -0.002825972, 0.0010802158, -0.019959894]
    ),
    Step(
        "discriminator",
        1.6312829,
        0.23208359,
        [0.00031996615, 0.0020068599, 0.00019811293, 0.0041546222, -0.0032139315],
    ),
    Step("generator", 7.5871685, 0.81909672, [-0.058801582, -0.024638015, 0.0012829367, -0.017291986]),
    Step("discriminator", 2.9260857, 0.51531924, [0.0080467023, 0.0080578814, 0.0012579049, -0.0032640245, -0.1061215]),
    Step("generator", 4.5677474, 0.69879657, [-0.022978772, -0.067818661, -0.0012632058, 0.0035924868]),
    Step(
        "discriminator",
        1.8923309,
        0.45620806,
        [-0.0074360134, -0.005011217, 0.00081622707, -0.0027665471, -0.046190963],
    ),
    Step("generator", 4.1544975, 0.67187166, [0.013030359, -0.0074103484, 0.0057846555, 0.0010740355]),
]
# The losses that it summed in these steps: completion, then BCE of fake, of real and of the generator, as far as the
# phase has them.
OTENIM_LOSSES = [
    (0.07065673550666955, None, None, None),
    (None, 0.6582157994507041, 0.738467407205453, None),
    (0.06844967066312606, 0.518905448679053, 0.5463461215729506, 1.3480809387323975),
    (0.0697265716498142, 0.6771432623989625, 0.33128066557718494, 0.9104637625960044),
    (0.06993019506860874, 0.7899274130605598, 0.19771161026932627, 0.7588747025191911),
]
# github.com/open-mmlab/mmagic 0a560bb, GLInpaintor.train_step with configs/_base_/models/base_gl.py (BN for SyncBN, 5
# convolutions in both discriminators, loss_gan of weight 1), local_size 96, iter_tc 0, iter_td 1, all layers an eighth
# as wide, fed BGR; weights of seeds 6 (dec7.conv.weight * 0.2: few clipped values) and 7 (fc.weight * 0.02). Picked, as
# RGB: enc1.conv.weight, dec7.conv.bias; global_disc.conv1.conv.weight, local_disc.conv1.conv.weight, fc.bias.
MMAGIC = [
    Step("generator", 0.1517759, 0.12408271, [-0.00073880049, 3.620937e-05, 0.02559387, -0.00022988506]),
    Step(
        "discriminator",
        2.7316254,
        0.27019465,
        [-0.0022916009, 0.0024644148, -0.0065460004, 0.0035703921, 0.00084330197],
    ),
    Step(
        "discriminator", 3.6879484, 0.22322314, [-0.0021298239, 9.305487e-06, 0.0025234372, 0.0038859652, 0.0034150719]
    ),
    Step("generator", 0.49713919, 0.092275816, [-0.0054065148, -0.0077227953, 0.011290613, 0.004471407]),
    Step(
        "discriminator", 4.6793999, 0.2035953, [-0.0017898363, -0.0022932287, 0.0026704166, 0.00034025874, 0.010598779]
    ),
    Step("generator", 0.55475728, 0.080963833, [-0.0040006914, -0.0027247634, 0.021785066, 0.0094211784]),
    Step("discriminator", 5.5479714, 0.193748, [0.00010768389, -0.0021756866, 0.0046682711, 0.0041061618, 0.017937332]),
    Step("generator", 0.62722637, 0.07487784, [-0.0046083017, 0.0036652623, 0.019543684, 0.013395098]),
]
MMAGIC_L1 = {0: 0.5041634945919454, 2: 0.4980026578123928, 3: 0.496319615653009, 4: 0.4958142806773259}
MMAGIC_BCE = {2: 0.7562741007365409, 3: 0.7792942789142686, 4: 0.8086984149693803}  # of the generator
GLCIC_PICKED = [
    "generator.layers.0.conv.weight", "generator.layers.16.bias", "discriminator.whole.layers.0.conv.weight",
    "discriminator.local.layers.0.conv.weight", "discriminator.linear.bias",
]  # fmt: skip


def otenim() -> GLCIC:
    model = GLCIC(
        variant="otenim", size=128, local_size=96, width=8, features=128, mean=(0.5, 0.4, 0.3), adversarial_weight=0.4,
        completion_steps=1, discriminator_steps=1,
    )  # fmt: skip
    theirs = renamed(
        {f"discriminator.{name}": value for name, value in model.discriminator.state_dict().items()},
        ("discriminator.linear", "linear1"), ("discriminator.whole", "model_gd"), ("discriminator.local", "model_ld"),
        ("model_gd.linear", "model_gd.linear6"), ("model_ld.linear", "model_ld.linear6"),
        *[(f"layers.{i}.conv", f"conv{i + 1}") for i in range(5)],
        *[(f"layers.{i}.norm", f"bn{i + 1}") for i in range(5)],
    )  # fmt: skip
    discriminator = drawn(theirs, 5)
    discriminator["linear1.weight"] *= 0.02
    generator = glcic_weights.convert(drawn(glcic_weights.export(model), 4), "otenim")
    converted = glcic_weights.convert(discriminator, "otenim_discriminator")
    model.load_state_dict(generator["state_dict"] | converted["state_dict"])
    return model.double()


def mmagic() -> GLCIC:
    model = GLCIC(
        variant="mmagic", size=128, local_size=96, width=8, features=128, adversarial_weight=1.0,
        completion_steps=1, discriminator_steps=1,
    )  # fmt: skip
    generator = drawn(glcic_weights.export(model)["state_dict"], 6)
    generator["generator.decoder.dec7.conv.weight"] *= 0.2
    pairs = (
        ("linear.", "fc.linear."), ("whole.", "global_disc."), ("local.", "local_disc."),
        *[(f"layers.{i}.conv", f"conv{i + 1}.conv") for i in range(5)],
        *[(f"layers.{i}.norm", f"conv{i + 1}.bn") for i in range(5)],
    )  # fmt: skip
    ours = {k: v for k, v in model.discriminator.state_dict().items() if not k.endswith("conv.bias")}  # there are none
    last = {name: ours.pop(name) for name in ("linear.weight", "linear.bias")}
    theirs = drawn(renamed(ours, *pairs) | renamed(last, ("linear", "fc")), 7)
    theirs["fc.weight"] *= 0.02
    back = renamed(theirs, *[(new, old) for old, new in reversed(pairs)], ("fc.", "linear."))
    for branch in ("whole", "local"):
        back[f"{branch}.layers.0.conv.weight"] = back[f"{branch}.layers.0.conv.weight"].flip(1)  # sees BGR
    biases = {k: torch.zeros_like(v) for k, v in model.discriminator.state_dict().items() if k.endswith("conv.bias")}
    discriminator = {f"discriminator.{name}": value for name, value in (biases | back).items()}
    model.load_state_dict(glcic_weights.convert({"state_dict": generator}, "mmagic")["state_dict"] | discriminator)
    return model.double()


def test_glcic_s_mmagic_trains_as_its_program_with_a_small_and_a_large_hole():
    steps, logged = steps_of(mmagic(), batch(128, [(10, 100, 20, 110), (40, 60, 50, 80)]), 5, GLCIC_PICKED)
    assert_steps(steps, MMAGIC)
    for step, completion in MMAGIC_L1.items():
        assert logged[step]["train/completion"] == pytest.approx(completion, rel=1e-4)
    for step, adversarial in MMAGIC_BCE.items():
        assert logged[step]["train/adversarial"] == pytest.approx(adversarial, rel=1e-4)


def test_glcic_s_otenim_trains_as_its_program(monkeypatch: pytest.MonkeyPatch):
    def at(mask: Tensor, size: int) -> tuple[Tensor, Tensor]:
        top, left = (10, 20) if mask.any() else (29, 3)  # the areas of the program's run
        return torch.full((len(mask),), top), torch.full((len(mask),), left)

    monkeypatch.setattr(glcic, "random_corner", at)
    steps, logged = steps_of(otenim(), batch(128, [(10, 80, 30, 116), (10, 106, 20, 116)]), 5, GLCIC_PICKED)
    assert_steps(steps, OTENIM)
    for step, (values, (completion, fake, real, adversarial)) in enumerate(zip(logged, OTENIM_LOSSES, strict=True)):
        if completion:
            assert values["train/completion"] == pytest.approx(completion, rel=1e-4)
        if fake and real:
            share = 0.5 if step == 1 else 0.4 / 2
            assert values["train/discriminator_loss"] == pytest.approx(share * (fake + real), rel=1e-4)
        if completion and adversarial:
            assert values["train/generator_loss"] == pytest.approx((completion + 0.4 * adversarial) / 2, rel=1e-4)


# ---- ContextEncoder --------------------------------------------------------------------------------------------------

# github.com/BoyuanJiang/context_encoder_pytorch 01cbf96, the loop of train.py around its _netG and _netlocalD with nef,
# ngf, ndf 8 and nBottleneck 16 (labels shaped like the output, as today's BCELoss demands); weights of seeds 0 and 3.
# Picked: the first convolution's weights.
BOYUANJIANG = [
    Step("discriminator", 14.747748, 0.04225628, [0.094107594, 0.078964281]),
    Step("generator", 1.294128, 0.069590592, [0.00042801743, 0.010162711]),
    Step("discriminator", 13.684137, 0.038333101, [0.12722827, 0.054625214]),
    Step("generator", 1.3820706, 0.059946615, [0.0096196129, 0.011267521]),
    Step("discriminator", 12.166499, 0.036663394, [0.10440059, 0.016096293]),
    Step("generator", 1.3123917, 0.056127812, [0.0086013594, 0.018536636]),
]
# Its errD, errG_D and errG.
BOYUANJIANG_LOSSES = [
    (2.441030644711361, 0.8840495520818941, 1.6262975617695081),
    (2.02794861063926, 1.019947992138297, 1.587489028471903),
    (1.6470239266156896, 1.1800943549714151, 1.5455872218846565),
]
CONTEXT_PICKED = ["generator.encoder.0.weight", "discriminator.layers.0.weight"]


def boyuanjiang() -> ContextEncoder:
    model = ContextEncoder(
        variant="boyuanjiang", width=8, bottleneck=16, l2_weight=0.998**2, adversarial_weight=0.002, learning_rate=2e-4
    )  # wtl2 multiplies the L2 twice there
    generator = drawn(context_encoder_weights.export(model)["state_dict"], 0)
    shapes: dict[str, tuple[int, ...]] = {"main.0.weight": (8, 3, 4, 4), "main.11.weight": (1, 64, 4, 4)}
    for number, width in ((2, 16), (5, 32), (8, 64)):
        shapes[f"main.{number}.weight"] = (width, width // 2, 4, 4)
        parts = ("weight", "bias", "running_mean", "running_var")
        shapes |= {f"main.{number + 1}.{part}": (width,) for part in parts}
        shapes[f"main.{number + 1}.num_batches_tracked"] = ()
    formats = {"boyuanjiang": generator, "boyuanjiang_discriminator": random_state(shapes, 3)}
    for name, state in formats.items():
        converted = context_encoder_weights.convert(state, name)
        assert converted["hyper_parameters"]["variant"] == "boyuanjiang"
        model.load_state_dict(converted["state_dict"], strict=False)
    return model.double()


def test_the_context_encoder_of_boyuanjiang_trains_as_its_program():
    model = boyuanjiang()
    steps, logged = steps_of(model, batch(128, [(40, 90, 40, 90)] * 4), 3, CONTEXT_PICKED)
    assert_steps(steps, BOYUANJIANG)
    for values, (discriminator, adversarial, generator) in zip(logged, BOYUANJIANG_LOSSES, strict=True):
        assert values["train/discriminator_loss"] == pytest.approx(discriminator, rel=1e-4)
        assert values["train/adversarial"] == pytest.approx(adversarial, rel=1e-4)
        assert values["train/generator_loss"] == pytest.approx(generator, rel=1e-4)
    assert not any(m.bias.any() for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d))


class Torch7:
    """A network as Torch7 holds it: layers that keep the input of their last forward pass, and one flat optimiser.

    train.lua and train_random.lua of github.com/pathak22/context-encoder 68abd11 do not run any more (Lua Torch7); this
    repeats their arithmetic in float64 on layers of torch.nn, of which each one's own backward pass is taken alone.
    """

    def __init__(self, network: nn.Module, learning_rate: float, epsilon: float | None) -> None:
        self.layers = [m for m in network.modules() if not any(m.children())]
        self.parameters = list(network.parameters())
        self.learning_rate, self.epsilon = learning_rate, epsilon
        self.m = [torch.zeros_like(p) for p in self.parameters]
        self.v = [torch.zeros_like(p) for p in self.parameters]
        self.t = 0

    def zero_conv_biases(self) -> None:
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        self.inputs = []
        with torch.no_grad():
            for layer in self.layers:
                self.inputs.append(x)
                x = layer(x)
        return x

    def backward(self, gradient: Tensor, accumulate: bool) -> Tensor:
        """``backward`` or, without ``accumulate``, ``updateGradInput``: old activations, the weights of now."""
        for layer, x in zip(reversed(self.layers), reversed(self.inputs), strict=True):
            x = x.clone().requires_grad_()
            of = [x, *layer.parameters()]
            gradient, *own = torch.autograd.grad(layer(x.clone()), of, gradient)
            for parameter, value in zip(layer.parameters(), own, strict=True):
                if accumulate:
                    parameter.grad = value if parameter.grad is None else parameter.grad + value
        return gradient

    def adam(self) -> tuple[float, float, list[float]]:
        """optim.adam with beta1 0.5; ``epsilon`` None: torch.optim's, which is added to the corrected root instead."""
        self.t += 1
        gradients, moved = [p.grad for p in self.parameters], []
        for p, m, v in zip(self.parameters, self.m, self.v, strict=True):
            m.mul_(0.5).add_(p.grad, alpha=0.5)
            v.mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
            correction = (1 - 0.999**self.t) ** 0.5
            epsilon = 1e-8 * correction if self.epsilon is None else self.epsilon
            moved.append(self.learning_rate * correction / (1 - 0.5**self.t) * m / (v.sqrt() + epsilon))
            p.data -= moved[-1]
            p.grad = None
        gradient, update = (torch.cat([x.flatten() for x in each]).norm().item() for each in (gradients, moved))
        return gradient, update, gradients[0].flatten()[:2].tolist()


def bce(probability: Tensor, label: float) -> tuple[float, Tensor]:
    """nn.BCECriterion: the loss and its gradient."""
    p, tiny = probability, 1e-12
    loss = -(label * (p + tiny).log() + (1 - label) * (1 - p + tiny).log()).mean()
    return loss.item(), -(label - p) / ((1 - p + tiny) * (p + tiny)) / p.numel()


def train_lua(
    model: ContextEncoder, image: Tensor, mask: Tensor, count: int, epsilon: float | None
) -> tuple[list[Step], list[tuple[float, float, float]]]:
    """``count`` turns of the loop of train.lua (region centre) or train_random.lua, wtl2 0.999."""
    network_d = nn.Sequential(model.discriminator.layers, nn.Sigmoid())
    network_g = nn.Sequential(model.generator.encoder, model.generator.bottleneck, model.generator.decoder)
    d, g = Torch7(network_d, 2e-4, epsilon), Torch7(network_g, 2e-3, epsilon)
    steps, losses = [], []
    colour = (2 * torch.tensor([117.0, 104.0, 123.0], dtype=torch.float64) / 255 - 1)[:, None, None]
    for _ in range(count):
        d.zero_conv_biases(), g.zero_conv_biases()
        hole, real = mask, image
        weights = torch.full_like(image, 0.999)
        if model.region == "centre":
            size, quarter, overlap = image.shape[-1], image.shape[-1] // 4, model.overlap
            hole = torch.zeros_like(mask)
            first, last = quarter + overlap, quarter + size // 2 - overlap
            hole[..., first:last, first:last] = 1
            real = image[..., quarter : quarter + size // 2, quarter : quarter + size // 2]
            weights = torch.full_like(real, 10 * 0.999)
            weights[..., overlap : size // 2 - overlap, overlap : size // 2 - overlap] = 0.999
        error_real, slope = bce(d.forward(real), 1)
        d.backward(slope, accumulate=True)
        fake = g.forward(torch.where(hole == 1, colour, image))
        error_fake, slope = bce(d.forward(fake), 0)
        d.backward(slope, accumulate=True)
        output = bce(d.layers[-1](d.inputs[-1]), 1)
        steps.append(Step("discriminator", *d.adam()))
        d.zero_conv_biases(), g.zero_conv_biases()
        slope = d.backward(output[1], accumulate=False)
        g.backward((1 - 0.999) * slope + weights * 2 * (fake - real) / fake.numel(), accumulate=True)
        losses.append((error_real + error_fake, output[0], (fake - real).square().mean().item()))
        steps.append(Step("generator", *g.adam()))
    return steps, losses


def context_encoder(region: str) -> ContextEncoder:
    torch.manual_seed(0)
    model = ContextEncoder(region=region, size=64, width=8, bottleneck=16).double()
    for name, value in model.state_dict().items():  # one draw for every weight: a critic that already matters
        if name.startswith("discriminator") and name.endswith("weight") and value.ndim == 4:
            value *= 3
    return model


@pytest.mark.parametrize("region", ["centre", "random"])
def test_the_context_encoder_trains_as_train_lua_computes(region: str):
    items = batch(64, [(22, 42, 20, 44), (22, 40, 24, 44)])
    image, mask = (torch.stack([getattr(item, part) for item in items]) for part in ("image", "mask"))
    expected, losses = train_lua(context_encoder(region), image, mask, 3, epsilon=None)
    model = context_encoder(region)
    steps, logged = steps_of(model, items, 3, CONTEXT_PICKED)
    assert_steps(steps, expected)
    biases = [m.bias for m in model.discriminator.modules() if isinstance(m, nn.Conv2d)]
    assert not any(bias.any() for bias in biases)  # what the last closure left, and what a checkpoint holds
    for values, (discriminator, adversarial, l2) in zip(logged, losses, strict=True):
        assert values["train/discriminator_loss"] == pytest.approx(discriminator, rel=1e-4)
        assert values["train/adversarial"] == pytest.approx(adversarial, rel=1e-4)
        assert values["train/l2"] == pytest.approx(l2, rel=1e-4)
