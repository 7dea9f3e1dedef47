"""The hole of each image: read from a mask file or drawn by a law, and dilated."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from experiments.files.find import find_yaml
from experiments.files.read import read_yaml
from experiments.inpaint.original import conversions
from experiments.inpaint.pairing import Pair, shown
from masks.build import build, describe
from masks.files import read_mask
from masks.generator import Mask, keyed_rng


def law_of(given: str) -> str:
    """``--mask-law`` as JSON with all its arguments: a class, a YAML of a mask (also an installed one), or JSON.

    >>> law_of("Half")
    '{"class_path": "masks.Half", "init_args": {}}'

    Raises:
        ValueError: There is no such law.
    """
    config: Any = given
    if given.lstrip().startswith("{"):
        config = json.loads(given)
    elif given.endswith((".yaml", ".yml")):
        config = read_yaml(find_yaml(given, "masks"))
    return json.dumps(describe(build(config)))


def hole_of(pair: Pair, pixels: np.ndarray, a: argparse.Namespace) -> Mask:
    """(H, W), 1 = hole, of the size of the image."""
    if pair.mask is None:
        height, width = pixels.shape[:2]
        hole = build(json.loads(a.mask_law))(height, width, keyed_rng(a.seed, f"mask of {pair.name}"))
    else:
        hole = read_like(pair.mask, pair.image, pixels, a.mask_white, a)
    return dilated(hole, a.dilate)


def guides_of(pair: Pair, pixels: np.ndarray, a: argparse.Namespace) -> Mapping[str, Mask]:
    return {name: read_like(path, pair.image, pixels, "hole", a) for name, path in pair.guides.items()}


def dilated(hole: Mask, radius: int) -> Mask:
    """The hole and everything within ``radius`` pixels of it.

    >>> int(dilated(np.eye(7, dtype=np.uint8)[3:4], 1).sum())
    3
    """
    if not radius or not hole.any():
        return hole
    far = cv2.distanceTransform(1 - hole, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(far <= radius, np.uint8)


def read_like(path: Path, image: Path, pixels: np.ndarray, white: Any, a: argparse.Namespace) -> Mask:
    """A mask or guide at the size of the image."""
    drawn = read_mask(path, white, a.mask_threshold, a.mask_alpha)
    if drawn.shape == pixels.shape[:2]:
        return drawn
    turned = drawn.shape[::-1] == pixels.shape[:2] and "rotated by its EXIF" in conversions(image)
    what = "Draw it on the image as displayed" if turned else "Resize the mask with nearest neighbour"
    raise ValueError(
        f"{shown(path)} is {drawn.shape[1]}x{drawn.shape[0]}, {shown(image)} {pixels.shape[1]}x{pixels.shape[0]}; "
        f"they must have the same size. {what}."
    )
