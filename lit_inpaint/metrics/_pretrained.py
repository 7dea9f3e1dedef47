"""Networks of transformers that metrics stand on, and images as these networks were trained to take them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_inpaint.backbones import BackboneMissingError, backbone
from lit_inpaint.quiet import without_bars
from masks.convention import in_three, per_channel, to_levels


def network(name: str, cls: str, device: torch.device) -> Any:
    """The backbone of that name as a class of transformers, in single precision.

    Raises:
        BackboneMissingError: The weights or the library are not on this machine.
        ValueError: The folder holds another network, or not all of its weights.
    """
    model, found = _read(name, cls, output_loading_info=True, use_safetensors=True)
    if absent := sorted(map(str, [*found["missing_keys"], *found["mismatched_keys"]])):
        raise ValueError(f"{backbone(name)} lacks {len(absent)} weights of {cls}, such as {absent[0]}: get it again.")
    return model.float().to(device).eval()


def tokenizer(name: str, cls: str) -> Any:
    """What turns text into tokens for the backbone of that name; raises as :func:`network` does."""
    return _read(name, cls)


def _read(name: str, cls: str, **how: Any) -> Any:
    folder = backbone(name)
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise BackboneMissingError("transformers is not installed: pip install 'lit-inpaint[metrics]'") from error
    try:
        with without_bars("transformers"):
            return getattr(transformers, cls).from_pretrained(folder, local_files_only=True, **how)
    except Exception as error:  # whatever does not suit: configurations, tensors, vocabularies
        said = " ".join(str(error).split())[:200]
        raise ValueError(f"{folder} cannot be read as {cls} of transformers ({said}): get it again.") from error


def resized(image: Tensor, shape: tuple[int, int], mean: Sequence[float], deviation: Sequence[float]) -> Tensor:
    """(B, 3, H, W) in [-1, 1], rounded to 8 bits, to ``shape``: bicubic, antialiased, 8 bits, normalised."""
    larger = F.interpolate(to_levels(in_three(image).float()), shape, mode="bicubic", antialias=True)
    levels = larger.clamp(0, 255).round() / 255  # torchvision's own way depends on the processor
    return (levels - per_channel(mean, levels)) / per_channel(deviation, levels)
