"""diffusers' networks: built when a method is made, read from checked folders, widened, adapted and merged."""

import copy
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint.backbones import BackboneMissingError
from lit_inpaint.checkpoints import fits
from lit_inpaint.layers.sides import check_sides

NEEDS = "pip install 'lit-inpaint[diffusers]'."
# Stable Diffusion 1.5; arguments that are not here are diffusers' defaults, which are that model's as well.
UNET: dict[str, Any] = {"sample_size": 64, "cross_attention_dim": 768}
VAE: dict[str, Any] = {"sample_size": 512, "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2}
ADAPTED = ["to_q", "to_k", "to_v", "to_out.0"]  # as in diffusers' train_text_to_image_lora.py


def autoencoder(arguments: Mapping[str, Any] | None) -> Any:
    """AutoencoderKL with ``arguments`` over those of Stable Diffusion.

    Raises:
        BackboneMissingError: diffusers is not installed.
        ValueError: It takes no such arguments.
    """
    with _told("AutoencoderKL"):
        from diffusers import AutoencoderKL

        given = VAE | dict(arguments or {})
        levels = len(given["block_out_channels"])
        kinds = {"down_block_types": ("DownEncoderBlock2D",) * levels, "up_block_types": ("UpDecoderBlock2D",) * levels}
        return _made(AutoencoderKL, kinds | given)


def latents(vae: Any, image: Tensor) -> Any:
    """The autoencoder's distribution over latents (B, C, h, w) of images (B, 3, H, W).

    Raises:
        ValueError: Sides that it does not halve evenly; diffusers drops what is left over.
    """
    halvings = len(vae.config.block_out_channels) - 1
    check_sides(image, f"an autoencoder of {halvings} halvings", multiple=2**halvings)
    return vae.encode(image).latent_dist


def unet(arguments: Mapping[str, Any] | None, in_channels: int, out_channels: int) -> Any:
    """UNet2DConditionModel with ``arguments`` over those of Stable Diffusion 1.5.

    Raises:
        BackboneMissingError: diffusers is not installed.
        ValueError: It takes no such arguments.
    """
    with _told("UNet2DConditionModel"):
        from diffusers import UNet2DConditionModel

        given = UNET | dict(arguments or {})
        return _made(UNet2DConditionModel, given | {"in_channels": in_channels, "out_channels": out_channels})


def _made(cls: Any, arguments: Mapping[str, Any]) -> Any:
    """diffusers warns of an unknown argument and builds something else: it is an error here."""
    allowed = inspect.signature(cls.__init__).parameters
    if unknown := [name for name in arguments if name not in allowed]:
        raise ValueError(f"{cls.__name__} of diffusers has no argument '{unknown[0]}'.")
    # JSON and YAML have lists where diffusers compares with tuples
    return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()})


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise BackboneMissingError(f"{what} needs diffusers: {NEEDS}") from None


def widened(state: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
    """A UNet's state dict with zeros for input channels that it has not: it computes what it did, whatever they hold.

    >>> widened({"conv_in.weight": torch.ones(2, 4, 3, 3)}, 9)["conv_in.weight"].sum((0, 2, 3)).tolist()
    [18.0, 18.0, 18.0, 18.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    weight = state["conv_in.weight"]
    return dict(state) | {"conv_in.weight": F.pad(weight, (0, 0, 0, 0, 0, max(0, channels - weight.shape[1])))}


def adapt(denoiser: nn.Module, rank: int) -> None:
    """LoRA (Hu et al. 2022) beside every projection of attention; the rest is frozen but the input convolution, which
    must learn to read the mask.

    Raises:
        BackboneMissingError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise BackboneMissingError(f"lora_rank needs peft: {NEEDS}") from None
    config = LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=ADAPTED)
    inject_adapter_in_model(config, denoiser)
    denoiser.conv_in.requires_grad_(True)


def plain_names(denoiser: nn.Module) -> dict[str, str]:
    """{name without LoRA: name in this network} of the tensors that both have."""
    return {name.replace(".base_layer.", "."): name for name in denoiser.state_dict() if ".lora_" not in name}


def begin_from(denoiser: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a denoiser without LoRA, of as many input channels or fewer.

    Raises:
        ValueError: It is another network.
    """
    state = extended(state, denoiser)
    if problems := fits(state, denoiser.state_dict()):
        raise ValueError(f"the denoiser in {path} is another one ({problems[0]}): give unet as it was trained.")
    denoiser.load_state_dict(state)


def extended(state: Mapping[str, Tensor], denoiser: nn.Module) -> dict[str, Tensor]:
    """A UNet's state dict under the names of ``denoiser``, with its LoRA and zeros for channels that it has not."""
    own, whole = plain_names(denoiser), denoiser.state_dict()
    fresh = {name: value for name, value in whole.items() if ".lora_" in name}
    widest = widened(state, denoiser.get_submodule("conv_in").in_channels)  # type: ignore[arg-type]
    return fresh | {own.get(name, name): value for name, value in widest.items()}


def merged(denoiser: nn.Module) -> dict[str, Tensor]:
    """State dict of the network without LoRA that computes the same: W + B A alpha / r in place of W."""
    if not any(".lora_" in name for name in denoiser.state_dict()):
        return denoiser.state_dict()
    from peft.tuners.tuners_utils import BaseTunerLayer

    own = copy.deepcopy(denoiser)
    for layer in own.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
    state = own.state_dict()
    return {plain: state[name] for plain, name in plain_names(own).items()}


def latent_hole(mask: Tensor, size: torch.Size | tuple[int, ...]) -> Tensor:
    """1 where a latent saw any pixel of the hole right above it, (B, 1, h, w): what replacement must not keep."""
    return F.adaptive_max_pool2d(mask, size)
