"""ICT: its networks give the official program's numbers, sampling is keyed, stages train and are put together."""

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from experiments.weights.assemble import assemble
from experiments.weights.imports import main as import_weights
from lit_inpaint.discriminators import SpectralPatchGAN
from lit_inpaint.load import load_method, read_checkpoint
from lit_inpaint.method import keyed_generators
from lit_inpaint.methods.ict import ICT, ICTTransformer, ICTUpsampler
from lit_inpaint.methods.ict.networks import Transformer, Upsampler
from lit_inpaint.methods.ict.palette import down_sample, enlarge, hole_of_tokens, kmeans_palette, read_palette
from lit_inpaint.methods.ict.sampling import sample_tokens
from tests.support.contract import STAGES, batches, trainer
from tests.support.overfit import photograph, psnr_hole, square, telea, views
from tests.support.published import assert_probe, float64

SMALL = dict(STAGES)
BOTH = pytest.mark.parametrize("cls", [ICTTransformer, ICTUpsampler], ids=lambda c: c.__name__)

# Printed by raywzy/ICT at 59dd12d with the weights of random_state: twelve numbers and the sum. GPT of
# Transformer/models/model.py (n_layer, n_embd, ... as below), InpaintGenerator_5 and Discriminator of
# Guided_Upsample/src/networks.py.
LOGITS = [
    0.855207, 0.26469, -0.977548, -2.741021, 0.463043, -0.584891, 1.237026, 0.112919, -0.404191, -2.603763, 0.561227,
    -0.062048, -133.0833
]  # fmt: skip
LOSSES = (1.406112, 4.049604)  # over all tokens, over the unknown ones
PLACES2_LOGITS = [
    -0.738257, 0.402673, 0.691053, 0.037181, -0.812874, 0.137235, 0.253848, 0.907147, 0.811367, 1.388521, 0.280926,
    0.865094, -8219.412553
]  # fmt: skip
UPSAMPLED = [
    0.571311, 0.571831, 0.581475, 0.582352, 0.527035, 0.537997, 0.530877, 0.531511, 0.494016, 0.486979, 0.492501,
    0.487209, 10162.377163
]  # fmt: skip
DISCRIMINATOR = [
    0.102912, 0.086925, 0.040785, 0.043563, 0.075521, 0.049904, -0.012947, 0.038946, 0.037312, 0.070462, 0.065249,
    0.008922, 2.034954
]  # fmt: skip


def random_state(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Random weights of sensible size, drawn in the order of the sorted names."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for name, shape in sorted(shapes.items()):
        noise = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            state[name] = (1 if name.endswith("weight") else 0) + 0.1 * noise
        else:
            state[name] = noise if "emb" in name else noise * math.sqrt(1 / math.prod(shape[1:]))
    return state


def shapes_of(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def official_logits(grid: int, layers: int, width: int, heads: int, colours: int, seed: int) -> tuple[Tensor, ...]:
    network = Transformer(grid, layers, width, heads, colours).eval()
    network.load_state_dict(random_state(shapes_of(network), seed))
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(colours, (2, grid * grid), generator=generator)
    hole = (torch.rand(2, grid * grid, generator=generator) < 0.4).double()
    with torch.no_grad(), float64():
        return network.double()(tokens, hole), tokens, hole


def test_the_transformer_gives_the_official_logits_and_losses():
    logits, tokens, hole = official_logits(6, 3, 48, 4, 40, seed=3)
    assert_probe(logits, LOGITS)
    entropy = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none")
    assert (entropy * hole.flatten()).mean().item() == pytest.approx(LOSSES[0], abs=1e-5)
    assert ((entropy * hole.flatten()).sum() / hole.sum()).item() == pytest.approx(LOSSES[1], abs=1e-5)


@pytest.mark.slow
def test_the_transformer_of_places2_gives_the_official_logits_at_full_size():
    assert_probe(official_logits(32, 35, 512, 8, 512, seed=4)[0], PLACES2_LOGITS)


def test_the_upsampler_gives_the_official_image():
    network = Upsampler().eval()
    state = random_state(shapes_of(network), 5)
    state |= {k: v * 0.5 for k, v in state.items() if k.startswith("decoder.") and k.endswith("weight")}
    network.load_state_dict(state)
    x = torch.rand(1, 6, 72, 88, generator=torch.Generator().manual_seed(1))
    x[:, :3, 20:50, 30:60] = 1
    x = x.double()
    with torch.no_grad(), float64():
        assert_probe(network.double()(x[:, :3], x[:, 3:]), UPSAMPLED)


def test_the_discriminator_in_training_gives_the_official_logits():
    discriminator = SpectralPatchGAN(3, 64, plain_logits=False).train()
    layers = [*discriminator.convolutions, discriminator.logits]
    state = random_state({f"conv{i}.0.weight_orig": tuple(c.weight.shape) for i, c in enumerate(layers, 1)}, 6)
    with torch.no_grad():
        for layer, weight in zip(layers, state.values(), strict=True):
            layer.weight.copy_(weight)
            layer.u.copy_(torch.nn.functional.normalize(torch.ones(len(weight)), dim=0))
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad(), float64():
        assert_probe(discriminator.double()(image.double()), DISCRIMINATOR)


def test_published_networks_have_the_published_sizes():
    with torch.device("meta"):
        sizes = {
            "ffhq": ICT().transformer,
            "imagenet": Transformer(32, 35, 1024),
            "places2": Transformer(32, 35),
            "upsampler": ICT().upsampler,
            "discriminator": ICTUpsampler().discriminator,
        }
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in sizes.items()}
    assert counts == {
        "ffhq": 96_276_480,
        "imagenet": 442_967_040,
        "places2": 111_383_040,
        "upsampler": 10_780_867,
        "discriminator": 2_763_776,
    }


# ---- tokens and sampling ---------------------------------------------------------------------------------------------


def small_transformer() -> Transformer:
    torch.manual_seed(0)
    network = Transformer(4, 2, 16, 2, 12).eval()
    with torch.no_grad():
        network.pos_emb.normal_()
        network.head.weight.mul_(20)  # distributions that are neither flat nor sure
    return network


def test_unknown_positions_do_not_see_their_own_token():
    network, hole = small_transformer(), torch.zeros(1, 16)
    hole[:, 5:9] = 1
    tokens = torch.arange(16)[None] % 12
    changed = tokens.clone()
    changed[:, 5:9] = 11 - changed[:, 5:9]
    assert torch.equal(network(tokens, hole), network(changed, hole))
    assert not torch.equal(network(tokens, 0 * hole), network(changed, 0 * hole))


def test_sampling_keeps_known_tokens_and_depends_on_the_seed_and_not_on_the_batch():
    network = small_transformer()
    tokens = torch.randint(12, (3, 16), generator=torch.Generator().manual_seed(0))
    hole = torch.zeros(3, 16)
    hole[0, 2:5] = hole[1, 7:16] = hole[2, ::2] = 1

    def drawn(seed: int, images: list[int]) -> Tensor:
        keys = keyed_generators(seed, [str(i) for i in images], 0)
        return sample_tokens(network, tokens[images], hole[images], None, generators=keys)

    together = drawn(0, [0, 1, 2])
    assert torch.equal(together, drawn(0, [0, 1, 2])) and not torch.equal(together, drawn(1, [0, 1, 2]))
    for i in range(3):
        assert torch.equal(drawn(0, [i])[0], together[i])
    assert torch.equal(together[hole == 0], tokens[hole == 0])


def test_a_raster_pass_takes_the_likeliest_colour_given_all_before_it():
    network, hole = small_transformer(), torch.zeros(1, 16)
    hole[:, [3, 4, 9]] = 1
    tokens = torch.arange(16)[None] % 12
    expected, left = tokens.clone(), hole.clone()
    for position in (3, 4, 9):
        expected[:, position] = network(expected, left)[:, position].argmax(-1)
        left[:, position] = 0
    assert torch.equal(sample_tokens(network, tokens, hole, top_k=1), expected)


def test_known_colours_beside_a_hole_hold_nothing_of_the_hole():
    image, mask = torch.rand(1, 3, 64, 64) * 2 - 1, torch.zeros(1, 1, 64, 64)
    mask[..., 17:46, 22:43] = 1
    other = torch.where(mask == 1, 1.0, image)
    assert torch.equal(down_sample(image, 16, mask), down_sample(other, 16, mask))
    plain = down_sample(image, 16)
    far = hole_of_tokens(mask, 16)[0].view(16, 16)[:2].flatten() == 0
    assert torch.equal(down_sample(image, 16, mask)[:, :32][:, far], plain[:, :32][:, far])


def test_images_are_reduced_and_tokens_enlarged_as_pil_does_it():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    small = np.asarray(Image.fromarray(pixels).resize((16, 16), Image.Resampling.BILINEAR), np.float32)
    ours = down_sample(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1, 16)
    assert (ours[0].view(16, 16, 3).numpy() - small).__abs__().max() <= 1
    palette = 255 * torch.randint(2, (8, 3)).float()  # every overshoot is cut off, after the rows as after the columns
    tokens = torch.randint(8, (1, 16))
    grid = palette[tokens[0]].view(4, 4, 3).numpy().astype(np.uint8)
    large = np.asarray(Image.fromarray(grid).resize((32, 32), Image.Resampling.BICUBIC), np.float32)
    found = 255 * enlarge(tokens, palette, 4, 32)[0].permute(1, 2, 0).numpy()
    assert np.abs(found - large).max() <= 2


def test_palettes_are_scaled_as_officially_and_found_again_by_k_means(tmp_path: Path):
    np.save(tmp_path / "kmeans_centers.npy", np.array([[-1, 0, 1], [0.5, -0.5, 0]], np.float32))
    assert read_palette(tmp_path / "kmeans_centers.npy").tolist() == [[0, 128, 255], [191, 64, 128]]  # rint
    colours = torch.tensor([[10.0, 20, 30], [200, 100, 50], [0, 255, 0]])
    assert kmeans_palette(colours.repeat(50, 1), 3).sort(0).values.tolist() == colours.sort(0).values.tolist()


# ---- stages ----------------------------------------------------------------------------------------------------------


def trained(cls: type, folder: Path, steps: int = 2, **arguments: Any) -> Path:
    torch.manual_seed(0)
    run = trainer(folder, max_steps=steps)
    run.fit(cls(**(SMALL[cls.__name__] | arguments)), batches(4))
    run.save_checkpoint(folder / f"{cls.__name__}-{steps}.ckpt")
    return folder / f"{cls.__name__}-{steps}.ckpt"


@BOTH
def test_a_stage_goes_on_bit_for_bit(cls: type, tmp_path: Path):
    whole = read_checkpoint(trained(cls, tmp_path, 4))
    half = trained(cls, tmp_path, 2)
    run = trainer(tmp_path, max_steps=4)
    # batches() has no sampler that knows the position: the second half of the same four batches.
    torch.manual_seed(1)
    model, loader = cls(**SMALL[cls.__name__]), batches(4)
    items = loader.dataset
    run.fit(model, torch.utils.data.DataLoader([*items[4:], *items[4:]], batch_size=2), ckpt_path=half)
    state = model.state_dict()
    assert run.global_step == 4
    assert all(torch.equal(value, state[name]) for name, value in whole["state_dict"].items())


def test_assembled_stages_complete_images_differently_for_different_seeds(tmp_path: Path, weights_dir: Path):
    from lit_inpaint.metrics import metric

    paths = {"transformer": trained(ICTTransformer, tmp_path), "upsampler": trained(ICTUpsampler, tmp_path)}
    checkpoint = assemble(ICT, paths, {"top_k": None})
    torch.save(checkpoint, tmp_path / "ict.ckpt")
    assert len(read_checkpoint(tmp_path / "ict.ckpt")["stages"]["upsampler"]["sha256"]) == 64
    method, batch = load_method(tmp_path / "ict.ckpt"), next(iter(batches(1)))
    with torch.no_grad():
        first, again = (method.sample(batch.image, batch.mask, 2, seed=3) for _ in range(2))
    assert torch.equal(first, again)
    assert metric("diversity_lpips")(first).min() > 0


def test_many_calls_are_told_once_and_not_for_every_batch(caplog: pytest.LogCaptureFixture):
    method = ICT(64, 16, 1, 16, 1, 8, upsampler_width=4, upsampler_blocks=1).eval()
    with caplog.at_level("INFO"), torch.no_grad():
        for side in (32, 64):  # pixels of a hole
            method.predict(torch.zeros(1, 3, 64, 64), square(side)[None])
    assert [record.getMessage() for record in caplog.records] == [
        "ICT: a network call for each token of a hole, up to 256"
    ]


def test_the_rate_rises_to_its_highest_and_falls_as_a_cosine_to_a_tenth(tmp_path: Path):
    arguments = dict(STAGES)["ICTTransformer"] | {"warmup_steps": 2, "decay_steps": 6, "learning_rate": 0.01}
    rates: list[float] = []

    class Watched(ICTTransformer):
        def on_train_batch_end(self, *given: Any) -> None:
            super().on_train_batch_end(*given)
            rates.append(self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]

    trainer(tmp_path, max_steps=8, limit_val_batches=0).fit(Watched(**arguments), batches(8))
    cosine = [0.5 * (1 + math.cos(math.pi * n / 4)) for n in range(4)]
    assert rates == pytest.approx([0.01 * share for share in (0.5, *cosine, 0.1, 0.1, 0.1)])


@pytest.mark.slow
def test_one_photograph_is_learnt_beyond_telea(tmp_path: Path):
    start, image, mask = time.process_time(), photograph("coffee"), square(32)
    target = psnr_hole(telea(image, mask), image, mask)
    samples = views(image, mask, 4)
    shared: dict[str, Any] = {"grid": 16, "colours": 64, "palette": "uniform"}
    torch.manual_seed(0)
    stages = {
        "transformer": ICTTransformer(
            **shared, layers=2, width=64, heads=2, learning_rate=3e-3, warmup_steps=10, decay_steps=100
        ),
        "upsampler": ICTUpsampler(
            **shared, size=64, width=16, blocks=2, discriminator_width=8, learning_rate=5e-4,
            discriminator_learning_rate=1e-4, adversarial_weight=0.01, perceptual_weight=0, style_weight=0,
        ),
    }  # fmt: skip
    paths = {name: tmp_path / f"{name}.ckpt" for name in stages}
    for (name, model), steps in zip(stages.items(), (100, 200), strict=True):
        run = trainer(tmp_path, max_steps=steps)
        run.fit(model, DataLoader(samples * steps, 4))
        run.save_checkpoint(paths[name])
    torch.save(assemble(ICT, paths, {"top_k": 5}), tmp_path / "ict.ckpt")
    with torch.no_grad():
        found = [
            psnr_hole(x[0], image, mask) for x in load_method(tmp_path / "ict.ckpt").sample(image[None], mask[None], 3)
        ]
    spent = time.process_time() - start
    print(f"Telea {target:.2f} dB, ICT {', '.join(f'{x:.2f}' for x in found)} dB after {spent:.0f} s")
    assert min(found) > target


def test_stages_that_do_not_belong_together_are_refused(tmp_path: Path):
    paths = {"transformer": trained(ICTTransformer, tmp_path), "upsampler": trained(ICTUpsampler, tmp_path)}
    with pytest.raises(ValueError, match="expected a ICTTransformer"):
        assemble(ICT, paths | {"transformer": paths["upsampler"]}, {})
    content = read_checkpoint(paths["upsampler"])
    content["state_dict"]["palette"] += 1
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="different palettes"):
        assemble(ICT, paths | {"upsampler": tmp_path / "other.ckpt"}, {})


def test_a_released_transformer_is_read_without_its_causal_masks_and_only_with_a_palette(tmp_path: Path):
    network = Transformer(4, 2, 16, 8, 12)
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    state |= {f"module.blocks.{i}.attn.mask": torch.ones(1, 1, 16, 16) for i in range(2)}
    torch.save({"model": state, "epoch": 3, "tokens": torch.tensor(5)}, tmp_path / "FFHQ.pth")
    np.save(tmp_path / "kmeans_centers.npy", np.random.default_rng(0).uniform(-1, 1, (12, 3)).astype(np.float32))
    command = ["ICT", str(tmp_path / "FFHQ.pth"), "--out", str(tmp_path / "t.ckpt")]
    with pytest.raises(ValueError, match="give --palette"):
        import_weights(command)
    assert import_weights([*command, "--palette", str(tmp_path / "kmeans_centers.npy")]) == 0
    read = read_checkpoint(tmp_path / "t.ckpt")
    assert read["method"] == "ICTTransformer" and read["hyper_parameters"]["grid"] == 4
    model = ICTTransformer(**read["hyper_parameters"])
    model.load_state_dict(read["state_dict"])
    assert torch.equal(model.transformer.pos_emb, network.pos_emb)
