"""What prompts become: the hidden states of a CLIP text encoder, which is asked once and not kept."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lit_inpaint.backbones import BackboneMissingError
from lit_inpaint.methods.latent_inpainting.networks import NEEDS
from lit_inpaint.quiet import without_bars


@torch.no_grad()
def contexts(folder: Path, prompts: Sequence[str]) -> Tensor:
    """Context of each prompt, (prompts, tokens, width), by ``text_encoder`` and ``tokenizer`` of a diffusers folder.

    Raises:
        BackboneMissingError: transformers is not installed.
        ValueError: The folder holds no CLIP text encoder.
    """
    try:
        from transformers import CLIPTextModel, CLIPTokenizer
    except ImportError:
        raise BackboneMissingError(f"text_folder needs transformers: {NEEDS}") from None
    try:  # local files and safetensors only: nothing is downloaded, nothing is unpickled
        with without_bars("transformers"):
            tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
            encoder = CLIPTextModel.from_pretrained(
                folder / "text_encoder", local_files_only=True, use_safetensors=True
            )
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise ValueError(f"{folder} holds no CLIP text encoder with its tokenizer ({said}).") from error
    length = encoder.config.max_position_embeddings
    tokens = tokenizer(list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return encoder.eval()(tokens.input_ids).last_hidden_state.float()


def write_zeros(folder: Path, width: int) -> None:
    """A text encoder and a tokenizer for which every prompt is a context of zeros; pipelines need both."""
    try:
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
    except ImportError:
        raise BackboneMissingError(f"a pipeline's folder needs transformers: {NEEDS}") from None
    first, last = "<|startoftext|>", "<|endoftext|>"
    words = folder / "tokenizer"
    words.mkdir()
    (words / "vocab.json").write_text(json.dumps({first: 0, last: 1}), encoding="utf-8")
    (words / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    CLIPTokenizer(str(words / "vocab.json"), str(words / "merges.txt"), model_max_length=77).save_pretrained(words)
    config = CLIPTextConfig(
        vocab_size=2, hidden_size=width, intermediate_size=1, num_hidden_layers=1, num_attention_heads=1,
        bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    encoder = CLIPTextModel(config)
    for parameter in encoder.parameters():
        torch.nn.init.zeros_(parameter)
    encoder.save_pretrained(folder / "text_encoder")
