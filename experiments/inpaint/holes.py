"""The hole of each image: read from a mask file or drawn by a law, and dilated."""

import argparse
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from PIL import Image

from experiments.files.find import find_yaml
from experiments.files.read import read_yaml
from experiments.inpaint.original import conversions
from experiments.inpaint.pairing import Pair, shown
from experiments.inpaint.staging import states
from masks.build import build, describe
from masks.files import read_mask
from masks.folder import MaskFolder, roots_of
from masks.generator import Mask, keyed_rng
from masks.own import laws_in
from masks.regular import open_regular


def law_of(given: str, out: Path) -> str:
    """``--mask-law`` as JSON with all its arguments: a class, a YAML of a mask (also an installed one), or JSON.

    >>> law_of("Half", Path("out"))
    '{"class_path": "masks.Half", "init_args": {}}'

    Raises:
        ValueError: There is no such law, or it would draw from the outputs.
    """
    config: Any = given
    if given.lstrip().startswith("{"):
        try:
            config = yaml.safe_load(given)
        except yaml.YAMLError as error:
            raise ValueError(
                f"--mask-law {given!r} is neither JSON nor YAML; give a class, its file or JSON."
            ) from error
    elif given.endswith((".yaml", ".yml")):
        config = read_yaml(find_yaml(given, "masks"))
    law = build(config)
    for root in roots_of(law):
        if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(root)):
            raise ValueError(
                f"--out {shown(out)} lies in {shown(root)}, whose files are the masks; give another --out."
            )
    return json.dumps(describe(law))


def files_of(law: str | None) -> dict[str, str]:
    """A digest of the paths and states of the files from which a law of :func:`law_of` draws, if it does."""
    files: list[Path] = []
    for one in laws_in(build(json.loads(law))) if law else ():
        if isinstance(one, MaskFolder):
            root = Path(os.path.realpath(one.root))
            files += [root] if root.is_file() else [root / name for name in one.files]
    known = repr(list(zip(files, states(files), strict=True)))
    return {"mask_files": hashlib.sha256(known.encode()).hexdigest()} if files else {}


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
    if os.path.realpath(path) == os.path.realpath(image):
        with open_regular(path) as file, Image.open(file) as itself:
            if not itself.has_transparency_data:
                raise ValueError(f"{shown(path)} has no alpha channel to say where its hole is; give it a mask file.")
    drawn = read_mask(path, white, a.mask_threshold, a.mask_alpha)
    if drawn.shape == pixels.shape[:2]:
        return drawn
    turned = drawn.shape[::-1] == pixels.shape[:2] and "rotated by its EXIF" in conversions(image)
    what = "Draw it on the image as displayed" if turned else "Resize the mask with nearest neighbour"
    raise ValueError(
        f"{shown(path)} is {drawn.shape[1]}x{drawn.shape[0]}, {shown(image)} {pixels.shape[1]}x{pixels.shape[0]}; "
        f"they must have the same size. {what}."
    )
