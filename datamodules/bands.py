"""Files with more than 8 bits or with extra bands: detect their content and extract the picture."""

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from masks.files import deep_colours, misread

Bands = Literal["rgb", "alpha"]
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # bands of colour by TIFF's PhotometricInterpretation
_BITS, _PHOTOMETRIC, _SAMPLES, _EXTRA, _ORIENTATION = 258, 262, 277, 338, 274  # TIFF tags


def reading_settings(bands: Bands | None, white_level: int | None) -> dict[str, Any]:
    """The given arguments of :func:`datamodules.reading.read_image`, validated.

    Raises:
        ValueError: Stating what is allowed.
    """
    if bands not in (None, "rgb", "alpha"):
        raise ValueError(f"bands is {bands!r}; expected rgb or alpha: the meaning of a fourth band in TIFF files.")
    if white_level is not None and not 255 < white_level <= 65535:
        raise ValueError(f"white_level is {white_level}; expected 256 to 65535, e.g. 4095 for 12-bit data.")
    given = {"bands": bands, "white_level": white_level}
    return {name: value for name, value in given.items() if value is not None}


class UnclearImageError(ValueError):
    """An intact file that could be interpreted in more than one way."""


def extra_bands(image: Image.Image) -> str | None:
    """Describe the extra bands of an opened TIFF or JPEG 2000 file: programs tag near infrared as alpha.

    None for all other formats, in which alpha is transparency.
    """
    if image.format == "TIFF":
        tags: Any = image.tag_v2  # type: ignore[attr-defined]
        colours, bands = _COLOURS.get(tags.get(_PHOTOMETRIC), 3), tags.get(_SAMPLES, 1)
        tagged = " tagged alpha" if {1, 2} & set(tags.get(_EXTRA, ())) else ""
    elif image.format == "JPEG2000":
        bands, tagged = len(image.getbands()), ""
        colours = 3 if bands >= 3 else 1
    else:
        return None
    ordinal = {2: "a second", 4: "a fourth", 5: "a fifth"}.get(bands if bands == colours + 1 else 0)
    said = f"{ordinal} band" if ordinal else f"{bands} bands for {colours} of colour"
    return f"{said}{tagged}" if bands > colours else None


def choose(image: Image.Image, bands: Bands | None) -> bool:
    """Reject unspecified extra bands and what Pillow misreads; return whether to drop the bands.

    Raises:
        UnclearImageError: Stating the file's content and the allowed values.
    """
    if problem := misread(image):
        raise UnclearImageError(f"{problem}. Save it as a PNG of 8 bits.")
    if (extra := extra_bands(image)) is None:
        return False
    if bands is None:
        raise UnclearImageError(
            f"has {extra}, which may be near infrared or transparency. Set bands to rgb (drop the band) or alpha "
            "(transparency; --bands on the command line), or save it with three bands."
        )
    if bands == "alpha" and not image.has_transparency_data:
        raise UnclearImageError(f"has {extra} that is not tagged alpha. Set bands to rgb, or save it with three bands.")
    if bands == "rgb":
        # Alpha that is tagged as multiplied in would be divided out of the colours.
        tiles: Any = image.tile  # type: ignore[attr-defined]
        for place, tile in enumerate(tiles):
            arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
            plain = tuple(a.replace("RGBa", "RGBA") if isinstance(a, str) else a for a in arguments)
            tiles[place] = type(tile)(*tile[:3], plain)
    return bands == "rgb"


def depth(image: Image.Image) -> int:
    """Bits per value, from the file's header."""
    if image.mode == "1":
        return 1
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return 12 if _is_12_bits(image) else 16
    return 32 if image.mode in ("I", "F") else 16 if deep_colours(image) else 8


def _is_12_bits(image: Image.Image) -> bool:
    return image.format == "TIFF" and tuple(image.tag_v2.get(_BITS, ())) == (12,)  # type: ignore[attr-defined]


def white_of(image: Image.Image, white_level: int | None) -> int:
    """Value of white in a file with more than 8 bits, as stated by its format."""
    return 65535 if image.format == "PPM" else 4095 if _is_12_bits(image) else white_level or 65535


def deep_values(image: Image.Image, content: bytes) -> NDArray[Any]:
    """(H, W) or (H, W, C) of 16 bits, colours before alpha, as the file holds them; Pillow keeps 8 bits of colours."""
    if not deep_colours(image):
        return np.asarray(image)
    if image.getexif().get(_ORIENTATION, 1) != 1:
        raise UnclearImageError("is rotated by its EXIF, with 16 bits per channel. Save it upright.")
    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:
        raise UnclearImageError("has 16 bits per channel in an unsupported layout. Save it as PNG.")
    return values if values.ndim == 2 else values[..., [2, 1, 0, *range(3, values.shape[2])]]


def to_8_bits(values: NDArray[Any], white: int) -> NDArray[np.uint8]:
    """Scale so that ``white`` becomes 255.

    >>> to_8_bits(np.array([[0, 2048, 4095]]), 4095).tolist()
    [[0, 128, 255]]
    """
    if (highest := int(values.max(initial=0))) > white:
        raise UnclearImageError(f"holds values up to {highest:,}, above white_level {white:,}. Raise white_level.")
    return ((values.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)
