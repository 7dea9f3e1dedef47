"""PIL images, arrays and tensors as the convention has them, and back: nothing about a range or a side is guessed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from masks.convention import composite

Any8 = NDArray[np.uint8]
Array = NDArray[Any]
Picture = TypeVar("Picture", bound=Image.Image | Array | Tensor)
Range = tuple[float, float]
_ORIENTATION = 0x0112  # EXIF tag


def read(image: Image.Image | Array | Tensor) -> Tensor:
    """(B, 3, H, W) of the type and range that were given; a picture of 8 bits lies in memory as (H, W, 3).

    Raises:
        ValueError: It is no picture in RGB, or not upright.
    """
    if isinstance(image, Image.Image):
        return torch.from_numpy(_rgb(image)).permute(2, 0, 1)[None]
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(f"image is an array {image.shape}; expected (H, W, 3), RGB. {_advice(image.shape)}")
        _check_type(image.dtype, image.dtype == np.uint8 or np.issubdtype(image.dtype, np.floating))
        return torch.from_numpy(np.array(image, order="C")).permute(2, 0, 1)[None]
    if not isinstance(image, Tensor):
        raise ValueError(f"image is a {type(image).__name__}; expected a PIL image, a NumPy array or a tensor.")
    if image.ndim not in (3, 4) or image.shape[-3] != 3 or not image.numel():
        given = tuple(image.shape)
        raise ValueError(f"image is a tensor {given}; expected (3, H, W) or (B, 3, H, W), RGB. {_advice(given)}")
    _check_type(image.dtype, image.dtype == torch.uint8 or image.is_floating_point())
    batch = image.detach().reshape(-1, *image.shape[-3:])
    return batch.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) if batch.dtype == torch.uint8 else batch


def signed(pixels: Tensor, value_range: Range | None) -> Tensor:
    """What a method takes: 8 bits as they are, floats in [-1, 1].

    Raises:
        ValueError: The values lie outside, or the range cannot be told from them.
    """
    if pixels.dtype == torch.uint8:
        if value_range is not None:
            raise ValueError(f"value_range is {value_range}, image is uint8, which is 0 to 255: leave it out.")
        return pixels
    low, high = torch.stack(pixels.aminmax()).tolist()
    if low != low or high != high:
        raise ValueError("image has NaN pixels; give a picture without.")
    if value_range is None:
        if low >= 0 and high <= 1:
            raise ValueError(
                f"image has floats in [{low:g}, {high:g}], a picture in [0, 1] or a bright one in [-1, 1]. Say which: "
                "value_range=(0, 1) or value_range=(-1, 1)."
            )
        if not -1 <= low <= high <= 1:
            raise ValueError(
                f"image has floats in [{low:g}, {high:g}]; expected [-1, 1], or another range that you name: "
                "value_range=(0, 1), value_range=(0, 255)."
            )
        value_range = (-1, 1)
    start, end = value_range
    if not start < end:
        raise ValueError(f"value_range is {value_range}; expected (darkest, brightest), as in (0, 1).")
    if not start <= low <= high <= end:
        raise ValueError(f"image has floats in [{low:g}, {high:g}], outside value_range={value_range}; clip it.")
    return pixels.float() if (start, end) == (-1, 1) else ((pixels.double() - start) * (2 / (end - start)) - 1).float()


def one_channel(pixels: Tensor, method: str, what: str = "image") -> Tensor:
    """Grey pictures (B, 3, H, W) as (B, 1, H, W), for a method of grey ones.

    Raises:
        ValueError: They are in colour.
    """
    if not bool((pixels == pixels[:, :1]).all()):
        raise ValueError(
            f"{what} is in colour; this {method} completes grey pictures (channels 1). Convert it to grey, or take a "
            "method of colour pictures."
        )
    return pixels[:, :1]


def grey(pixels: Any8, method: str, what: str) -> Any8:
    """:func:`one_channel` for a picture (H, W, 3)."""
    channel = one_channel(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None], method, what)
    return channel[0].permute(1, 2, 0).contiguous().numpy()


def like(
    image: Picture, pixels: Tensor, completed: Tensor, holes: Any8, value_range: Range | None, channels: int = 3
) -> Picture:
    """``completed``, as a method gives it, in the type, range and shape of ``image``; known pixels are its own.

    Args:
        pixels: What :func:`read` made of ``image``.
        channels: The method's; a PIL picture stays grey where it is 1.
    """
    start, end = value_range or (-1, 1)
    if completed.dtype != torch.uint8 and (start, end) != (-1, 1):
        completed = (completed.double() + 1) * ((end - start) / 2) + start
    hole = torch.from_numpy(holes)[:, None].to(pixels.device)
    whole = composite(completed.to(pixels.device), pixels, hole)
    if isinstance(image, Tensor):
        return cast(Picture, whole.contiguous().reshape(image.shape))
    array = whole[0].permute(1, 2, 0).contiguous().numpy()
    if not isinstance(image, Image.Image):
        return cast(Picture, array)
    grey = channels == 1 and image.mode in ("1", "L")
    return cast(Picture, Image.fromarray(array[..., 0] if grey else array))


def read_hole(mask: Image.Image | Array | Tensor, pixels: Tensor, what: str = "mask") -> Any8:
    """(B, H, W) uint8, 1 where the mask is white, True or 1.

    Args:
        pixels: What :func:`read` made of the image.

    Raises:
        ValueError: Another size, grey values, colours or an alpha channel.
    """
    values, count = _values(mask, what), len(pixels)
    height, width = pixels.shape[-2:]
    if values.ndim == 4 and values.shape[1] == 1:
        values = values[:, 0]
    values = values[None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[1:] != (height, width) or len(values) not in (1, count):
        many = f", or {count} of them, one per image" if count > 1 else ""
        raise ValueError(
            f"{what} has the shape {values.shape[-2:] if len(values) == 1 else values.shape}, image {(height, width)}; "
            f"expected one {what} (H, W) of the same size{many}. Resize it with nearest neighbour."
        )
    white = 1 if values.size and values.max() <= 1 else 255
    soft = (values != 0) & (values != white)
    if soft.any():
        found = np.asarray(values)[soft]
        raise ValueError(
            f"{soft.mean():.2%} of {what} is neither black nor white (values from {found.min():g} to {found.max():g}); "
            f"expected False, 0 or True, 1, 255, white = hole. Threshold it, as in {what} > 127."
        )
    return np.array(np.broadcast_to((values == white).astype(np.uint8), (count, height, width)))


def names_of(image: object, count: int, name: str | Sequence[str] | None) -> list[str]:
    """The names by which random draws are keyed: those given, a file's name without suffix, or "0", "1", ..."""
    if name is None:
        file = getattr(image, "filename", None) if isinstance(image, Image.Image) else None
        return [Path(file).stem] if isinstance(file, str) and file else [str(index) for index in range(count)]
    names = [name] if isinstance(name, str) else [*name]
    if len(names) != count:
        raise ValueError(f"name gives {len(names)} names for {count} images; expected one per image.")
    return names


def _rgb(image: Image.Image) -> Any8:
    if image.getexif().get(_ORIENTATION, 1) != 1:
        raise ValueError("image is turned by its EXIF; make it upright first: PIL.ImageOps.exif_transpose(image).")
    if image.has_transparency_data or image.mode not in ("RGB", "L", "1", "P"):
        raise ValueError(
            f"image has PIL's mode {image.mode}{' with transparency' * image.has_transparency_data}; expected RGB or "
            "grey of 8 bits. Decide what becomes of the rest, for example image.convert('RGB')."
        )
    return np.array(image.convert("RGB"))


def _values(mask: Image.Image | Array | Tensor, what: str) -> Array:
    """The values of a mask, (H, W) or with a batch in front."""
    if isinstance(mask, Tensor):
        return mask.detach().cpu().numpy() if mask.dtype != torch.bfloat16 else mask.detach().float().cpu().numpy()
    if isinstance(mask, np.ndarray):
        return mask[..., 0] if mask.ndim == 3 and mask.shape[2] == 1 else mask
    if not isinstance(mask, Image.Image):
        raise ValueError(f"{what} is a {type(mask).__name__}; expected a PIL image, a NumPy array or a tensor.")
    if mask.has_transparency_data:
        raise ValueError(
            f"{what} has an alpha channel; give the side that is white: {what}.convert('L'), or "
            f"{what}.getchannel('A') if what is opaque is the hole."
        )
    if mask.mode in ("1", "L") or mask.mode.startswith(("I", "F")):
        return np.asarray(mask.convert("L") if mask.mode == "1" else mask)
    colours = np.asarray(mask.convert("RGB"))
    if (colours != colours[..., :1]).any():
        raise ValueError(f"{what} is a colour picture. Are image and {what} swapped?")
    return colours[..., 0]


def _check_type(given: object, allowed: bool) -> None:
    if not allowed:
        name = str(given).removeprefix("torch.")
        raise ValueError(f"image has values of {name}; expected uint8 (0 to 255) or floats (-1 to 1, or value_range).")


def _advice(shape: Sequence[int]) -> str:
    if len(shape) == 4:
        return "Complete one image at a time, or give a tensor (B, 3, H, W)."
    if len(shape) == 3 and 3 in shape:
        return "Move the colours: np.moveaxis(image, 0, -1) of an array, image.permute(2, 0, 1) of a tensor."
    return "Repeat a grey channel three times; leave out an alpha channel."
