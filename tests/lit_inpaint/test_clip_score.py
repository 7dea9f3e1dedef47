"""clip_score on small random networks of the published class, against a float64 reference and torchmetrics."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from lit_inpaint import metrics
from lit_inpaint.metrics import clip, metric
from masks.convention import from_levels
from tests.support import tiny_pipelines

WIDTH, HEADS, SIDE, PATCH = 16, 2, 32, 8
FOLDER = "clip-vit-large-patch14"
PROMPTS = ["a cat", "two dogs on a sofa", "grass"]
LEVELS = torch.randint(0, 256, (3, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0)).float()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights with a network that stands where the published one would."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("weights")
    shape = {
        "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": HEADS, "num_hidden_layers": 2,
        "projection_dim": 12,
    }  # fmt: skip
    text = {"vocab_size": 54, "max_position_embeddings": tiny_pipelines.LENGTH, "eos_token_id": 53, "bos_token_id": 52}
    config = transformers.CLIPConfig(
        text_config=shape | text, vision_config=shape | {"image_size": SIDE, "patch_size": PATCH}, projection_dim=12
    )
    torch.manual_seed(3)
    network = transformers.CLIPModel(config)
    for parameter in network.parameters():
        parameter.data.normal_(0, 0.3)
    network.save_pretrained(folder / FOLDER)
    tiny_pipelines.clip_tokenizer(folder / "words").save_pretrained(folder / FOLDER)
    return folder


@pytest.fixture
def weights(stored: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LIT_INPAINT_WEIGHTS", str(stored))
    forget()
    yield stored
    forget()


def forget() -> None:
    for kept in (clip._network, clip._tokenizer, clip.prompt_embedding):
        kept.cache_clear()


def scored(levels: Tensor, prompts: list[str]) -> Tensor:
    image = from_levels(levels)
    return metric("clip_score")(image, image, prompts=prompts)


# ---- numbers -------------------------------------------------------------------------------------------------------


def transformer(w: dict[str, Tensor], name: str, x: Tensor, causal: bool) -> Tensor:
    """Two layers of CLIP, written down."""
    masked = torch.full((x.shape[1],) * 2, -torch.inf, dtype=x.dtype).triu(1) if causal else 0
    for layer in (f"{name}.encoder.layers.0", f"{name}.encoder.layers.1"):
        y = norm(w, f"{layer}.layer_norm1", x)
        parts = (linear(w, f"{layer}.self_attn.{part}_proj", y) for part in "qkv")
        q, k, v = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in parts)
        heads = (q @ k.transpose(2, 3) / (WIDTH // HEADS) ** 0.5 + masked).softmax(-1) @ v
        x = x + linear(w, f"{layer}.self_attn.out_proj", heads.transpose(1, 2).flatten(2))
        y = linear(w, f"{layer}.mlp.fc1", norm(w, f"{layer}.layer_norm2", x))
        x = x + linear(w, f"{layer}.mlp.fc2", y * torch.sigmoid(1.702 * y))
    return x


def linear(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def norm(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    deviation = (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    return (x - x.mean(-1, keepdim=True)) / deviation * w[f"{name}.weight"] + w[f"{name}.bias"]


def reference(w: dict[str, Tensor], levels: Tensor, tokens: list[list[int]]) -> Tensor:
    """100 max(cos, 0) of images (B, 3, 32, 32) and the tokens of their prompts."""
    mean, scale = (torch.tensor(v).double().view(3, 1, 1) for v in (clip._MEAN, clip._DEVIATION))
    x = (levels.double() / 255 - mean) / scale
    patches = x.unflatten(2, (-1, PATCH)).unflatten(4, (-1, PATCH)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    x = patches @ w["vision_model.embeddings.patch_embedding.weight"].flatten(1).T
    first = w["vision_model.embeddings.class_embedding"].expand(len(x), 1, -1)
    x = torch.cat([first, x], 1) + w["vision_model.embeddings.position_embedding.weight"]
    x = transformer(w, "vision_model", norm(w, "vision_model.pre_layrnorm", x), causal=False)
    shown = norm(w, "vision_model.post_layernorm", x[:, 0]) @ w["visual_projection.weight"].T
    said = []
    for one in tokens:
        x = w["text_model.embeddings.token_embedding.weight"][one]
        x = (x + w["text_model.embeddings.position_embedding.weight"][: len(one)])[None]
        x = norm(w, "text_model.final_layer_norm", transformer(w, "text_model", x, causal=True))
        said.append(x[0, -1] @ w["text_projection.weight"].T)
    told = torch.stack(said)
    return 100 * ((shown * told).sum(1) / shown.norm(dim=1) / told.norm(dim=1)).clamp(min=0)


def letters(prompt: str) -> list[int]:
    """The tokens of the tokenizer that spells: a letter that ends a word is another token."""
    spelt = [i + (26 if j < len(word) - 1 else 0) for word in prompt.split() for j, i in enumerate(map(numbered, word))]
    return [52, *spelt, 53]


def numbered(letter: str) -> int:
    return tiny_pipelines.LETTERS.index(letter)


def in_float64(weights: Path) -> dict[str, Tensor]:
    return {k: v.double() for k, v in safetensors.torch.load_file(weights / FOLDER / "model.safetensors").items()}


def test_it_is_the_published_formula_in_float64(weights: Path):
    prompts, levels = 3 * PROMPTS, LEVELS.repeat_interleave(3, 0)
    expected = reference(in_float64(weights), levels, [letters(prompt) for prompt in prompts])
    assert 0 < int((expected > 0).sum()) < 9, "some are clamped"
    torch.testing.assert_close(scored(levels, prompts).double(), expected, rtol=0, atol=1e-3)  # of 100: 1e-5


def test_it_is_that_of_torchmetrics(weights: Path):
    import transformers
    from torchmetrics.multimodal import CLIPScore

    network = transformers.CLIPModel.from_pretrained(weights / FOLDER)
    size = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    words = transformers.CLIPTokenizer.from_pretrained(weights / FOLDER)
    processor = transformers.CLIPProcessor(transformers.CLIPImageProcessor(**size), words)

    class Before(SimpleNamespace):
        """transformers 5 returns an object where torchmetrics 1.9 expects the tensor in it."""

        def to(self, device: torch.device) -> Any:
            return self

        def get_image_features(self, *given: Tensor) -> Tensor:
            return network.get_image_features(*given).pooler_output

        def get_text_features(self, *given: Tensor) -> Tensor:
            return network.get_text_features(*given).pooler_output

    theirs = CLIPScore(lambda: (Before(config=network.config), processor))
    with torch.no_grad():
        each = [float(theirs(image.byte(), prompt)) for image, prompt in zip(LEVELS, PROMPTS, strict=True)]
    ours = scored(LEVELS, PROMPTS)
    assert max(each) > 1 and ours.tolist() == pytest.approx(each, abs=1e-3)  # of 100: 1e-5


def test_other_images_and_prompts_in_a_batch_change_nothing(weights: Path):
    together = scored(LEVELS, PROMPTS)
    forget()
    for i in (2, 0, 1):
        torch.testing.assert_close(scored(LEVELS[i : i + 1], [PROMPTS[i]])[0], together[i], rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(64, 64), (300, 411), (224, 224)])
def test_images_are_resized_and_cropped_as_pillow_does(shape: tuple[int, int]):
    coarse = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(1))
    levels = (torch.nn.functional.interpolate(coarse, shape, mode="bilinear") * 255).round()
    picture = Image.fromarray(levels[0].permute(1, 2, 0).byte().numpy())
    width = 224 * shape[1] // shape[0]
    left = round((width - 224) / 2)
    theirs = picture.resize((width, 224), Image.Resampling.BICUBIC).crop((left, 0, left + 224, 224))
    ours = clip.clip_input(from_levels(levels))[0].permute(1, 2, 0).numpy() * clip._DEVIATION + clip._MEAN
    assert np.abs(ours - np.asarray(theirs, np.float64) / 255).max() < 1.01 / 255  # Pillow rounds in between


def test_a_prompt_that_is_too_long_is_truncated_and_said_once(weights: Path, caplog: pytest.LogCaptureFixture):
    short = "a" * (tiny_pipelines.LENGTH - 2)
    with caplog.at_level(logging.WARNING):
        cut = [float(scored(LEVELS[:1], [short + end])) for end in ("b", "b", "cc")]
        whole = float(scored(LEVELS[:1], ["b" * 5]))
    ends = reference(
        in_float64(weights), LEVELS[:1], [[52, *[26] * len(short), 53]]
    )  # with the end token, as CLIP's own
    assert cut == pytest.approx([float(ends)] * 3, abs=1e-3) and whole != cut[0]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 and "a prompt of 17 tokens is truncated to CLIP's 16: aaaa" in said[0]


# ---- what it refuses ------------------------------------------------------------------------------------------------


def test_every_image_needs_a_prompt():
    for prompts in ([], PROMPTS[:2]):
        with pytest.raises(ValueError, match=rf"given {len(prompts)} prompts for 3 images"):
            scored(LEVELS, prompts)


def test_without_the_package_or_the_weights_one_line_says_what_to_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIT_INPAINT_WEIGHTS", str(tmp_path))
    (tmp_path / FOLDER).mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / FOLDER / name).touch()
    said = metrics.unavailable("clip_score")
    assert said and "\n" not in said and f"put {FOLDER} into" in said and f"openai/{FOLDER}" in said, "no tokenizer"
    (tmp_path / FOLDER / "tokenizer.json").touch()
    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    assert metrics.unavailable("clip_score") == "transformers is not installed: pip install 'lit-inpaint[metrics]'"


def test_another_folder_or_one_that_lacks_weights_is_one_line(weights: Path, tmp_path: Path, monkeypatch: Any):
    folder = tmp_path / FOLDER
    shutil.copytree(weights / FOLDER, folder)
    monkeypatch.setenv("LIT_INPAINT_WEIGHTS", str(tmp_path))
    held = safetensors.torch.load_file(folder / "model.safetensors")
    del held["visual_projection.weight"]
    safetensors.torch.save_file(held, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 weights of CLIPModel, such as visual_projection\.weight"):
        scored(LEVELS, PROMPTS)
    (folder / "model.safetensors").write_bytes(b"not the weights")
    with pytest.raises(ValueError, match=r"cannot be read as CLIPModel of transformers \(") as error:
        scored(LEVELS, PROMPTS)
    assert "\n" not in str(error.value)


def test_reading_prints_no_bar_and_leaves_the_setting_of_the_user(weights: Path, capfd: pytest.CaptureFixture[str]):
    from transformers.utils import logging as theirs

    assert theirs.is_progress_bar_enabled()
    scored(LEVELS, PROMPTS)
    assert capfd.readouterr().err == "" and theirs.is_progress_bar_enabled()
