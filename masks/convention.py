"""The one convention of this project.

image: float (B, 3, H, W), RGB, [-1, 1]; of grey data (B, 1, H, W).  mask: float (B, 1, H, W), exactly 0 or 1,
**1 = hole**.

Everything that erases or pastes pixels calls :func:`erase` and :func:`composite`; a foreign polarity, range or colour
order is converted at the edge, by a stated argument, and never guessed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Values = TypeVar("Values", Tensor, NDArray[Any])


class InpaintingBatch(NamedTuple):
    """What every data module yields. ``image`` (B, 3, H, W), ``mask`` (B, 1, H, W), ``name`` one string per image."""

    image: Tensor
    mask: Tensor
    name: list[str] | tuple[str, ...] | str


def erase(image: Tensor, mask: Tensor, fill: float | Tensor = 0.0) -> Tensor:
    """Replace the hole by ``fill``: a grey value in [-1, 1] or a tensor that broadcasts to ``image``.

    >>> erase(torch.ones(1, 3, 1, 2), torch.tensor([[[[0.0, 1.0]]]]), fill=-1)[0, 0]
    tensor([[ 1., -1.]])
    """
    # A number goes to a GPU with the kernel; as a tensor it would be copied there, and the host would wait.
    return torch.where(mask == 1, fill if isinstance(fill, int | float) else fill.to(image), image)


def per_channel(values: Sequence[float], like: Tensor) -> Tensor:
    """One number a channel, (C, 1, 1), in the type and on the device of ``like``.

    Filled in there: a copy of a list to a GPU would make the host wait for all that it has been given to do.

    >>> per_channel((0.5, 0.25), torch.zeros(1)).flatten()
    tensor([0.5000, 0.2500])
    """
    return torch.stack([like.new_full((1, 1), value) for value in values])


def in_three(image: Tensor) -> Tensor:
    """(B, C, H, W) as a network of colour pictures sees it: grey repeated to three channels.

    >>> in_three(torch.zeros(2, 1, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """
    return image.expand(-1, 3, -1, -1) if image.shape[1] == 1 else image


def to_grey(image: Tensor) -> Tensor:
    """RGB (B, 3, H, W) to its luma (B, 1, H, W), ITU-R BT.601, as Pillow and OpenCV weigh it; three equal channels to
    one of them.

    >>> to_grey(torch.tensor([[[[1.0]], [[-1.0]], [[1.0]]]])).round(decimals=3)
    tensor([[[[-0.1740]]]])
    """
    red, green, blue = image.split(1, 1)
    luma: Tensor = green + 0.299 * (red - green) + 0.114 * (blue - green)
    return luma


def composite(prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """``prediction`` in the hole, ``image`` elsewhere: known pixels come back bit for bit.

    >>> composite(torch.zeros(1, 3, 1, 2), torch.ones(1, 3, 1, 2), torch.tensor([[[[0.0, 1.0]]]]))[0, 0]
    tensor([[1., 0.]])
    """
    return torch.where(mask == 1, prediction.to(image.dtype), image)


def to_levels(image: Values, rounded: bool = True) -> Values:
    """[-1, 1] to the levels 0 to 255 of an 8-bit image, still floats: clipped, and rounded to the nearest.

    An image that came from 8 bits is recovered exactly. NaN stays NaN. Tensors of 16 bits are widened to float32.

    Args:
        image: A tensor or an array of any shape.
        rounded: False keeps fractional levels, for networks trained on 0 to 255.

    >>> to_levels(torch.tensor([-1.0, 0.0, 0.003, 1.2]))
    tensor([  0., 128., 128., 255.])
    """
    if isinstance(image, Tensor) and image.element_size() < 4:
        image = image.float()
    levels = (image.clip(-1, 1) + 1) * 127.5
    return levels.round() if rounded else levels


def from_levels(levels: Values) -> Values:
    """0 to 255 to [-1, 1]; integers become floats.

    >>> from_levels(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([-1.0000, -0.6000,  1.0000])
    """
    return levels / 127.5 - 1


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """One image (C, H, W) in [-1, 1] as a picture, (H, W, C) uint8."""
    return to_levels(image.detach()).byte().permute(1, 2, 0).contiguous().cpu().numpy()


def check(image: Tensor, mask: Tensor) -> None:
    """Refuse what does not follow the convention.

    Images in [0, 1] cannot be distinguished from bright ones in [-1, 1] and are accepted: multiply by 2 and subtract 1.

    Raises:
        ValueError: Stating what was given, what is allowed and what to do.
    """
    check_image(image)
    check_mask(mask, image)


def check_image(image: Tensor, name: str = "image") -> None:
    """:func:`check` for an image alone; ``name`` is the word for it in the error."""
    if not isinstance(image, Tensor) or not image.is_floating_point():
        given = str(image.dtype).removeprefix("torch.") if isinstance(image, Tensor) else type(image).__name__
        raise ValueError(
            f"{name} is {given}; expected a tensor of floats in [-1, 1]. For 8-bit values: x.float() / 127.5 - 1."
        )
    if image.ndim != 4 or image.shape[1] not in (1, 3) or not image.numel():
        raise ValueError(
            f"{name} has shape {tuple(image.shape)}; expected (B, 3, H, W) or, of grey, (B, 1, H, W). "
            "Add a batch axis or convert to RGB."
        )
    low, high = torch.stack(image.aminmax()).tolist()  # one wait for a GPU, not two
    if low != low:
        raise ValueError(f"{name} has NaN pixels; expected values in [-1, 1].")
    if not (low >= -1 and high <= 1):
        raise ValueError(
            f"{name} has values in [{low:g}, {high:g}]; expected [-1, 1]. For values in [0, 255]: x / 127.5 - 1; clamp "
            "what a network overshoots."
        )


def check_mask(mask: Tensor, image: Tensor) -> None:
    """:func:`check` for the mask of an image that was checked."""
    expected = (image.shape[0], 1, *image.shape[2:])
    if not isinstance(mask, Tensor) or mask.shape != expected:
        given = f"has shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else f"is {type(mask).__name__}"
        raise ValueError(f"mask {given}; expected a tensor {expected}, one channel at the size of the image.")
    if not bool(((mask == 0) | (mask == 1)).all()):
        low, high = mask.amin().item(), mask.amax().item()
        raise ValueError(
            f"mask has values in [{low:g}, {high:g}]; expected 0 (known) and 1 (hole). "
            "Divide an 8-bit mask by 255 and threshold it."
        )


def hole_box(mask: Tensor) -> tuple[int, int, int, int]:
    """Bounding box (top, left, bottom, right), ends excluded, of the hole of one mask (..., H, W); 0 if there is none.

    >>> mask = torch.zeros(1, 4, 6); mask[:, 1:3, 2:5] = 1
    >>> hole_box(mask)
    (1, 2, 3, 5)
    """
    hole = mask.reshape(-1, *mask.shape[-2:]).amax(0) > 0
    ends = []
    for line in (hole.any(1).int(), hole.any(0).int()):
        ends += [line.argmax(), len(line) - line.flip(0).argmax()]
    top, bottom, left, right, any_hole = torch.stack([*ends, hole.any().long()]).tolist()  # a GPU is waited for once
    return (top, left, bottom, right) if any_hole else (0, 0, 0, 0)
