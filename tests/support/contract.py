"""One row per method: the arguments that make it small, images for it, a quiet trainer.

A new method adds one row to ROWS: its class and constructor arguments that make it small.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader

from lit_inpaint import methods
from lit_inpaint.checkpoint_io import AtomicCheckpointIO
from lit_inpaint.classes import stage_classes
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch
from tests.support import tiny_pipelines

_VAE: dict[str, Any] = {"block_out_channels": [8, 16], "layers_per_block": 1, "norm_num_groups": 4, "sample_size": 64}
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("AOTGAN", {"width": 8, "blocks": 2, "discriminator_width": 4, "style_weight": 0, "perceptual_weight": 0}),
    ("Bertalmio", {"rounds": 3}),
    ("Biharmonic", {}),
    ("ContextEncoder", {"size": 64, "overlap": 2, "width": 8, "bottleneck": 16}),
    (
        "DDPM",
        {
            "image_size": 64,
            "model_channels": 32,
            "num_res_blocks": 1,
            "channel_mult": [1, 1],
            "num_head_channels": 32,
            "attention_resolutions": [32],
            "diffusion_steps": 2,
            "noise_schedule": "cosine",
        },
    ),
    (
        "DSI",
        {
            "vq_width": 8,
            "vq_hidden": 4,
            "channels": 4,
            "codes": 8,
            "condition_width": 2,
            "structure_width": 8,
            "groups": 1,
            "blocks": 1,
            "out_blocks": 1,
            "heads": 2,
            "texture_width": 4,
        },
    ),
    ("DeepFillV1", {"width": 4, "discriminator_width": 4, "size": 64, "local_size": 32, "discriminator_updates": 1}),
    ("DeepFillV2", {"width": 8, "discriminator_width": 4}),
    ("DiffusersInpaint", {"source": str(tiny_pipelines.SHARED), "steps": 1, "guidance_scale": 1.0}),
    ("GLCIC", {"width": 8, "features": 16, "size": 64, "local_size": 32}),
    ("Harmonic", {}),
    (
        "ICT",
        {
            "size": 64,
            "grid": 8,
            "layers": 2,
            "width": 16,
            "heads": 2,
            "colours": 16,
            "upsampler_width": 4,
            "upsampler_blocks": 1,
        },
    ),
    ("LaMa", {"width": 4, "blocks": 1, "discriminator_width": 4, "perceptual_weight": 0}),
    (
        "LatentInpainting",
        {
            "unet": {
                "sample_size": 16,
                "block_out_channels": [16, 32],
                "layers_per_block": 1,
                "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
                "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
                "norm_num_groups": 4,
                "cross_attention_dim": 8,
                "attention_head_dim": 2,
            },
            "vae": _VAE,
            "diffusion_steps": 2,
        },
    ),
    ("MIGAN", {"size": 64}),
    ("NavierStokes", {}),
    (
        "Palette",
        {
            "image_size": 64,
            "model_channels": 32,
            "num_res_blocks": 1,
            "channel_mult": [1, 1],
            "attention_resolutions": [32],
            "diffusion_steps": 4,
            "inference_steps": 2,
        },
    ),
    ("PartialConv", {"levels": 4, "width": 8, "perceptual_weight": 0, "style_weight": 0}),
    ("PatchMatch", {}),
    ("Telea", {}),
]
# Stages of methods that are put together: tests/experiments/test_configs.py makes their published YAMLs small by these.
_DSI: dict[str, Any] = {"vq_width": 8, "vq_hidden": 4, "channels": 4, "codes": 8}
_ICT: dict[str, Any] = {"grid": 8, "colours": 27, "palette": "uniform"}
_ICT_UPSAMPLER = {
    "size": 64, "width": 4, "blocks": 1, "discriminator_width": 4, "perceptual_weight": 0, "style_weight": 0,
}  # fmt: skip
STAGES: list[tuple[str, dict[str, Any]]] = [
    ("DSIVQVAE", _DSI),
    (
        "DSIStructure",
        _DSI | {"condition_width": 2, "structure_width": 8, "groups": 1, "blocks": 1, "out_blocks": 1, "heads": 2},
    ),
    ("DSITexture", _DSI | {"texture_width": 4, "discriminator_width": 4}),
    ("LatentAutoencoder", {"vae": _VAE}),
    ("ICTTransformer", _ICT | {"layers": 2, "width": 16, "heads": 2}),
    ("ICTUpsampler", _ICT | _ICT_UPSAMPLER),
]
if find_spec("diffusers") is None:  # an extra
    ROWS = [row for row in ROWS if row[0] != "LatentInpainting"]
    STAGES = [stage for stage in STAGES if stage[0] != "LatentAutoencoder"]
SIZE = 64


def batches(count: int, size: int = 2) -> DataLoader:
    """Smooth images with a hole off the centre, so that every method has something to do."""
    grid = torch.linspace(-1, 1, SIZE)
    items = []
    for i in range(count * size):
        waves = torch.sin(9 * grid + i)
        image = torch.stack([waves.expand(SIZE, SIZE), waves.expand(SIZE, SIZE).T, waves * waves[:, None]])
        mask = torch.zeros(1, SIZE, SIZE)
        mask[:, 20:40, 24 + i % 4 : 44] = 1
        items.append(InpaintingBatch(image, mask, f"image-{i}"))
    return DataLoader(items, batch_size=size)


def trainer(folder: Path, **arguments: Any) -> L.Trainer:
    defaults: dict[str, Any] = {
        "default_root_dir": folder, "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
        "plugins": [AtomicCheckpointIO()], "inference_mode": False, "accelerator": "cpu", "devices": 1,
        "enable_checkpointing": False, "num_sanity_val_steps": 0,
    }  # fmt: skip
    return L.Trainer(**(defaults | arguments))


def make(name: str, arguments: dict[str, Any]) -> InpaintingModule:
    """A method, or a stage of one, with the weights of seed 0."""
    if arguments.get("source") == str(tiny_pipelines.SHARED):
        tiny_pipelines.shared()
    torch.manual_seed(0)
    return (getattr(methods, name, None) or stage_classes()[name])(**arguments)
