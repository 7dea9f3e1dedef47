"""Folders of diffusers' Stable Diffusion pipelines, in and out."""

import copy
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lit_inpaint.checkpoints import Converted
from lit_inpaint.foreign.pipeline_folder import INDEX
from lit_inpaint.methods.latent_inpainting import networks, text
from lit_inpaint.methods.latent_inpainting.method import LatentInpainting

FORMAT = "diffusers"
_NETWORKS = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
_PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "velocity"}
_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # files of 2022: the latter


def detect(state: Mapping[str, object]) -> str | None:
    """The format of a folder with a UNet, an autoencoder and a scheduler, or None."""
    return FORMAT if {"index", "unet", "vae", "scheduler"} <= set(state) else None


def convert(state: Mapping[str, Any], format: str) -> Converted:
    """Class arguments, state_dict and contract, so that LatentInpainting computes what the pipeline computes.

    Raises:
        ValueError: Another format, other networks, or a process that is not latent diffusion's.
    """
    if format != FORMAT:
        raise ValueError(f"format is {format!r}; LatentInpainting reads '{FORMAT}'.")
    for part, name in _NETWORKS.items():
        if (found := state["index"][part][1]) != name:
            raise ValueError(f"its {part} is a {found}; expected a {name}.")
    unet, vae = dict(state["unet"]["config"]), dict(state["vae"]["config"])
    channels, latents = unet.get("in_channels"), vae.get("latent_channels", 4)
    if channels not in (latents, 2 * latents + 1) or unet.get("out_channels", latents) != latents:
        raise ValueError(
            f"its denoiser takes {channels} channels and returns {unet.get('out_channels')}; expected {latents} or "
            f"{2 * latents + 1} (noisy latent, mask, latent of the erased image), and {latents}."
        )
    if shifted := [name for name in ("shift_factor", "latents_mean", "latents_std") if vae.get(name) is not None]:
        raise ValueError(f"its autoencoder has {shifted[0]} {vae[shifted[0]]}; expected latents that are only scaled.")
    folder = Path(state["folder"]) if (state["index"].get("text_encoder") or [None])[0] else None
    context = text.contexts(folder, ["", ""]) if folder else torch.zeros(2, 1, unet.get("cross_attention_dim", 1280))
    if not context.any():  # what we write where there is no text
        folder, context = None, context[:, :1]
    arguments = _process(state["scheduler"]["config"]) | {
        "conditional": channels != latents,
        "unet": {"cross_attention_dim": 1280} | _public(unet, "in_channels", "out_channels"),  # diffusers' defaults,
        "vae": {"block_out_channels": (64,), "layers_per_block": 1} | _public(vae, "scaling_factor"),  # not our own
        "text_folder": str(folder) if folder else None,
    }
    tensors = {f"denoiser.{name}": value.float() for name, value in state["unet"]["tensors"].items()}
    tensors |= {f"vae.{_renamed(name)}": value.float() for name, value in state["vae"]["tensors"].items()}
    scale = torch.tensor(float(vae.get("scaling_factor", 0.18215)))
    return {
        "method": "LatentInpainting",
        "hyper_parameters": arguments,
        "state_dict": tensors | {"scale": scale, "context": context},
        "contract": {
            "source": format,
            "input": "[-1, 1], RGB, 0 in the hole; latents, mask by nearest neighbour, latents of the erased image",
            "output": "epsilon or velocity",
        },
    }


def _public(config: Mapping[str, Any], *other: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if not name.startswith("_") and name not in other}


def _process(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the process from a scheduler of any kind."""
    schedule, predicted = config.get("beta_schedule"), config.get("prediction_type", "epsilon")
    plain = not config.get("trained_betas") and not config.get("rescale_betas_zero_snr")
    if schedule != "scaled_linear" or predicted not in _PREDICTIONS or not plain:
        raise ValueError(
            f"its scheduler has beta_schedule {schedule}, prediction_type {predicted}, trained_betas "
            f"{config.get('trained_betas')}, rescale_betas_zero_snr {config.get('rescale_betas_zero_snr', False)}; "
            "expected scaled_linear, epsilon or v_prediction, None, False."
        )
    return {
        "prediction": _PREDICTIONS[predicted],
        "diffusion_steps": config.get("num_train_timesteps", 1000),
        "betas_range": (config.get("beta_start", 1e-4), config.get("beta_end", 0.02)),
    }


def _renamed(name: str) -> str:
    """Attention of autoencoders has other names in files of 2022."""
    module, _, leaf = name.rpartition(".")
    before, _, last = module.rpartition(".")
    return f"{before}.{_ATTENTION[last]}.{leaf}" if ".attentions." in name and last in _ATTENTION else name


def write_folder(method: LatentInpainting, folder: Path) -> str:
    """A pipeline's folder, LoRA merged, with diffusers' own files: StableDiffusionInpaintPipeline, or
    StableDiffusionPipeline of a denoiser with four channels. Text encoder and tokenizer are copied from
    ``text_folder``; without one, every prompt is a context of zeros.
    """
    from diffusers import DDIMScheduler, __version__

    channels = method.denoiser.config
    denoiser = networks.unet(method.hparams["unet"], channels.in_channels, channels.out_channels)
    denoiser.load_state_dict(networks.merged(method.denoiser))
    denoiser.save_pretrained(folder / "unet", safe_serialization=True)
    vae = copy.deepcopy(method.vae)
    vae.register_to_config(scaling_factor=method.scale.item())
    vae.save_pretrained(folder / "vae", safe_serialization=True)
    first, last = method.hparams["betas_range"]
    DDIMScheduler(
        num_train_timesteps=len(method.diffusion), beta_start=first, beta_end=last, beta_schedule="scaled_linear",
        clip_sample=False, set_alpha_to_one=True, steps_offset=1, timestep_spacing="leading",
        prediction_type=next(theirs for theirs, ours in _PREDICTIONS.items() if ours == method.prediction),
    ).save_pretrained(folder / "scheduler")  # fmt: skip
    if method.text_folder:
        for part in ("text_encoder", "tokenizer"):
            shutil.copytree(Path(method.text_folder) / part, folder / part)
    else:
        text.write_zeros(folder, channels.cross_attention_dim)
    index = {
        "_class_name": "StableDiffusionInpaintPipeline" if method.conditional else "StableDiffusionPipeline",
        "_diffusers_version": __version__,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
    }
    (folder / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")
    return f"{type(method).__name__} as a folder that {index['_class_name']}.from_pretrained opens"
