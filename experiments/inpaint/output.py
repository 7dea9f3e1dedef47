"""The format of a completion: PNG, which keeps the known pixels, or JPEG and WebP of a quality."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from experiments.files.write import write_picture
from experiments.inpaint.pairing import shown

SUFFIXES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
QUALITY = 95


def check_format(a: argparse.Namespace) -> None:
    """Settle ``--format`` and ``--quality``; an --out with a suffix says its format.

    Raises:
        ValueError: They contradict each other.
    """
    of_out = SUFFIXES.get(a.out.suffix.lower())
    if of_out and not a.out.is_dir() and a.format not in (None, of_out):
        raise ValueError(f"--out {shown(a.out)} is a {of_out}, but --format is {a.format}; leave out --format.")
    a.format = a.format or (of_out if of_out and not a.out.is_dir() else "png")
    if a.quality is not None and not 1 <= a.quality <= 100:
        raise ValueError(f"--quality is {a.quality}; expected 1 to 100.")
    if a.quality is not None and a.format == "png":
        raise ValueError("--quality is for JPEG and WebP; PNG keeps every pixel. Add --format jpeg or webp.")
    a.quality = QUALITY if a.quality is None and a.format != "png" else a.quality


def suffix_of(a: argparse.Namespace) -> str:
    return {"jpeg": ".jpg"}.get(a.format, f".{a.format}")


def is_lossless(a: argparse.Namespace) -> bool:
    return bool(a.format == "png" or (a.format == "webp" and a.quality == 100))


def write(pixels: np.ndarray, folder: Path, name: str, a: argparse.Namespace, options: dict[str, Any]) -> None:
    """``options``: what is kept of the original, see :func:`experiments.inpaint.original.kept`."""
    more: dict[str, Any] = {
        "png": {},
        "jpeg": {"quality": a.quality, "subsampling": 0},
        "webp": {"quality": a.quality, "lossless": is_lossless(a)},
    }[a.format]
    write_picture(pixels, folder, name, a.format.upper(), flush=True, **more, **options)
