"""fd_dinov2 on small random networks of the published class, against float64 references; and without weights."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lit_inpaint import metrics
from lit_inpaint.backbones import backbone
from lit_inpaint.metrics import dino, metric
from masks.convention import from_levels

WIDTH = 16


def pictures(count: int, side: int, seed: int = 0) -> Tensor:
    """(count, 3, side, side) levels of soft blobs, which differ in colour and contrast."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator) * torch.rand(count, 3, 1, 1, generator=generator)
    return (F.interpolate(coarse, (side, side), mode="bilinear") * 255).round()


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Tensor]]:
    """The weights of a network that stands where the published one would, in float64."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, patch_size=14, image_size=224
    )
    model = transformers.Dinov2Model(config)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    model.save_pretrained(tmp_path / "dinov2-large")
    monkeypatch.setenv("LIT_INPAINT_WEIGHTS", str(tmp_path))
    dino._network.cache_clear()
    file = tmp_path / "dinov2-large" / "model.safetensors"  # in memory the names are those of a version of the library
    yield {name: value.double() for name, value in safetensors.torch.load_file(file).items()}
    dino._network.cache_clear()


def class_tokens(w: dict[str, Tensor], levels: Tensor) -> Tensor:
    """DINOv2's vision transformer of two layers and two heads, written down."""

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        deviation = (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
        return (x - x.mean(-1, keepdim=True)) / deviation * w[f"{name}.weight"] + w[f"{name}.bias"]

    mean, scale = (torch.tensor(v, dtype=torch.float64) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = (levels.double() / 255 - mean.view(3, 1, 1)) / scale.view(3, 1, 1)
    kernel = "embeddings.patch_embeddings.projection"
    patches = x.unflatten(2, (16, 14)).unflatten(4, (16, 14)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    tokens = patches @ w[f"{kernel}.weight"].flatten(1).T + w[f"{kernel}.bias"]
    x = torch.cat([w["embeddings.cls_token"].expand(len(x), 1, -1), tokens], 1) + w["embeddings.position_embeddings"]
    for layer in ("encoder.layer.0", "encoder.layer.1"):
        names = (f"{layer}.attention.attention.{part}" for part in ("query", "key", "value"))
        y = norm(f"{layer}.norm1", x)
        q, k, v = (linear(name, y).unflatten(2, (2, -1)).transpose(1, 2) for name in names)
        heads = (q @ k.transpose(2, 3) / (WIDTH // 2) ** 0.5).softmax(-1) @ v
        attended = linear(f"{layer}.attention.output.dense", heads.transpose(1, 2).flatten(2))
        x = x + w[f"{layer}.layer_scale1.lambda1"] * attended
        hidden = linear(f"{layer}.mlp.fc1", norm(f"{layer}.norm2", x))
        hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
        x = x + w[f"{layer}.layer_scale2.lambda1"] * linear(f"{layer}.mlp.fc2", hidden)
    return norm("layernorm", x)[:, 0]


def test_features_are_those_of_a_reference_in_float64(network: dict[str, Tensor]):
    levels = pictures(18, 224)  # more than the network is given at once
    found = dino.dinov2_features(from_levels(levels))
    assert found.shape == (18, WIDTH)
    torch.testing.assert_close(found.double(), class_tokens(network, levels), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", [64, 300])
def test_images_are_resized_as_pillow_does(side: int):
    levels = pictures(1, side)
    pixels = levels[0].permute(1, 2, 0).byte().numpy()
    theirs = np.asarray(Image.fromarray(pixels).resize((224, 224), Image.Resampling.BICUBIC), np.float64) / 255
    scale, mean = np.array([0.229, 0.224, 0.225]), np.array([0.485, 0.456, 0.406])
    ours = dino.dinov2_input(from_levels(levels))[0].permute(1, 2, 0).double().numpy() * scale + mean
    assert np.abs(ours - theirs).max() < 1.01 / 255  # Pillow rounds between rows and columns


def test_the_distance_is_the_published_formula_on_these_features(
    network: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
):
    linalg = pytest.importorskip("scipy.linalg")
    monkeypatch.setattr(metric("fd_dinov2"), "least", 2)
    fake, real = (pictures(40, 224, seed) for seed in (1, 2))
    a, b = (class_tokens(network, levels).numpy() for levels in (fake, real))
    root = linalg.sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
    covariances = np.trace(np.cov(a, rowvar=False) + np.cov(b, rowvar=False) - 2 * root)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + covariances
    assert float(metric("fd_dinov2")(from_levels(fake), from_levels(real))) == pytest.approx(expected, rel=1e-4)


def test_without_the_package_or_the_weights_one_line_says_what_to_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIT_INPAINT_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    said = metrics.unavailable("fd_dinov2")
    assert said and "\n" not in said and "put dinov2-large into" in said and "facebook/dinov2-large" in said
    snapshot = tmp_path / "cache" / "models--facebook--dinov2-large" / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0")
    (snapshot / "config.json").write_text("{}")
    assert "put dinov2-large into" in (metrics.unavailable("fd_dinov2") or ""), "a download that broke off"
    (snapshot / "model.safetensors").touch()
    assert backbone("dinov2_large") == snapshot
    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    assert metrics.unavailable("fd_dinov2") == "transformers is not installed: pip install 'lit-inpaint[metrics]'"
    monkeypatch.undo()
    monkeypatch.setenv("LIT_INPAINT_WEIGHTS", str(tmp_path))
    (tmp_path / "dinov2-large").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "dinov2-large" / name).touch()
    assert backbone("dinov2_large") == tmp_path / "dinov2-large", "the folder comes first"
