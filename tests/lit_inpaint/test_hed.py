"""HED equals the published port, and its edges are the lines of a guided DeepFillV2."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lit_inpaint.methods import DeepFillV2
from lit_inpaint.methods.deepfillv2.hed import HED, hed_edges
from tests.support.published import assert_published, assert_sum, float64

# Network of sniklaus/pytorch-hed's run.py with these weights and image: eight values, every 700th, and the sum.
PUBLISHED = [0.8902, 0.804891, 0.590637, 0.720062, 0.553878, 0.656746, 0.558812, 0.355869], 4724.359131


def random_weights() -> tuple[dict[str, Tensor], Tensor]:
    """Weights of sensible size by sorted name, and an image (1, 3, 72, 88) in [-1, 1]."""
    generator, state = torch.Generator().manual_seed(0), {}
    for name, value in sorted(HED().state_dict().items()):
        noise = torch.randn(value.shape, generator=generator)
        noise *= (2 / value[0].numel()) ** 0.5 if value.ndim == 4 else 0.1
        state[name] = noise * 1e-2 if "Score" in name else noise
    return state, torch.rand(1, 3, 72, 88, generator=generator) * 2 - 1


def test_hed_computes_what_the_published_port_computes():
    network = HED().eval()
    assert sum(p.numel() for p in network.parameters()) == 14_716_171
    state, image = random_weights()
    network.load_state_dict(state)
    with torch.no_grad(), float64():
        edges = network.double()(image.double())
    values, total = PUBLISHED
    assert_published(edges.flatten()[::700][:8], values, of=edges)
    assert_sum(edges, total)


def test_the_lines_of_training_are_hed_above_six_tenths_inside_the_hole(tmp_path: Path):
    state, image = random_weights()
    torch.save(state, tmp_path / "network-bsds500.pytorch")
    model = DeepFillV2(
        width=4, discriminator_width=2, sketch=True, sketch_drop=0.0, hed=str(tmp_path / "network-bsds500.pytorch")
    )
    mask = torch.zeros(1, 1, 72, 88)
    mask[..., 10:40, 20:60] = 1
    network = HED()
    network.load_state_dict(state)
    with torch.no_grad():
        expected = (network(image) > 0.6) * mask
    lines = model._lines(image, mask)
    assert 0 < lines.sum() < mask.sum() and torch.equal(lines, expected)
    assert not any("moduleVgg" in name for name in model.state_dict())  # checkpoints stay small


def test_a_missing_or_other_file_is_one_line(tmp_path: Path):
    image = torch.zeros(1, 3, 32, 32)
    with pytest.raises(ValueError, match=r"no such file: network-bsds500\.pytorch"):
        hed_edges(image, str(tmp_path / "none.pytorch"))
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="does not hold the weights of HED") as said:
        hed_edges(image, str(tmp_path / "other.pt"))
    assert "\n" not in str(said.value)
