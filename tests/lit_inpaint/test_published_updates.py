"""The first three updates of DeepFill v2, DeepFill v1 and ICT's transformer are those of the published programs.

``benchmarks.training`` ran each program in float64, narrow, with the weights of
``random_state`` under our names (float32 draws) and the input of :func:`images`. What it printed is here: loss terms
of the first step, the norm of the gradient at a network's first update, the norms of its three updates.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lit_inpaint.methods import DeepFillV1, DeepFillV2
from lit_inpaint.methods.ict import stages
from tests.support.fitting import items_of
from tests.support.published import float64, random_state
from tests.support.steps import steps_of


class Published(NamedTuple):
    terms: dict[str, float]
    gradients: dict[str, float]  # by the network that stands first in its optimiser
    updates: dict[str, list[float]]


@pytest.fixture(autouse=True)
def wide() -> Iterator[None]:
    with float64():
        yield


def images(size: int) -> Tensor:
    """(2, 3, size, size) in [-1, 1] from float64 draws of seed 1."""
    rng = torch.Generator().manual_seed(1)
    coarse = torch.rand(2, 3, 8, 8, generator=rng, dtype=torch.float64) * 2 - 1
    fine = torch.rand(2, 3, size, size, generator=rng, dtype=torch.float64) * 2 - 1
    return 0.7 * F.interpolate(coarse, (size, size), mode="bilinear") + 0.3 * fine


def hole(rows: slice, columns: slice) -> Tensor:
    mask = torch.zeros(2, 1, 64, 64, dtype=torch.float64)
    mask[..., rows, columns] = 1
    return mask


def assert_updates(model: Any, seed: int, mask: Tensor, published: Published) -> None:
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(random_state(shapes, seed))
    cycle = (
        len({*published.updates}) if isinstance(model, DeepFillV1) else 1
    )  # batches in which each network steps once
    steps, logged = steps_of(model.double(), items_of(images(64), mask), 3 * cycle, [])
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


def test_deepfillv1_trains_as_daa233_s_program_with_the_authors_penalty(monkeypatch: pytest.MonkeyPatch):
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
    drawn = torch.rand

    def shares(*shape: Any, **options: Any) -> Tensor:  # the points of the gradient penalty
        return torch.linspace(0.2, 0.7, 2).double().view(shape) if shape[1:] == (1, 1, 1) else drawn(*shape, **options)

    monkeypatch.setattr(torch, "rand", shares)
    assert_updates(model, 2, hole(slice(16, 48), slice(16, 48)), published)
