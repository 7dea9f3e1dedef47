"""Small random networks of latent diffusion: a method, a text encoder with its tokenizer, and a float64 reference."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_inpaint.methods import LatentInpainting
from tests.support.contract import ROWS

SMALL: dict[str, Any] = dict(ROWS).get("LatentInpainting", {}) | {"diffusion_steps": 1000}


def method(**changes: Any) -> LatentInpainting:
    """With weights of seed 0, all of them random: diffusers zeroes nothing, and LoRA's B is drawn too."""
    torch.manual_seed(0)
    made = LatentInpainting(**SMALL | changes).eval()
    for name, parameter in made.denoiser.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.1)
    made.scale.fill_(0.7)
    return made


def known(count: int = 2, side: int = 32) -> tuple[Tensor, Tensor]:
    """Waves with a hole whose border lies inside a latent's pixels, (B, 3, S, S) and (B, 1, S, S)."""
    grid = torch.linspace(-1, 1, side)
    waves = [torch.sin(5 * grid + i)[:, None] * torch.cos(3 * grid - i) for i in range(3 * count)]
    mask = torch.zeros(count, 1, side, side)
    for i in range(count):
        mask[i, :, 5 + 2 * i : 19, 8 : 21 + i] = 1
    return torch.stack(waves).reshape(count, 3, side, side), mask


def reference_loss(
    made: LatentInpainting, image: Tensor, mask: Tensor, t: Tensor, noises: list[Tensor], velocity: bool
) -> Tensor:
    """Equations of Rombach et al. 2022 and Salimans & Ho 2022, one image at a time, in the type of ``image``.

    ``noises``: of the image's latent, of the process, of the erased image's latent.
    """
    roots = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64)
    abar = torch.stack([torch.prod(1 - roots[: i + 1] ** 2) for i in t.tolist()])
    losses = []
    for i in range(len(image)):
        moments = made.vae.quant_conv(made.vae.encoder(torch.stack([image[i], image[i] * (1 - mask[i])])))
        mean, logvar = moments[:, :4], moments[:, 4:]
        draws = torch.stack([noises[0][i], noises[2][i]])
        z, masked = 0.7 * (mean + torch.exp(logvar / 2) * draws)
        factor = image.shape[-1] // z.shape[-1]
        signal, level, noise = abar[i].sqrt(), (1 - abar[i]).sqrt(), noises[1][i]
        inputs = torch.cat([signal * z + level * noise, mask[i][:, ::factor, ::factor], masked])[None]
        predicted = made.denoiser(inputs, t[i], torch.zeros(1, 1, 8, dtype=image.dtype)).sample[0]
        target = signal * noise - level * z if velocity else noise
        losses.append(F.mse_loss(predicted, target))
    return torch.stack(losses)


def text_folder(folder: Path) -> Path:
    """A random CLIP text encoder of width 8 and a tokenizer of some letters, as diffusers' folders have them."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(1)
    letters = ["a", "b", "c", "a</w>", "b</w>", "c</w>", "<|startoftext|>", "<|endoftext|>"]
    (folder / "words").mkdir(parents=True)
    (folder / "words" / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    (folder / "words" / "merges.txt").write_text("#version: 0.2\n")
    files = str(folder / "words" / "vocab.json"), str(folder / "words" / "merges.txt")
    CLIPTokenizer(*files, model_max_length=77).save_pretrained(folder / "tokenizer")
    config = CLIPTextConfig(
        vocab_size=8, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        bos_token_id=6, eos_token_id=7, pad_token_id=7,
    )  # fmt: skip
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    return folder
