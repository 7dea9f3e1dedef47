"""CLIPScore: how well a completion shows what the prompt of its image says (Hessel et al. 2021)."""

import logging
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_inpaint.metrics import _pretrained
from lit_inpaint.metrics._definition import check_pair, defined

logger = logging.getLogger(__name__)
_WEIGHTS = "clip_vit_large_patch14"
_MEAN, _DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's own images


@cache
def _network(device: torch.device) -> Any:
    return _pretrained.network(_WEIGHTS, "CLIPModel", device)


@cache
def _tokenizer() -> Any:
    return _pretrained.tokenizer(_WEIGHTS, "CLIPTokenizer")


def clip_input(image: Tensor, side: int = 224) -> Tensor:
    """(B, 3, H, W) in [-1, 1] to what CLIP's program gives the network: shorter side resized, centre cropped."""
    height, width = image.shape[-2:]
    shape = max(side, side * height // width), max(side, side * width // height)
    top, left = (round((length - side) / 2) for length in shape)
    return _pretrained.resized(image, shape, _MEAN, _DEVIATION)[..., top : top + side, left : left + side]


def image_embeddings(image: Tensor) -> Tensor:
    """(B, 3, H, W) in [-1, 1] to (B, d)."""
    network = _network(image.device)
    parts = (clip_input(part, network.config.vision_config.image_size) for part in image.split(16))
    return torch.cat([network.visual_projection(network.vision_model(part).pooler_output) for part in parts])


@lru_cache(4096)
def prompt_embedding(prompt: str, device: torch.device) -> Tensor:
    """(d,): each prompt alone, so that no other changes its length. One that is too long is cut, with a warning."""
    network = _network(device)
    length = network.config.text_config.max_position_embeddings
    tokens = _tokenizer()(prompt, verbose=False).input_ids
    if len(tokens) > length:
        said = "clip_score: a prompt of %d tokens is truncated to CLIP's %d: %.60s..."
        logger.warning(said, len(tokens), length, prompt)
        tokens = tokens[: length - 1] + tokens[-1:]
    states = network.text_model(torch.tensor([tokens], device=device))
    return network.text_projection(states.pooler_output)[0]


@defined("1: 100 max(cos, 0) between the embeddings of the completion and of the prompt of its image by CLIP ViT-L/14 "
         "(OpenAI), images rounded to 8 bits, shorter side resized to 224 (bicubic, antialiased, 8 bits), centre crop; "
         "a prompt ends after 77 tokens",
         title="CLIPScore", higher_is_better=True, decimals=2, of_prompts=True, backbone=_WEIGHTS,
         package="transformers")  # fmt: skip
@torch.no_grad()
def clip_score(prediction: Tensor, target: Tensor, mask: Tensor | None = None, prompts: Sequence[str] = ()) -> Tensor:
    """CLIPScore, 0 to 100, as torchmetrics scales it. Images (B, 3, H, W) in [-1, 1], a prompt for each -> (B,).

    >>> clip_score.of_prompts, clip_score.higher_is_better
    (True, True)
    """
    check_pair(prediction, target, mask)
    if len(prompts) != len(prediction):
        given = f"given {len(prompts)} prompts for {len(prediction)} images"
        raise ValueError(f"clip_score compares each image with its prompt: {given}.")
    with torch.autocast(prediction.device.type, enabled=False):
        shown = image_embeddings(prediction)
        said = torch.stack([prompt_embedding(prompt, prediction.device) for prompt in prompts])
    return 100 * F.cosine_similarity(shown, said).clamp(min=0)
