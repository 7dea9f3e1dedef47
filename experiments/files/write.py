"""Write files atomically, and files named after images never outside their folder."""

import io
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from PIL import Image

from masks.atomic import whole


def write_bytes(path: Path, content: bytes, flush: bool = False) -> None:
    with whole(path, flush=flush) as part:
        part.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write text atomically, flushed to disk."""
    with whole(path, flush=True) as part:
        part.write_text(text, encoding="utf-8")


def write_png(pixels: np.ndarray, folder: Path, name: str, flush: bool = False, **options: object) -> Path:
    """Write the picture that is called ``name`` below ``folder``, (H, W), (H, W, 1) or (H, W, 3) uint8.

    Args:
        flush: Wait for the disk.
        options: Options of Pillow's PNG writer: compress_level, icc_profile, exif, dpi.

    Raises:
        ValueError: ``name`` leads out of ``folder``.
    """
    return write_picture(pixels, folder, name, "PNG", flush, **options)


def write_picture(
    pixels: np.ndarray, folder: Path, name: str, kind: str, flush: bool = False, **options: object
) -> Path:
    """:func:`write_png` in another format of Pillow's."""
    path = below(folder, name)
    content = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).save(content, format=kind, **options)
    write_bytes(path, content.getvalue(), flush)
    return path


def quick_png(pixels: np.ndarray) -> bytes:
    """A PNG of (H, W), (H, W, 1) or (H, W, 3) uint8: as small as Pillow's fastest, in half its time.

    >>> Image.open(io.BytesIO(quick_png(np.full((1, 2, 3), (7, 8, 9), np.uint8)))).getpixel((1, 0))
    (7, 8, 9)
    """
    grey = pixels.ndim == 2 or pixels.shape[2] == 1
    encoded, content = cv2.imencode(".png", pixels if grey else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert encoded, pixels.shape
    return content.tobytes()


def below(folder: Path, name: str) -> Path:
    """Path of ``name`` in ``folder`` or its subfolders, never outside.

    Raises:
        ValueError: ``name`` is absolute, has ``..`` in it, or a link leads elsewhere.
    """
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise ValueError(
            f"{name!r} is not a path below {folder}. Name files by their path in the data set, without '..'."
        )
    target = folder / path
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{target} would lie outside {folder}, through a link; remove the link.")
    return target


def key_of(name: str) -> str:
    """An image's key in records and folders: its path in the data set without suffix."""
    return str(PurePosixPath(name).with_suffix(""))


def refuse_not_utf8(names: Iterable[str]) -> None:
    """
    Raises:
        ValueError: A name has bytes that are not UTF-8, which no record, index or page can hold.
    """
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the name {name!a} is not UTF-8, which a record cannot hold; rename it.") from None


def refuse_equal_keys(names: Iterable[str]) -> None:
    """Outputs are named after images without suffix, so two images with the same stem would collide.

    Raises:
        ValueError: Naming both, or one that is not UTF-8.
    """
    seen: dict[str, str] = {}
    refuse_not_utf8(names := [*names])
    for name in names:
        if (other := seen.setdefault(key_of(name), name)) is not name:
            raise ValueError(f"{other} and {name} would have the same name in the output; rename or remove one.")
