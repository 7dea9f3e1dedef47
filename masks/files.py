"""Masks in image files: read with a stated polarity, never guessed and never resized into grey."""

import io
import os
import warnings
from typing import Any, BinaryIO, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from masks.generator import Mask
from masks.regular import open_regular, refuse_irregular

White = Literal["hole", "known"]
Alpha = Literal["opaque", "transparent"]
_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _FORMAT = 258, 262, 277, 284, 339  # TIFF tags


def read_mask(
    path: str | os.PathLike[str],
    white: White = "hole",
    threshold: int | None = None,
    alpha: Alpha | None = None,
    content: bytes | None = None,
) -> Mask:
    """Read a black and white picture of any mode and depth as (H, W) uint8, 1 = hole.

    Black is 0, white 1, 255 or 65535 (8, 16 and 32 bits, integers and floats). Other values are rejected by name.

    Args:
        path: Any picture whose colours are grey.
        white: What white pixels are: "hole" or "known".
        threshold: Grey value from which a pixel counts as white, 1-255; without it, grey pixels are rejected.
        alpha: The side of an alpha channel that is the hole, "opaque" or "transparent": colours are not looked at then.
            Without it, a file with transparent pixels is rejected. Files without an alpha channel use ``white``.
        content: The file's bytes, where it is no file of its own, as in an archive; ``path`` names it in errors.

    Raises:
        ValueError: Naming the file: unreadable, coloured, transparent, or grey (with the share of grey pixels).
    """
    check_reading(white, threshold, alpha)
    values, is_alpha = _read(path, alpha is not None, content)
    is_white = _is_white(path, values, threshold)
    white_is_hole = alpha == "opaque" if is_alpha else white == "hole"
    return (is_white if white_is_hole else ~is_white).astype(np.uint8)


def check_reading(white: str, threshold: int | None, alpha: str | None) -> None:
    """Refuse what :func:`read_mask` does not take.

    Raises:
        ValueError: Stating what is allowed.
    """
    if white not in ("hole", "known"):
        raise ValueError(f"white is {white!r}; expected 'hole' or 'known', the meaning of white in a mask file.")
    if threshold is not None and not 1 <= threshold <= 255:
        raise ValueError(
            f"threshold is {threshold}; expected a grey value from 1 to 255 from which a pixel counts as white."
        )
    if alpha not in (None, "opaque", "transparent"):
        raise ValueError(f"alpha is {alpha!r}; expected 'opaque' or 'transparent', the side that is the hole.")


def _is_white(path: object, values: NDArray[Any], threshold: int | None) -> NDArray[np.bool_]:
    """Which of (H, W) values of any depth are white; without a threshold, only 0 and white are allowed."""
    low, high, deep = values.min(), values.max(), values.dtype != np.uint8
    if not (np.isfinite(low) and np.isfinite(high) and low >= 0):
        raise ValueError(f"{path}: has negative or NaN pixels; expected 0 and 255. Save it as PNG.")
    white = 1 if high == 1 else (65535 if deep and high > 255 else 255)
    soft = (values != 0) & (values != white)
    if not soft.any():
        return np.asarray(values == white)
    grey = f"{soft.mean():.2%} of its pixels are grey ({values[soft].min():g} to {values[soft].max():g})"
    if deep and not (255 < high <= 65535 or high <= 1):
        raise ValueError(
            f"{path}: {grey} in a file of {values.dtype}, whose white value is unknown; expected 0 and one of 1, 255, "
            "65535. Save it as a PNG of 8 bits."
        )
    if threshold is None:
        raise ValueError(
            f"{path}: {grey}, neither black (0) nor white ({white:g}): a resized or JPEG mask? State from "
            "which value a pixel counts as white, threshold=128 (--mask-threshold 128 on the command line), or save "
            "it in two colours."
        )
    scale = (255 if high <= 1 else 1 / 257) if deep else 1
    is_white = values * scale >= threshold
    if deep and not is_white.any():
        raise ValueError(
            f"{path}: no pixel reaches the threshold {threshold} of 255: its largest of {values.dtype} is {high:g}, "
            "white is 65535. Save it as a PNG of 8 bits."
        )
    return is_white


def _read(path: str | os.PathLike[str], want_alpha: bool, content: bytes | None) -> tuple[NDArray[Any], bool]:
    """(H, W) grey values as the file holds them, or its alpha channel where it is wanted; and whether it is that."""
    if content is None:
        refuse_irregular(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # rejected by its header: 89 million pixels
            with open_regular(path) if content is None else io.BytesIO(content) as source, Image.open(source) as file:
                channels = _channels(file, source)
    except UnidentifiedImageError:
        raise ValueError(f"{path}: not a picture. Save the mask as a black and white PNG.") from None
    except Exception as error:  # a broken file: decoders raise SyntaxError, struct.error, zlib.error and others
        raise ValueError(f"{path}: cannot be read as a mask ({error}). Save it again as PNG.") from error
    if channels.shape[2] in (2, 4):
        opacity = channels[..., -1]
        if want_alpha:
            return opacity, True
        if opacity.min() < np.iinfo(opacity.dtype).max:
            raise ValueError(
                f"{path}: has transparent pixels. State which side of the alpha channel is the hole, alpha='opaque' or "
                "'transparent' (--mask-alpha opaque or --mask-alpha transparent on the command line)."
            )
        channels = channels[..., :-1]
    if (channels[..., 1:] != channels[..., :1]).any():
        raise ValueError(f"{path} is a colour picture, not a mask. Are image and mask swapped?")
    return channels[..., 0], False


def _channels(file: Image.Image, content: BinaryIO) -> NDArray[Any]:
    """(H, W, C) as the file holds it: grey of any depth, 3 colours, or 2 or 4 channels of which the last is alpha."""
    deep = deep_colours(file)
    if problem := misread(file):
        raise ValueError(problem)
    if deep or file.format == "JPEG2000" or (file.format == "PPM" and file.mode == "RGB"):
        if file.getexif().get(0x0112, 1) != 1:
            raise ValueError("turned by EXIF, with 16 bits a channel")
        content.seek(0)
        found = cv2.imdecode(np.frombuffer(content.read(), np.uint8), cv2.IMREAD_UNCHANGED)
        if found is None or (deep and found.dtype != np.uint16):
            raise ValueError("16 bits a channel")
        return found.reshape(*found.shape[:2], -1)
    image: Image.Image = ImageOps.exif_transpose(file)
    if file.mode == "P" and file.palette is None:  # Pillow would take every index for black
        raise ValueError("its palette is missing")
    if image.mode in ("1", "L") and not image.has_transparency_data:
        image = image.convert("L")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode != "F" and not image.mode.startswith("I"):
        image = image.convert("RGB")
    found = np.asarray(image)
    return found.reshape(*found.shape[:2], -1)


def deep_colours(image: Image.Image) -> bool:
    """Whether an opened file has several channels of 16 bits, of which Pillow keeps 8."""
    return not image.mode.startswith(("I", "F")) and ";16" in str([tile[3] for tile in getattr(image, "tile", [])])


def misread(image: Image.Image) -> str | None:
    """Why Pillow would take wrong pixels from an opened file; None if it does not.

    Transparent greys of 2 and 4 bits are mended in ``image``: Pillow scales the pixels to 8 bits, but not that value.
    """
    tags = getattr(image, "tag_v2", {})
    raw, bits = str([tile[3] for tile in getattr(image, "tile", [])]), max(tags.get(_BITS, (1,)))
    if image.mode.startswith("I;16") and tags.get(_PHOTOMETRIC) == 0:
        return "its 16 bits are stored with 0 as white"
    if tags.get(_PLANAR) == 2 and bits > 8 and tags.get(_SAMPLES, 1) > 1:  # taken for their low and high bytes
        return "holds bands of 16 bits stored one after another"
    if image.mode == "L" and 2 in tags.get(_FORMAT, ()):
        return "its 8 bits are signed"
    if image.format == "PNG" and image.mode != "P" and "transparency" in image.info:
        if "16" in raw:  # compared with 8 bits of the pixels, or not at all
            return "one of its colours of 16 bits is transparent, without an alpha channel"
        image.info["transparency"] *= 85 if "L;2" in raw else 17 if "L;4" in raw else 1
    return None


def write_mask(mask: Mask, path: str | os.PathLike[str]) -> None:
    """Write (H, W), 1 = hole, as a PNG with white holes; :func:`read_mask` gives the same bits back."""
    Image.fromarray((mask > 0).astype(np.uint8) * 255).convert("1").save(path)


def resize_mask(mask: Mask, height: int, width: int) -> Mask:
    """Take the nearest pixel, in whole numbers (OpenCV 4, OpenCV 5 and Pillow break ties differently).

    >>> resize_mask(np.array([[0, 1, 1, 0, 0, 0]], np.uint8), 1, 3)
    array([[1, 0, 0]], dtype=uint8)
    """
    if mask.shape == (height, width):
        return mask
    rows = (2 * np.arange(height) + 1) * mask.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * mask.shape[1] // (2 * width)
    return np.asarray(mask[rows[:, None], columns])
