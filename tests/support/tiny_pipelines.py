"""Random pipelines of diffusers, small enough to build in a moment; their tokenizers, which spell, are written here."""

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LENGTH = 16  # tokens of a prompt
SHARED = Path(tempfile.gettempdir()) / f"tiny-pipeline-{os.getpid()}"  # of the contract, written when it is needed


def clip_tokenizer(folder: Path) -> Any:
    """One token per letter."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    words = [*(f"{letter}</w>" for letter in LETTERS), *LETTERS, "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=LENGTH)


def t5_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=LENGTH, **special)


def clip_text(projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=2 * len(LETTERS) + 2, hidden_size=32, intermediate_size=32, num_attention_heads=4,
        num_hidden_layers=2, projection_dim=32, bos_token_id=52, eos_token_id=53, pad_token_id=53,
        max_position_embeddings=LENGTH,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def t5_text(width: int) -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(vocab_size=32, d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2))


def vae(channels: int = 4, **changes: Any) -> Any:
    """Four levels: eight pixels of the image are one of the latents, as published."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=[8] * 4, down_block_types=["DownEncoderBlock2D"] * 4, latent_channels=channels,
        up_block_types=["UpDecoderBlock2D"] * 4, norm_num_groups=4, **changes,
    )  # fmt: skip


def unet(channels: int, width: int, **changes: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=8, in_channels=channels, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width, norm_num_groups=4, attention_head_dim=4, **changes,
    )  # fmt: skip


def stable_diffusion(folder: Path, channels: int = 9) -> Any:
    """Nine channels: noise, mask and masked image, as SD 1.5 and SD 2 inpainting have; four: a plain SD."""
    from diffusers import DDIMScheduler, StableDiffusionInpaintPipeline

    return StableDiffusionInpaintPipeline(
        vae=vae(), text_encoder=clip_text(), tokenizer=clip_tokenizer(folder), unet=unet(channels, 32),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def sdxl(folder: Path, channels: int = 9) -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLInpaintPipeline

    tokenizer = clip_tokenizer(folder)
    sizes = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "use_linear_projection": True}
    return StableDiffusionXLInpaintPipeline(
        vae=vae(), text_encoder=clip_text(), text_encoder_2=clip_text(projected=True), tokenizer=tokenizer,
        tokenizer_2=tokenizer, scheduler=EulerDiscreteScheduler(),
        unet=unet(channels, 64, projection_class_embeddings_input_dim=32 + 8 * 6, **sizes),
    )  # fmt: skip


def flux_fill(folder: Path) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxFillPipeline, FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=2 * 16 + 256, out_channels=16, num_layers=1, num_single_layers=1,
        attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32,
        axes_dims_rope=[4, 4, 8], guidance_embeds=True,
    )  # fmt: skip
    flow = {"use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.06, "scaling_factor": 1.5}
    return FluxFillPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae(4, **flow), transformer=transformer,
        text_encoder=clip_text(), tokenizer=clip_tokenizer(folder), text_encoder_2=t5_text(32),
        tokenizer_2=t5_tokenizer(),
    )  # fmt: skip


def sd3(folder: Path) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3InpaintPipeline

    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=16, out_channels=16, num_layers=1, attention_head_dim=8,
        num_attention_heads=4, joint_attention_dim=64, caption_projection_dim=32, pooled_projection_dim=64,
        pos_embed_max_size=16,
    )  # fmt: skip
    flow = {"use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.06, "scaling_factor": 1.5}
    tokenizer = clip_tokenizer(folder)
    return StableDiffusion3InpaintPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae(16, **flow), transformer=transformer,
        text_encoder=clip_text(projected=True), tokenizer=tokenizer, text_encoder_2=clip_text(projected=True),
        tokenizer_2=tokenizer, text_encoder_3=t5_text(64), tokenizer_3=t5_tokenizer(),
    )  # fmt: skip


FAMILIES: dict[str, Callable[[Path], Any]] = {
    "stable_diffusion": stable_diffusion,
    "sdxl": sdxl,
    "flux_fill": flux_fill,
    "sd3": sd3,
}


def write(family: str, folder: Path, **changes: Any) -> Path:
    """The folder that ``save_pretrained`` wrote of a pipeline with the weights of seed 0; skips without the extra."""
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = FAMILIES[family](folder / "written", **changes)
    shutil.rmtree(folder / "written")
    pipeline.save_pretrained(folder)
    return folder


@cache
def shared() -> Path:
    """The pipeline of the contract's row, once per process."""
    atexit.register(shutil.rmtree, SHARED, ignore_errors=True)
    return write("stable_diffusion", SHARED)
