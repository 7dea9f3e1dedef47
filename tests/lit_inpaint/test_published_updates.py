"""The first updates of DeepFill v1 and v2, ICT's transformer and DSI's stages are those of the published programs.

``benchmarks.training`` ran each program in float64, narrow, with the weights of ``random_state`` under our names (drawn
in float32) and the input of :func:`images`; where a row is named, ``python -m benchmarks.training.printed ROW SEED``
did (drawn in float64). What it printed is here: loss terms of the first step, the norm of the gradient at a network's
first update, the norms of its updates.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lit_inpaint.discriminators import SNPatchGAN
from lit_inpaint.methods import DeepFillV1, DeepFillV2
from lit_inpaint.methods.deepfillv1.networks import Discriminator
from lit_inpaint.methods.dsi.stages import DSIVQVAE, DSITexture
from lit_inpaint.methods.ict import stages
from tests.support.fitting import items_of
from tests.support.published import drawn, float64, random_state
from tests.support.steps import steps_of


class Published(NamedTuple):
    terms: dict[str, float]
    gradients: dict[str, float]  # by the network that stands first in its optimiser
    updates: dict[str, list[float]]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """float64, and the points of gradient penalties in one place."""
    rand = torch.rand

    def shares(*shape: Any, **options: Any) -> Tensor:
        return torch.linspace(0.2, 0.7, 2).double().view(shape) if shape[1:] == (1, 1, 1) else rand(*shape, **options)

    monkeypatch.setattr(torch, "rand", shares)
    with float64():
        yield


def images(size: int) -> Tensor:
    """(2, 3, size, size) in [-1, 1] from float64 draws of seed 1."""
    rng = torch.Generator().manual_seed(1)
    coarse = torch.rand(2, 3, 8, 8, generator=rng, dtype=torch.float64) * 2 - 1
    fine = torch.rand(2, 3, size, size, generator=rng, dtype=torch.float64) * 2 - 1
    return 0.7 * F.interpolate(coarse, (size, size), mode="bilinear") + 0.3 * fine


def hole(rows: slice, columns: slice, size: int = 64) -> Tensor:
    mask = torch.zeros(2, 1, size, size, dtype=torch.float64)
    mask[..., rows, columns] = 1
    return mask


def assert_updates(model: Any, seed: int, mask: Tensor, published: Published) -> None:
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(random_state(shapes, seed))
    assert_steps_from_here(model, mask, published)


def assert_drawn_updates(model: Any, seed: int, mask: Tensor, published: Published) -> None:
    model.double().load_state_dict(drawn(model, seed), strict=False)
    assert_steps_from_here(model, mask, published)


def assert_steps_from_here(model: Any, mask: Tensor, published: Published) -> None:
    alone = isinstance(model, DeepFillV1)  # a batch trains one network
    batches = sum(map(len, published.updates.values())) if alone else max(map(len, published.updates.values()))
    cycle = model.discriminator_updates + 1 if alone else 1
    steps, logged = steps_of(model.double(), items_of(images(mask.shape[-1]), mask), batches, [])
    terms = {name: value for values in reversed(logged[:cycle]) for name, value in values.items()}
    for name, value in published.terms.items():
        assert terms[f"train/{name}"] == pytest.approx(value, rel=1e-5), name
    for network, updates in published.updates.items():
        own = [step for step in steps if step.network == network]
        assert own[0].gradient == pytest.approx(published.gradients[network], rel=1e-5)
        assert [step.update for step in own] == pytest.approx(updates, rel=1e-4)


def test_deepfillv2_trains_as_nipponjo_s_program():
    # train.py of github.com/nipponjo/deepfillv2-pytorch 4899fd3, cnum 8 and 8, sigma divided inside the graph
    published = Published(
        {"discriminator_loss": 0.9999738543224528, "adversarial": -0.038131507692122805},
        {"discriminator": 0.0215966226, "generator": 0.447903616},
        {
            "discriminator": [0.0290430187, 0.0256102564, 0.0245853969],
            "generator": [0.0300587984, 0.0299051409, 0.0298042283],
        },
    )
    model = DeepFillV2(8, 8, variant="nipponjo")
    assert_updates(model, 1, hole(slice(8, 32), slice(16, 48)), published)


def test_ict_s_transformer_trains_as_its_program(monkeypatch: pytest.MonkeyPatch):
    # Transformer/DDP_trainer.py of github.com/raywzy/ICT 59dd12d: 2 layers, 2 heads, width 16, a palette of 125
    image = ((images(64) + 1) * 127.5).round()
    small = [
        Image.fromarray(x.byte().permute(1, 2, 0).numpy()).resize((16, 16), Image.Resampling.BILINEAR) for x in image
    ]
    pixels = torch.from_numpy(np.stack([np.array(x) for x in small])).double().flatten(1, 2)
    monkeypatch.setattr(stages, "down_sample", lambda *arguments: pixels)  # known tokens: of the whole image, as there
    model = stages.ICTTransformer(16, 2, 16, 2, 125, warmup_steps=1, decay_steps=10**12)
    transformer = {name: tuple(x.shape) for name, x in model.state_dict().items() if name.startswith("transformer")}
    model.load_state_dict(random_state(transformer, 3), strict=False)
    model.palette.copy_(torch.randint(256, (125, 3), generator=torch.Generator().manual_seed(3)))
    mask = torch.zeros(2, 1, 64, 64, dtype=torch.float64)
    mask[0, :, 8:32, 16:48] = mask[1, :, 32:48, 32:40] = 1
    steps, logged = steps_of(model.double(), items_of(image / 127.5 - 1, mask), 3, [])  # type: ignore[arg-type]
    assert logged[0]["train/loss"] == pytest.approx(0.6391016289431508, rel=1e-6)
    assert [s.update for s in steps] == pytest.approx([0.0345441372, 0.0335580732, 0.0328789018], rel=1e-5)


def test_deepfillv1_trains_as_daa233_s_program_with_the_authors_penalty():
    # trainer.py of github.com/daa233/generative-inpainting-pytorch c6cdaea, ngf 8 and ndf 4, last layers for 64 px;
    # its penalty restricted to the hole and its loss of known pixels divided by their share, as in the authors' program
    published = Published(
        {
            "discriminator_loss": 0.39818485345224897,
            "penalty": 0.07752202212634804,
            "hole": 0.9125205739538234,
            "known": 1.5856950179449079,
            "adversarial": 0.9061171231718544,
        },
        {"discriminator_global": 17.1756769, "generator": 27.797756},
        {
            "discriminator_global": [0.0147667807, 0.0121330409, 0.0114709558],
            "generator": [0.0460228193, 0.033168786, 0.0279251282],
        },
    )
    model = DeepFillV1(8, 4, 64, 32, variant="daa233", discriminator_updates=1)
    assert_updates(model, 2, hole(slice(16, 48), slice(16, 48)), published)


def test_deepfillv1_trains_as_the_authors_program():
    # inpaint_model.py and train.py of github.com/JiahuiYu/generative_inpainting 06cd62c (v1.0.0) under TensorFlow 2.21:
    # row jiahuiyu_v1, seed 4, widths 8 and 8; five steps of the discriminators, then one of the generator
    published = Published(
        {
            "discriminator_loss": 4.452909014216859,
            "penalty": 0.4574837419887621,
            "hole": 0.8833937690831768,
            "known": 1.5833297215904782,
            "generator_loss": 2.960983562678414,
        },
        {"discriminator_global": 22.766184, "generator": 13.7472457},
        {
            "discriminator_global": [0.0333106072, 0.0328115024, 0.0323863555, 0.0323046389, 0.0321539335],
            "generator": [0.0460225665],
        },
    )
    assert_drawn_updates(DeepFillV1(8, 8, 64, 32), 4, hole(slice(20, 44), slice(20, 44)), published)


def test_deepfillv1_s_mmagic_trains_as_its_program_with_the_authors_losses():
    # train_step of github.com/open-mmlab/mmagic 0a560bb: row mmagic_deepfillv1, seed 7
    published = Published(
        {
            "hole": 1.433682268508165,
            "known": 1.3938789178688151,
            "adversarial": 5.8875851028083535,
            "penalty": 0.19387516378213943,
        },
        {"discriminator_global": 48.7159669, "generator": 36.9585852},
        {"discriminator_global": [0.26424139], "generator": [0.0477696269]},
    )
    model = DeepFillV1(
        8, 64, 80, 32, "mmagic", gamma=1.0, discriminator_updates=1, adversarial_weight=1e-4, hole_weight=1.0,
        known_weight=1.0, coarse_weight=1.0, betas=(0.9, 0.999),
    )  # fmt: skip
    model.discriminator_global = Discriminator(80, 64, 4, "daa233")  # padded alike at both ends
    model.discriminator_local = Discriminator(32, 64, 8, "daa233")
    mask = torch.zeros(2, 1, 80, 80, dtype=torch.float64)
    mask[0, :, 16:48, 24:56] = mask[1, :, 40:72, 8:40] = 1
    assert_drawn_updates(model, 7, mask, published)


def test_deepfillv2_s_mmagic_trains_as_its_program_with_the_authors_weights():
    # train_step of github.com/open-mmlab/mmagic 0a560bb: row mmagic_deepfillv2, seed 8
    published = Published(
        {"l1_coarse": 0.2808752380451113, "l1_refined": 0.2767477401908676, "adversarial": -0.03038699935830183},
        {"discriminator": 0.00232809722, "generator": 0.128235049},
        {"discriminator": [0.218223869], "generator": [0.0510097797]},  # later its spectral norms are a pass ahead
    )
    model = DeepFillV2(12, 64, variant="mmagic", betas=(0.9, 0.999))
    model.discriminator = SNPatchGAN(4, 64, "symmetric")
    mask = torch.zeros(2, 1, 80, 80, dtype=torch.float64)
    mask[0, :, 10:40, 20:60] = mask[1, :, 40:60, 40:50] = 1
    assert_drawn_updates(model, 8, mask, published)


VQ: Any = {"vq_width": 16, "vq_hidden": 8, "vq_blocks": 1, "channels": 4, "codes": 16}


def test_dsi_s_vqvae_trains_as_its_program():
    # train_vqvae.py of github.com/USTC-JialunPeng/Diverse-Structure-Inpainting 0def26d under TensorFlow 2.21: row
    # dsi_vqvae, seed 5; the second and third step pass codebooks that the first has moved
    published = Published(
        {"reconstruction": 0.7662606424464672, "commitment": 0.4173746403834756},
        {"vqvae": 5.70676662},
        {"vqvae": [0.0148292835, 0.0124159457, 0.0123802158]},
    )
    model = DSIVQVAE(**VQ)
    start = drawn(model, 5)
    assert_drawn_updates(model, 5, hole(slice(4, 16), slice(8, 24), 32), published)
    for level, moved in (("top", 6.911656019227364), ("bottom", 4.63942337419454)):  # codes, in three steps
        name = f"vqvae.{level}.embedding"
        assert (model.state_dict()[name] - start[name]).norm().item() == pytest.approx(moved, rel=1e-5), level


def test_dsi_s_texture_generator_trains_as_its_program():
    # train_texture_generator.py of the same repository: row dsi_texture, seed 6
    published = Published(
        {
            "l1": 0.3277532697809989,
            "structural": 1.794087588463987,
            "textural": 1.9412574177861806,
            "adversarial": -0.03971558133502116,
            "discriminator_loss": 0.9998319652480927,
        },
        {"texture": 1.29348892, "discriminator": 0.00396952867},
        {
            "texture": [0.0258811859, 0.0254618381, 0.0252758284],
            "discriminator": [0.0294349565, 0.028871248, 0.0290704625],
        },
    )
    model = DSITexture(**VQ, texture_width=8, discriminator_width=8)
    model.vqvae.top.updates += 1  # counts as trained
    assert_drawn_updates(model, 6, hole(slice(8, 32), slice(16, 48)), published)
