"""Masks in image files: read with a stated polarity, never resized into grey."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from masks.generator import Mask, MaskGenerator

White = Literal["hole", "known"]
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".pbm", ".ppm"))


def read_mask(path: str | os.PathLike[str], white: White = "hole", threshold: int | None = None) -> Mask:
    """Read a black and white picture as (H, W) uint8, 1 = hole.

    Args:
        path: Any picture whose colours are grey. Files of zeros and ones count as black and white.
        white: What white pixels are: "hole" or "known".
        threshold: Grey value from which a pixel is white, 1-255; without it a grey pixel is refused.

    Raises:
        ValueError: Naming the file: unreadable, coloured, transparent, or grey (with the share of grey pixels).
    """
    if white not in ("hole", "known"):
        raise ValueError(f"white is {white!r}; expected 'hole' or 'known', what white pixels of a mask file are.")
    if threshold is not None and not 1 <= threshold <= 255:
        raise ValueError(f"threshold is {threshold}; expected a grey value from 1 to 255 from which a pixel is white.")
    grey = _read_grey(path)
    if grey.max(initial=0) <= 1:
        grey = grey * np.uint8(255)
    if threshold is not None:
        is_white = grey >= threshold
    else:
        is_white = grey == 255
        soft = ~is_white & (grey != 0)
        if soft.any():
            raise ValueError(
                f"{path}: {soft.mean():.2%} of its pixels are grey ({grey[soft].min()} to {grey[soft].max()}), neither "
                "black (0) nor white (255): a resized or JPEG mask? Say from which value on a pixel is white, "
                "threshold=128 (--mask-threshold 128 on the command line), or save it in two colours."
            )
    return is_white.astype(np.uint8) if white == "hole" else (~is_white).astype(np.uint8)


def _read_grey(path: str | os.PathLike[str]) -> Mask:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # refused by its header: 89 million pixels
            with Image.open(path) as file:
                image: Image.Image = ImageOps.exif_transpose(file)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such mask file. Check the path.") from None
    except UnidentifiedImageError:
        raise ValueError(f"{path}: not a picture. Give the mask as PNG, black and white.") from None
    except Exception as error:  # a broken file: decoders raise SyntaxError, struct.error, zlib.error and others
        raise ValueError(f"{path}: cannot be read as a mask ({error}). Save it anew as PNG.") from error
    if image.mode == "F":
        raise ValueError(f"{path}: its pixels are floating-point numbers, which have no stated white. Save it as PNG.")
    if image.mode.startswith("I"):
        return (np.asarray(image).astype(np.int64) // 257).clip(0, 255).astype(np.uint8)
    if image.has_transparency_data:
        if np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
            raise ValueError(
                f"{path}: has transparent pixels, which are neither hole nor known. Save it without alpha."
            )
        image = image.convert("RGB")
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    colours = np.asarray(image.convert("RGB"))
    if np.ptp(colours.astype(np.int16), axis=2).max(initial=0) > 0:
        raise ValueError(f"{path}: is a coloured picture, not a mask. Did image and mask change places?")
    return np.ascontiguousarray(colours[..., 0])


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
    return mask[rows[:, None], columns]


def find_masks(root: str | os.PathLike[str]) -> list[str]:
    """Sorted paths, with "/" below ``root``, of every picture at any depth; hidden ones are left out."""
    if not Path(root).is_dir():
        raise ValueError(f"{root}: no such folder. Give the folder that holds the mask files.")
    paths = (path.relative_to(root) for path in Path(root).rglob("*") if path.suffix.lower() in SUFFIXES)
    names = sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))
    if not names:
        raise ValueError(f"{root}: no mask file in it ({', '.join(sorted(SUFFIXES))}). Check the folder.")
    return names


@dataclass(frozen=True)
class MaskFolder(MaskGenerator):
    """Mask files: NVIDIA's irregular masks, the authors' folders of RePaint, your own.

    NVIDIA's raw training masks are grey (the page says: white from 0.6, ``threshold=153``) and need
    :class:`masks.Augmented`. In RePaint's folders white is "known", and mask and image pair in the order of names.

    Args:
        root: Folder, searched at any depth.
        white: What white pixels are: "hole" or "known".
        threshold: Grey value from which a pixel is white; without it grey pixels are refused.
        pairing: "draw": any file, drawn with the rng. "name": the file with the image's name, ending apart, or with
            "_mask" and anything after it. "order": the file at the image's place; there must be as many.
        names: Text file with one mask a line, below the root: only these (``lit-inpaint masks measure`` writes such).
    """

    root: str
    white: White = "hole"
    threshold: int | None = None
    pairing: Literal["draw", "name", "order"] = "draw"
    names: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", os.fspath(self.root))
        if self.white not in ("hole", "known"):
            raise ValueError(f"MaskFolder got white={self.white!r}; expected 'hole' or 'known'.")
        if self.pairing not in ("draw", "name", "order"):
            raise ValueError(f"MaskFolder got pairing={self.pairing!r}; expected 'draw', 'name' or 'order'.")

    @cached_property
    def files(self) -> list[str]:
        """Every mask below the root, or the listed ones; looked up once."""
        if self.names is None:
            return find_masks(self.root)
        listed = [line.strip() for line in Path(self.names).read_text().splitlines() if line.strip()]
        missing = [name for name in listed if not (Path(self.root) / name).is_file()]
        if missing or not listed:
            raise ValueError(
                f"{self.names} lists {len(listed)} masks, {len(missing)} of them are not below {self.root}"
                f"{f', the first is {missing[0]!r}' if missing else ''}. Give the list that belongs to this folder."
            )
        return listed

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> Mask:
        if self.pairing != "draw":
            raise ValueError(
                f"MaskFolder({self.root!r}) pairs masks with images by {self.pairing}, which evaluation sets do. "
                "For training say pairing='draw'."
            )
        return self._read(self.files[int(rng.integers(len(self.files)))], height, width)

    def pairs(self, images: Sequence[str]) -> list[str]:
        """The mask file of each image of the whole data set, in its order.

        Raises:
            ValueError: Saying which images have no mask, or how many there are of each.
        """
        if self.pairing == "order":
            if len(images) != len(self.files):
                raise ValueError(
                    f"{self.root} holds {len(self.files)} masks for {len(images)} images; pairing by order needs as "
                    "many of each. Remove what is too much or pair by name."
                )
            return self.files
        # "a_crop000_mask000.png" belongs to "a_crop000.png" in LaMa's evaluation sets.
        paths = [(Path(file), file) for file in reversed(self.files)]
        by_name = {(path.parent / path.stem.partition("_mask")[0]).as_posix(): file for path, file in paths}
        stems = [Path(image).with_suffix("").as_posix() for image in images]
        without = [stem for stem in stems if stem not in by_name]
        if without:
            raise ValueError(
                f"{self.root} has no mask for {len(without)} of {len(images)} images, the first is {without[0]!r}; its "
                f"own first is {self.files[0]!r}. Name a mask like its image, or pair by order."
            )
        return [by_name[stem] for stem in stems]

    def read_pair(self, file: str, height: int, width: int) -> Mask:
        """One of :meth:`pairs`, resized; refused if it has another shape than the image that it belongs to."""
        return self._read(file, height, width, same_shape=True)

    def _read(self, file: str, height: int, width: int, same_shape: bool = False) -> Mask:
        path = Path(self.root) / file
        mask = read_mask(path, self.white, self.threshold)
        if same_shape and abs(mask.shape[0] * width - mask.shape[1] * height) > max(height, width):
            raise ValueError(
                f"{path} is {mask.shape[1]}x{mask.shape[0]}, its image comes as {width}x{height}: another shape, so "
                "the hole would move. Crop the masks as the images are cropped."
            )
        return resize_mask(mask, height, width)
