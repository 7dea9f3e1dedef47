"""From a file to pixels: :func:`read_image` returns uint8 RGB or an error that names the file."""

import io
import os
import warnings

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from datamodules.bands import Bands, UnclearImageError, choose, deep_values, depth, to_8_bits, white_of
from masks.files import deep_colours
from masks.regular import open_regular

Pixels = NDArray[np.uint8]

_MAX_PIXELS = 80_000_000  # a decoded image of this size takes 240 MB; a 4 MB PNG can claim 100 times as many
MAX_BYTES = 2**30  # of a file; 80 million pixels of four bands of 16 bits, not compressed, are 640 million
_ORIENTATION = 0x0112  # EXIF tag
_START_OF_JPEG = b"\xff\xd8\xff"
_END_OF_JPEG = b"\xff\xd9"
_ZEROS = bytes(16)


class UnreadableImageError(ValueError):
    """A file that cannot be used as an image. The message names the file, what is wrong and what to do."""

    def __init__(self, message: str) -> None:
        # A DataLoader worker re-raises with its whole traceback as the message; the reason is its last line.
        name = type(self).__name__
        if message.startswith(f"Caught {name} in DataLoader worker"):
            message = message.rpartition(f"{name}: ")[2].strip()
        super().__init__(message)


def read_image(
    path: str | os.PathLike[str],
    max_pixels: int = _MAX_PIXELS,
    background: tuple[int, int, int] = (255, 255, 255),
    bands: Bands | None = None,
    white_level: int | None = None,
) -> Pixels:
    """Read any image file as (H, W, 3) uint8 RGB in [0, 255].

    EXIF orientation is applied; 16 bits are scaled to 8; transparent pixels are composited over ``background``;
    grey, palette and CMYK are converted; only the first frame of an animation is read; colour profiles are ignored.

    Args:
        path: The file. Its content decides the format, not its name.
        max_pixels: Larger images are rejected by their header, before memory is allocated.
        background: RGB behind transparent pixels (default: white).
        bands: Meaning of extra bands in TIFF and JPEG 2000 files: "rgb": not part of the picture (near
            infrared), dropped; "alpha": transparency. Without it, such a file is rejected.
        white_level: Value of white in 16-bit files, e.g. 4095 for 12-bit data (default: 65535).

    Raises:
        UnreadableImageError: A ValueError naming the file: missing, empty, truncated, corrupt, too large, no image.
    """
    name = os.fspath(path)
    return decode_image(name, _content(name), max_pixels, background, bands, white_level)


def decode_image(
    name: str,
    content: bytes,
    max_pixels: int = _MAX_PIXELS,
    background: tuple[int, int, int] = (255, 255, 255),
    bands: Bands | None = None,
    white_level: int | None = None,
) -> Pixels:
    """:func:`read_image` of a file's content, from an archive for instance; ``name`` is for errors."""
    if not content:
        raise UnreadableImageError(f"{name}: the file is empty (0 bytes). Fetch it again or remove it.")
    jpeg = content.startswith(_START_OF_JPEG)
    if jpeg and content.endswith(_ZEROS) and not content.rstrip(b"\0").endswith(_END_OF_JPEG):
        # A copy that broke off after the space was reserved; Pillow would fill the rest with grey without a word.
        raise UnreadableImageError(f"{name}: truncated, the rest is zeros. Fetch it again or remove it.")
    whole = jpeg and _END_OF_JPEG in content[-64:]
    if whole and (size := _plain_jpeg(content)) is not None and size[0] * size[1] <= max_pixels:
        pixels = _decode_jpeg(content, size, 1)
        if pixels is not None:
            return pixels
    image = _open(name, content, max_pixels)
    try:
        if whole and image.format == "JPEG" and image.mode == "RGB":
            pixels = _decode_jpeg(content, (image.height, image.width), image.getexif().get(_ORIENTATION, 1))
            if pixels is not None:
                return pixels
        return _decode(image, content, background, bands, white_level)
    except UnclearImageError as error:
        raise UnreadableImageError(f"{name}: {error}") from error
    except Exception as error:
        raise UnreadableImageError(f"{name}: {_reason(error)}. Fetch it again or remove it.") from error


def _content(name: str) -> bytes:
    try:
        with open_regular(name, most=MAX_BYTES) as file:
            content = file.read()
    except ValueError as error:
        raise UnreadableImageError(str(error)) from error
    except OSError as error:  # a broken disk, a network that went away
        raise UnreadableImageError(f"{name}: cannot be read ({error.strerror or error}). Check the disk.") from error
    return content


def _open(name: str, content: bytes, max_pixels: int) -> Image.Image:
    """The header alone."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own, lower, limit follows
            image = Image.open(io.BytesIO(content))
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"{name}: not an image that Pillow can read. Convert or remove it.") from error
    except Exception as error:  # a broken header: decoders raise SyntaxError, struct.error, zlib.error and others
        raise UnreadableImageError(f"{name}: {_reason(error)}. Fetch it again or remove it.") from error
    width, height = image.size
    if width * height > max_pixels:
        limit = f"at most {max_pixels:,} pixels are allowed"
        raise UnreadableImageError(f"{name}: {width}x{height} is too large; {limit}. Resize it or cut it into tiles.")
    return image


def read_shape(path: str | os.PathLike[str], content: bytes | None = None) -> tuple[int, int]:
    """(height, width) of what :func:`read_image` (of the ``content``: :func:`decode_image`) gives, from the header
    where that is enough."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            source = open_regular(path) if content is None else io.BytesIO(content)
            with source, Image.open(source) as image:
                # Pillow gives the size of a TIFF as it is shown, of every other format as it is stored.
                turned = image.format != "TIFF" and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
                return image.size if turned else (image.height, image.width)
    except Exception:  # says what is wrong
        return (read_image(path) if content is None else decode_image(os.fspath(path), content)).shape[:2]


def _reason(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__


def _plain_jpeg(content: bytes) -> tuple[int, int] | None:
    """(height, width) of a JPEG of three 8-bit channels without EXIF, XMP or Adobe segment, read from its header alone;
    None for every other file, which Pillow looks into (four times slower)."""
    at = 2
    while at + 10 <= len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if marker in (0xE1, 0xEE, 0xFF):
            return None
        if 0xC0 <= marker <= 0xC2:  # baseline, extended, progressive: precision, height, width, channels
            frame = content[at + 4 : at + 10]
            size = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
            return size if frame[0] == 8 and frame[5] == 3 else None
        at += 2 + length
    return None


def _decode_jpeg(content: bytes, size: tuple[int, int], orientation: int) -> Pixels | None:
    """OpenCV decodes a JPEG to the same pixels in three quarters of Pillow's time, but takes truncated ones silently:
    only for files that end as a JPEG does. None: let Pillow report the error."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.shape[:2] != size:
        return None
    if orientation in (2, 3, 4, 5, 6, 7, 8):
        # Numbers as in EXIF: 5-8 swap the axes, then rows or columns are reversed.
        pixels = pixels.transpose(1, 0, 2) if orientation >= 5 else pixels
        pixels = pixels[::-1] if orientation in (3, 4, 7, 8) else pixels
        pixels = pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels
        pixels = np.ascontiguousarray(pixels)
    return pixels  # type: ignore[return-value]


def _decode(
    image: Image.Image,
    content: bytes,
    background: tuple[int, int, int],
    bands: Bands | None,
    white_level: int | None,
) -> Pixels:
    image.seek(0)
    without = choose(image, bands)
    colours_16 = white_level is not None and deep_colours(image)
    if colours_16:
        values = deep_values(image, content)
        if values.ndim == 3 and values.shape[2] > 3 and not without:
            raise UnclearImageError("has transparency and 16 bits; white_level scales colours. Save it without alpha.")
        return np.ascontiguousarray(to_8_bits(values[..., :3], white_of(image, white_level)))
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "P" and image.palette is None:  # Pillow would take every index for black
        raise ValueError("its palette is missing")
    if depth(image) in (12, 16) and not deep_colours(image):
        # Pillow's own convert("RGB") would saturate at 255 instead of scaling.
        grey = to_8_bits(np.asarray(image), white_of(image, white_level))
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise UnclearImageError(f"pixels of mode {image.mode} (32 bits) have no stated range. Save it with 8 bits.")
    if image.has_transparency_data and not without:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image)
    return np.array(image.convert("RGB"))
