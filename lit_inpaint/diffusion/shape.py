"""The shape of a UNet, read off its tensors: what a foreign checkpoint says of the network without being asked."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


class Shape(NamedTuple):
    """What tensors show and tells the released models apart."""

    model_channels: int
    channel_mult: tuple[float, ...]
    num_res_blocks: int
    attention_factors: tuple[int, ...]
    resblock_updown: bool
    variant: str = "guided-diffusion"


def shape_of(tensors: Mapping[str, Tensor], variant: str = "guided-diffusion", embedding: str = "time_embed") -> Shape:
    """Shape of the network whose state dict is ``tensors``.

    Args:
        embedding: Name of the layers that embed the timestep or the noise level.
    """
    channels = tensors[f"{embedding}.0.weight"].shape[1]
    blocks = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("input_blocks."))
    # An up-sampling layer is a second residual block, or a convolution, at the end of an output block.
    ups = {n.split(".")[1] for n in tensors if n.startswith("output_blocks.") and n.split(".")[2] != "0"}
    ups = {b for b in ups if any(f"output_blocks.{b}.{i}.{k}" in tensors for i in (1, 2) for k in _UP_KEYS)}
    levels = len(ups) + 1
    per_level = blocks // levels  # residual blocks and the down-sampling layer, the stem making up for the last level's
    first = [f"input_blocks.{1 + level * per_level}" for level in range(levels)]
    mult = tuple(tensors[f"{name}.0.out_layers.3.weight"].shape[0] / channels for name in first)
    return Shape(
        channels,
        tuple(int(m) if m == int(m) else m for m in mult),
        per_level - 1,
        tuple(2**level for level, name in enumerate(first) if f"{name}.1.qkv.weight" in tensors),
        not any(name.endswith(".op.weight") for name in tensors),
        variant,
    )


def scales_and_shifts(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the embedding scales and shifts the second normalisation of a residual block, or is added before it."""
    block = "input_blocks.1.0"
    return tensors[f"{block}.emb_layers.1.weight"].shape[0] == 2 * tensors[f"{block}.out_layers.3.weight"].shape[0]


_UP_KEYS = ("conv.weight", "in_layers.2.weight")
