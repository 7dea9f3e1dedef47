"""DSI: its layers against the official program and closed forms, its three stages, and what they become together.

The official program (USTC-JialunPeng/Diverse-Structure-Inpainting, commit 0def26d, net/*.py) was run outside this
repository under tf.compat.v1 of TensorFlow 2.21, with tf_slim's arg_scope in place of tf.contrib's, at its published
widths, with the weights of :func:`official_weights` and the inputs below; what it printed stands here.
"""

import math
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from experiments.weights.assemble import main as assemble_command
from lit_inpaint.callbacks import EMA
from lit_inpaint.discriminators import SNPatchGAN
from lit_inpaint.layers.tf_same import Conv2dSame
from lit_inpaint.load import load_method
from lit_inpaint.methods import DSI
from lit_inpaint.methods.dsi import DSIVQVAE, DSIStructure, DSITexture, weights
from lit_inpaint.methods.dsi.loss import feature_loss
from lit_inpaint.methods.dsi.structure import CausalAttention, GatedResNet, PixelCNN, WNConv2d
from lit_inpaint.methods.dsi.texture import structure_attention
from lit_inpaint.methods.dsi.vqvae import Codebook
from lit_inpaint.metrics import metric
from lit_inpaint.stage import Stage
from tests.support import processes
from tests.support.contract import ROWS, STAGES, batches, trainer
from tests.support.dsi import stage, train_on, trained_vqvae
from tests.support.overfit import photograph, psnr_hole, square, telea, views
from tests.support.published import assert_probe, assert_published, float64

ENC_T = [
    0.356411, -0.044, -0.187585, -0.138974, 0.192135, 0.108102, 0.948412, 0.052508, 0.193632, -0.324888, -1.590574,
    -0.001489, 330.431756
]  # fmt: skip
ENC_B = [
    -0.256751, -1.066252, 0.888111, 0.031543, -0.472733, 0.619591, 0.14507, 0.031455, 0.341872, 0.585052, -0.54146,
    -0.724475, -737.907322
]  # fmt: skip
IDX_T, IDX_T_SUM, IDX_B_SUM = [351, 318, 397, 89, 81, 108, 108, 84, 366, 320, 108, 108], 28238, 220012
COMMITMENT = 0.3416588306427002
DECODED = [
    0.030333, 0.281672, -0.016165, -0.105534, -0.005744, 0.012512, 0.087184, 0.251167, 0.017568, -0.086432, -0.023585,
    -0.054761, 617.285892
]  # fmt: skip
CONDITION = [
    1.516404, -0.096227, -0.84642, -0.121747, -0.881407, 1.441658, -0.186476, -2.392588, -1.243477, -0.628644,
    1.164023, 0.816052, 1815.154842
]  # fmt: skip
LOGITS = [
    -46.846054, -19.568886, 497.374603, -350.971405, 115.483932, 20.861153, -381.677155, -106.407639, -12.317245,
    -92.109917, 213.778442, 124.819679, -239910.569904
]  # fmt: skip
TEXTURE = [
    0.253612, 0.255289, -0.047541, -0.066617, 0.010767, 0.016863, 0.253942, 0.259165, -0.047165, -0.060229, 0.012726,
    0.016164, 1579.838995
]  # fmt: skip
FEATURE_LOSSES = [12.859086990356445, 13.404003143310547]
ATTENDED_QUARTER = [
    -0.416758, -0.149559, -1.541815, -0.624043, 0.018601, -0.384755, 1.586757, -0.982816, -0.757564, -0.339441,
    0.51017, -0.107668, -37.813107
]  # fmt: skip
ATTENDED_HALF = [
    1.788628, -2.262241, 0.430381, -1.00776, 1.572668, 1.809956, -0.111768, 1.446208, -1.05691, -0.034157, 0.392008,
    -0.847028, -115.507589
]  # fmt: skip
DISCRIMINATOR = [(0.0383172333240509, 0.06864681094884872), (0.03766591101884842, 0.06752751022577286)]  # two passes
CODEBOOK = [  # embedding in the official layout, every seventh number, after one, two and three updates
    [0.669897, -0.796155, -1.822867, -1.500714, 0.276745, 0.07688, -0.424428, 0.002966, -0.292161, -0.822987],
    [0.766871, -0.728429, -1.887214, -1.196226, 0.343828, 0.137927, -0.452663, 0.01823, -0.358136, -0.658498],
    [0.746507, -0.6505, -1.808655, -0.988669, 0.363807, 0.138146, -0.430681, -0.081012, -0.117654, -0.734549],
]

SMALL: dict[str, Any] = dict(ROWS)["DSI"]


# ---- the official program --------------------------------------------------------------------------------------------


def official_shapes() -> dict[str, tuple[int, ...]]:
    """Every variable of the published full model: names by scope and kind, shapes in TensorFlow's layout."""
    with torch.device("meta"):
        method = DSI()
        discriminator = SNPatchGAN(4)
    shapes: dict[str, tuple[int, ...]] = {}
    parts = [(scope, [method.get_submodule(p) for p in names]) for scope, names in weights.SCOPES.items()]
    for scope, networks in [*parts, ("texture_discriminator", [discriminator])]:
        numbers: dict[str, int] = {}
        found = [item for k, n in enumerate(networks) for item in weights.in_order(nn.ModuleDict({WRAP[scope][k]: n}))]
        for name, layer in found:
            kind = weights.kind_of(name, layer) or ""
            pieces = [layer]
            if isinstance(layer, CausalAttention):
                pieces = []
                for _ in range(layer.heads):
                    pieces += [layer.query, layer.key, layer.value]
                pieces.append(layer.out)
            for piece in pieces:
                k = numbers[kind] = numbers.get(kind, -1) + 1
                each = layer.heads if isinstance(layer, CausalAttention) and piece is not layer.out else 1
                for variable, shape in variables(piece, each).items():
                    shapes[f"{scope}/{kind}_{k}/{variable}"] = shape
    return shapes


WRAP = {scope: [p.rpartition(".")[2] for p in names] for scope, names in weights.SCOPES.items()} | {
    "texture_discriminator": ["discriminator"]
}


def variables(layer: nn.Module, heads: int) -> dict[str, tuple[int, ...]]:
    if isinstance(layer, Codebook):
        codes, channels = layer.embedding.shape
        return {"embedding": (channels, codes), "ema_dw": (channels, codes), "ema_cluster_size": (codes,)}
    if isinstance(layer, WNConv2d):
        outputs, inputs, *kernel = layer.v.shape
        v = (inputs, outputs // heads) if layer.kernel == (1, 1) else (*kernel, inputs, outputs)
        return {"V": v, "g": (outputs // heads,), "b": (outputs // heads,)}
    assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    first, second, *kernel = layer.weight.shape  # out, in; for a transposed one in, out
    found: dict[str, tuple[int, ...]] = {"W": (*kernel, second, first), "b": (layer.out_channels,)}
    return found | ({"u": (1, first)} if hasattr(layer, "u") else {})


@cache
def official_weights() -> dict[str, np.ndarray]:
    """Drawn in the order of the sorted names and scaled by kind."""
    rng, out = np.random.RandomState(0), {}
    for name, shape in sorted(official_shapes().items()):
        x, kind = rng.standard_normal(shape), name.rsplit("/", 1)[1]
        if kind == "W":
            transposed = "deconv2d" in name and "gated" not in name
            x = x / np.sqrt(np.prod(shape[:2]) * shape[3 if transposed else 2])
        elif kind == "V":
            x = 0.05 * x
        elif kind == "g":
            x = 1 + 0.1 * x
        elif kind == "b":
            x = 0.1 * x
        elif kind == "ema_cluster_size":
            x = 1 + np.abs(x)
        out[name] = x.astype(np.float32)
    return out


@cache
def official() -> DSI:
    state = official_weights()
    assert weights.detect(state) == "tensorflow"
    converted = weights.convert(state, "tensorflow")
    with torch.device("meta"):
        method = DSI(**converted["hyper_parameters"])
    method.load_state_dict(converted["state_dict"], assign=True)
    return method.double().eval()


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Image, mask and structure, as the official program was given them."""
    rng = np.random.RandomState(1)
    image, mask = (2 * rng.rand(2, 64, 64, 3) - 1).astype(np.float32), np.zeros((2, 64, 64, 1), np.float32)
    mask[0, 16:48, 20:52] = 1
    mask[1, 8:30, 30:60] = 1
    structure = rng.standard_normal((2, 8, 8, 64)).astype(np.float32)
    return nchw(image), nchw(mask), nchw(structure)


def nchw(x: np.ndarray) -> Tensor:
    """As float64."""
    return torch.from_numpy(x).movedim(3, 1).double()


def test_the_published_networks_have_the_published_sizes():
    count = lambda network: sum(p.numel() for p in network.parameters())  # noqa: E731
    with torch.device("meta"):
        method, discriminator = DSI(), DSITexture().discriminator
    decoder = count(method.vqvae.raise_top) + count(method.vqvae.decode_bottom)
    assert (count(method.vqvae) - decoder, decoder) == (1_340_416, 511_619)
    assert method.vqvae.top.embedding.numel() + method.vqvae.bottom.embedding.numel() == 65_536
    assert (count(method.structure.condition), count(method.structure.pixelcnn)) == (36_959_392, 26_769_536)
    assert (count(method.texture), count(discriminator)) == (4_602_467, 5_946_816)
    assert len(official_shapes()) == 1006  # variables of the official graph, and as many numbers:
    assert sum(math.prod(shape) for shape in official_shapes().values()) == 76_263_558


@torch.no_grad()
@float64()
def test_the_vqvae_computes_what_the_official_one_computes():
    vqvae, (image, _, _) = official().vqvae, inputs()
    encoding = vqvae.encode(image)
    assert_probe(encoding.top, ENC_T)
    assert_probe(encoding.bottom, ENC_B)
    assert encoding.top_indices.flatten()[::11].tolist() == IDX_T
    assert (encoding.top_indices.sum().item(), encoding.bottom_indices.sum().item()) == (IDX_T_SUM, IDX_B_SUM)
    pairs = (encoding.top, encoding.top_quantised), (encoding.bottom, encoding.bottom_quantised)
    assert_published(0.25 * sum(F.mse_loss(*pair) for pair in pairs), COMMITMENT)
    assert_probe(vqvae.decode(encoding.top_quantised, encoding.bottom_quantised), DECODED)
    structural = feature_loss(vqvae.top.distances(encoding.top), torch.arange(128).view(2, 8, 8))
    textural = feature_loss(vqvae.bottom.distances(encoding.bottom), torch.arange(512).view(2, 16, 16))
    assert_published(torch.stack([structural, textural]), FEATURE_LOSSES)


@torch.no_grad()
@float64()
def test_the_structure_generator_computes_what_the_official_one_computes():
    structure, (image, mask, quantised) = official().structure, inputs()
    condition = structure.condition(image * (1 - mask), mask)
    assert_probe(condition, CONDITION)
    assert_probe(structure.pixelcnn(quantised, condition), LOGITS)


@torch.no_grad()
@float64()
def test_the_texture_generator_and_the_discriminator_compute_what_the_official_ones_compute():
    image, mask, quantised = inputs()
    assert_probe(official().texture(image * (1 - mask), mask, quantised), TEXTURE)
    features = (
        nchw(np.random.RandomState(seed).standard_normal((2, side, side, 8)).astype(np.float32))
        for seed, side in ((2, 32), (3, 16))
    )
    quarter, half = structure_attention(quantised, *features)
    assert_probe(quarter, ATTENDED_QUARTER)
    assert_probe(half, ATTENDED_HALF)
    discriminator = SNPatchGAN(4)
    state = weights.part_state(
        nn.ModuleDict({"discriminator": discriminator}), "texture_discriminator", official_weights()
    )
    discriminator.load_state_dict({name.removeprefix("discriminator."): value for name, value in state.items()})
    discriminator.double()
    for mean, deviation in DISCRIMINATOR:  # u moves on at every pass
        judged = discriminator(torch.cat([image, mask], dim=1))
        assert judged.shape == (2, 256)
        assert_published(torch.stack([judged.mean(), judged.std(correction=0)]), (mean, deviation), of=judged)


def test_codes_move_as_in_tensorflow_1():
    book = Codebook(16, 4)
    book.embedding.copy_(torch.from_numpy(np.random.RandomState(5).standard_normal((4, 16)).astype(np.float32)).mT)
    book, rng = book.double(), np.random.RandomState(6)
    for expected in CODEBOOK:
        features = nchw(rng.standard_normal((2, 8, 8, 4)).astype(np.float32))
        book.update(features, book.indices(features))
        assert_published(book.embedding.mT.flatten()[::7], expected, of=book.embedding)


def test_a_feature_that_is_not_finite_leaves_the_codes_as_they_are():
    book, features = Codebook(4, 2), torch.full((1, 2, 2, 2), math.nan)
    before = {name: value.clone() for name, value in book.state_dict().items()}
    book.update(features, book.indices(features))
    assert all(torch.equal(before[name], value) for name, value in book.state_dict().items())


def test_averages_in_a_training_checkpoint_are_preferred_over_raw_values():
    state = {"s/conv2d_0/W": np.zeros((3, 3, 2, 4)), "s/conv2d_0/b": np.zeros(4)}
    state["s/conv2d_0/W/ExponentialMovingAverage"] = np.ones((3, 3, 2, 4))
    found = weights.part_state(nn.ModuleDict({"layer": Conv2dSame(2, 4, 3)}), "s", state)
    assert found["layer.weight"].eq(1).all() and found["layer.bias"].eq(0).all()


# ---- causality and sampling ------------------------------------------------------------------------------------------


def test_a_gated_block_follows_its_formula():
    torch.manual_seed(0)
    block = GatedResNet(4, (2, 2), shift="down_right", beside=True, condition=3).double().eval()
    for p in block.parameters():
        nn.init.normal_(p)
    x, beside, condition = (torch.randn(1, c, 3, 3, dtype=torch.float64) for c in (4, 4, 6))

    def wn(layer: WNConv2d, y: Tensor) -> Tensor:
        kernel = layer.v / layer.v.flatten(1).norm(dim=1).view(-1, 1, 1, 1) * layer.g.view(-1, 1, 1, 1)
        rows, columns = layer.kernel
        return F.conv2d(F.pad(y, (columns - 1, 0, rows - 1, 0)), kernel, layer.bias)

    both = lambda y: torch.cat([F.elu(y), F.elu(-y)], 1)  # noqa: E731
    assert block.beside is not None and block.condition is not None
    hidden = wn(block.conv1, both(x)) + wn(block.beside, both(beside))
    a, b = (wn(block.conv2, both(hidden)) + wn(block.condition, condition)).chunk(2, 1)
    torch.testing.assert_close(block(x, beside, condition), x + a / (1 + torch.exp(-b)))


def test_attention_looks_strictly_back_and_the_first_position_gets_nothing():
    torch.manual_seed(0)
    attention = CausalAttention(16, heads=2).double()
    for p in attention.parameters():
        nn.init.normal_(p)
    x = torch.randn(1, 16, 2, 3, dtype=torch.float64)
    query, key, value = (layer(x).flatten(2)[0] for layer in (attention.query, attention.key, attention.value))
    mixed = torch.zeros(16, 6, dtype=torch.float64)
    for head in range(2):
        q, k, v = query[2 * head :][:2], key[2 * head :][:2], value[8 * head :][:8]
        for i in range(1, 6):
            share = torch.exp(torch.stack([q[:, i] @ k[:, j] / math.sqrt(2) for j in range(i)]))
            mixed[8 * head : 8 * head + 8, i] = (v[:, :i] * share).sum(1) / share.sum()
    torch.testing.assert_close(attention(x), attention.out(mixed.view(1, 16, 2, 3)))


def test_logits_see_what_lies_before_them_in_raster_order_and_nothing_else():
    torch.manual_seed(0)
    network = PixelCNN(8, groups=2, blocks=2, out_blocks=1, heads=2, condition=4, channels=3, codes=5).double().eval()
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    condition = torch.randn(1, 4, 4, 4, dtype=torch.float64)
    for position in range(16):
        logits = network(x, condition)[..., position // 4, position % 4].sum()
        seen = torch.autograd.grad(logits, x, allow_unused=True)[0].abs().sum((0, 1)).flatten() > 0
        assert seen.tolist() == [other < position for other in range(16)]


def sampled(method: DSI, image: Tensor, mask: Tensor, seed: int, names: list[str]) -> Tensor:
    with torch.no_grad():
        return method.sample(image, mask, 2, seed, names)


def small_method() -> DSI:
    """Untrained, with logits that are not all alike."""
    torch.manual_seed(0)
    method = DSI(**SMALL).eval()
    nn.init.normal_(method.structure.pixelcnn.logits.bias)
    return method


def test_samples_depend_on_seed_name_and_number_alone():
    method, batch = small_method(), next(iter(batches(1, 2)))
    both = sampled(method, batch.image, batch.mask, 0, ["a", "b"])
    assert torch.equal(both, sampled(method, batch.image, batch.mask, 0, ["a", "b"]))
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(both, sampled(method, batch.image, batch.mask, 1, ["a", "b"]))
    alone = sampled(method, batch.image[1:], batch.mask[1:], 0, ["b"])
    torch.testing.assert_close(both[:, 1:], alone)


def test_a_structure_is_drawn_from_the_distribution_of_the_whole_network():
    """The rows below a position are left out while it is drawn: the logits are those of the whole map."""
    method, batch = small_method(), next(iter(batches(1, 1)))
    erased, embedding = batch.image * (1 - batch.mask), method.vqvae.top.embedding
    with torch.no_grad():
        structure = method.structure.sample(erased, batch.mask, embedding, [torch.Generator().manual_seed(3)])
        condition = method.structure.condition(erased, batch.mask)
        shares = torch.softmax(method.structure.pixelcnn(structure, condition).double(), dim=1)[0].flatten(1)
    uniform = torch.rand(64, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    drawn = (embedding == structure[0].flatten(1).mT[:, None]).all(-1).long().argmax(-1)
    for position in range(64):
        below = shares[: int(drawn[position]), position].sum()
        assert below - 1e-6 <= uniform[position] <= below + shares[drawn[position], position] + 1e-6


# ---- the stages ------------------------------------------------------------------------------------------------------

by_stage = pytest.mark.parametrize("cls", [DSIVQVAE, DSIStructure, DSITexture])


@by_stage
def test_a_resumed_stage_continues_bit_for_bit(cls: type[Stage], tmp_path: Path):
    L.seed_everything(5, verbose=False)
    whole = stage(cls)
    trainer(tmp_path, max_steps=4, callbacks=[EMA(0.5)]).fit(whole, batches(4))
    first = trainer(tmp_path, max_steps=2, callbacks=[EMA(0.5)])
    first.fit(stage(cls), batches(2))
    first.save_checkpoint(tmp_path / "half.ckpt")
    torch.manual_seed(99)
    resumed = cls(**dict(STAGES)[cls.__name__])
    again = trainer(tmp_path, max_steps=4, callbacks=[EMA(0.5)], num_sanity_val_steps=0)
    loader = DataLoader(list(batches(4).dataset)[4:] * 2, batch_size=2)  # the batches that are left
    again.fit(resumed, loader, ckpt_path=tmp_path / "half.ckpt")
    assert again.global_step == 4 and resumed.generator_updates == whole.generator_updates == 4
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())


@by_stage
def test_a_stage_logs_a_loss_for_validation_that_the_averaged_weights_gave(cls: type[Stage], tmp_path: Path):
    model = stage(cls)
    run = trainer(tmp_path, max_steps=2, callbacks=[EMA(0.0)], val_check_interval=2)
    run.fit(model, batches(3), batches(1))
    batch = next(iter(batches(1)))
    with torch.no_grad():
        expected = model.eval().evaluation_loss(batch).item()
    assert run.callback_metrics["val/loss"].item() == pytest.approx(expected, rel=1e-5)
    run.save_checkpoint(tmp_path / "x.ckpt")
    content = torch.load(tmp_path / "x.ckpt", weights_only=True)
    assert content["method"] == cls.__name__ and set(content["ema"]) == set(cls.averaged)


def test_later_stages_leave_the_vqvae_as_it_is_and_refuse_to_train_without_one(tmp_path: Path):
    first = stage(DSIVQVAE)
    run = trainer(tmp_path, max_steps=2, callbacks=[EMA(0.5)])
    run.fit(first, batches(2))
    run.save_checkpoint(tmp_path / "vqvae.ckpt")
    average = torch.load(tmp_path / "vqvae.ckpt", weights_only=True)["ema"]["vqvae"]
    for cls in (DSIStructure, DSITexture):
        arguments = dict(STAGES)[cls.__name__]
        model = cls(vqvae=str(tmp_path / "vqvae.ckpt"), **arguments)
        trainer(tmp_path, max_steps=1).fit(model, batches(1))
        assert all(torch.equal(value, average[name]) for name, value in model.vqvae.state_dict().items())
        with pytest.raises(ValueError, match="set vqvae to a checkpoint of DSIVQVAE"):
            trainer(tmp_path, max_steps=1).fit(cls(**arguments), batches(1))
        other = cls(vqvae=str(tmp_path / "vqvae.ckpt"), **(arguments | {"codes": 16}))
        with pytest.raises(ValueError, match="codes 8: give this stage the same numbers"):
            trainer(tmp_path, max_steps=1).fit(other, batches(1))


def test_the_rate_of_the_structure_generator_is_the_published_schedule():
    with torch.device("meta"):
        rate = DSIStructure().rate
    assert rate(1) == pytest.approx(0.18 / math.sqrt(128) * 16000**-1.5)
    assert rate(1_000_000) == pytest.approx(0.18 / math.sqrt(128) * 1_000_000**-0.35)
    assert max(range(1000, 100_000, 100), key=rate) == pytest.approx(16000 ** (1.5 / 1.35), abs=100)


def test_a_step_of_the_texture_generator_has_the_published_losses(tmp_path: Path):
    model, batch = stage(DSITexture), next(iter(batches(1)))
    image, mask = batch.image, batch.mask
    with torch.no_grad():
        true = model.vqvae.encode(image)
        prediction = model.texture(image * (1 - mask), mask, true.top_quantised)
        completed = prediction * mask + image * (1 - mask)
        kernel = [layer.u.clone() for layer in model.discriminator.children()]
        adversarial = -model.discriminator(torch.cat([completed, mask], 1)).mean()
        for layer, u in zip(model.discriminator.children(), kernel, strict=True):
            layer.u.copy_(u)
        encoding, losses = model.vqvae.encode(completed), []
        for book, features, indices in (
            (model.vqvae.top, encoding.top, true.top_indices),
            (model.vqvae.bottom, encoding.bottom, true.bottom_indices),
        ):
            flat = features.movedim(1, -1).reshape(-1, 1, 4)
            distances = (flat - book.embedding).square().sum(-1)
            standard = (distances - distances.mean(1, keepdim=True)) / distances.std(1, correction=0, keepdim=True)
            shares = torch.softmax(-10 * torch.tanh(standard), 1)
            losses.append(-shares[torch.arange(len(flat)), indices.flatten()].log().mean())
        expected = adversarial + (prediction - image).abs().mean() + 0.1 * sum(losses)
    run = trainer(tmp_path, max_steps=1)
    run.fit(model, batches(1))
    assert run.callback_metrics["train/generator_loss"].item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.slow
@pytest.mark.xdist_group("ddp")
def test_two_processes_train_the_weights_of_one_with_twice_the_batch_in_every_stage(tmp_path: Path):
    processes.on_one_and_two(train_on, tmp_path)
    for cls in by_stage.args[1]:
        single, first, second = (torch.load(tmp_path / f"{cls.__name__}-{n}.pt") for n in ("1-0", "2-0", "2-1"))
        for name, value in single.items():
            assert torch.equal(first[name], second[name]), name
            torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@by_stage
def test_two_hundred_steps_in_bfloat16_stay_finite_and_learn(cls: type[Stage], tmp_path: Path):
    options = {DSIVQVAE: {"learning_rate": 2e-3}, DSIStructure: {"warmup": 20}, DSITexture: {"learning_rate": 2e-3}}
    model = stage(cls, non_finite="stop", **options[cls])
    batch = next(iter(batches(1)))
    before = model.eval().evaluation_loss(batch).item()
    model.train()
    run = trainer(tmp_path, max_steps=200, precision="bf16-mixed")
    run.fit(model, DataLoader(list(batches(1).dataset) * 200, batch_size=2))
    assert model.generator_updates == 200 and model.skipped == 0
    assert all(torch.isfinite(value) for value in run.callback_metrics.values())
    assert model.eval().evaluation_loss(batch).item() < before


# ---- put together ----------------------------------------------------------------------------------------------------


def put_together(models: Sequence[Stage], folder: Path) -> DSI:
    """The method that ``lit-inpaint assemble`` makes of trained stages."""
    paths = {}
    for name, model in zip(DSI.stages, models, strict=True):
        paths[name] = folder / f"{name}.ckpt"
        content = {"method": type(model).__name__, "state_dict": model.state_dict()}
        torch.save(content | {"hyper_parameters": dict(model.hparams)}, paths[name])
    (folder / "dsi.ckpt").unlink(missing_ok=True)
    flags = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    assert assemble_command(["DSI", *flags, "--out", str(folder / "dsi.ckpt")]) == 0
    return load_method(folder / "dsi.ckpt")  # type: ignore[return-value]


def test_assembled_stages_are_the_method_and_stages_on_other_codes_are_refused(tmp_path: Path):
    models = [stage(DSIStructure), stage(DSITexture)]
    first = stage(DSIVQVAE)
    first.vqvae.load_state_dict(trained_vqvae())
    method = put_together([first, *models], tmp_path)
    structure, texture = models
    for ours, theirs in ((method.structure, structure.structure), (method.texture, texture.texture)):
        assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())
    with pytest.raises(ValueError, match=r"dsi.ckpt exists and is never overwritten"):
        assemble_command(
            ["DSI", *(w for n in DSI.stages for w in (f"--{n}", "x")), "--out", str(tmp_path / "dsi.ckpt")]
        )
    texture.vqvae.top.embedding += 1
    with pytest.raises(ValueError, match="--texture was trained on the codes of another VQ-VAE"):
        put_together([first, structure, texture], tmp_path)


def test_completions_differ_where_the_hole_is(weights_dir: Path):
    method, batch = small_method(), next(iter(batches(1, 2)))
    completions = sampled(method, batch.image, batch.mask, 0, ["a", "b"])
    assert metric("diversity_lpips")(completions, batch.image, batch.mask).min() > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_photograph_is_learnt_beyond_telea(tmp_path: Path):
    start, image, mask = time.process_time(), photograph("coffee"), square(32)
    target = psnr_hole(telea(image, mask), image, mask)
    samples = views(image, mask, 4)
    L.seed_everything(0, verbose=False)
    vq: dict[str, Any] = {"vq_width": 32, "vq_hidden": 16, "channels": 8, "codes": 32}
    first = DSIVQVAE(**vq, decay=0.9, learning_rate=3e-3)
    second = DSIStructure(
        **vq, condition_width=4, structure_width=32, groups=1, blocks=2, out_blocks=1, heads=2, warmup=20,
        learning_rate=0.05, dropout=0.0,
    )  # fmt: skip
    third = DSITexture(**vq, texture_width=16, discriminator_width=8, learning_rate=2e-3, adversarial_weight=0.01)
    for model, steps in ((first, 120), (second, 120), (third, 90)):
        if model is not first:
            model.vqvae.load_state_dict(first.vqvae.state_dict())
        trainer(tmp_path, max_steps=steps).fit(model, DataLoader(samples * steps, 4))
    method = put_together([first, second, third], tmp_path)
    with torch.no_grad():
        found = [psnr_hole(x[0], image, mask) for x in method.sample(image[None], mask[None], 3)]
    spent = time.process_time() - start
    print(f"Telea {target:.2f} dB, DSI {', '.join(f'{x:.2f}' for x in found)} dB after {spent:.0f} s")
    assert min(found) > target
