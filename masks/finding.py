"""Which files of a folder are pictures, which of them are masks, and which mask belongs to which image."""

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from masks.archives import Archive, archive_at
from masks.walk import folders_below

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".avif"),
)
Where = str | os.PathLike[str]


def find_images(root: Where, *masks: Where, what: str = "images", left_out: Counter[str] | None = None) -> list[str]:
    """Sorted paths below ``root``, a folder or an archive, with "/", of every file with a picture's suffix, at any
    depth; hidden ones are left out.

    Links to folders are followed, a folder reached twice is read once.

    Args:
        masks: Files and folders whose masks are excluded, see :func:`without_masks`.
        what: The word for the files in an error.
        left_out: Takes the numbers of other files, by suffix.

    Raises:
        ValueError: No such folder, or no picture in it.
    """
    root = Path(root)
    archive = archive_at(root)
    if archive is None and not root.is_dir():
        raise ValueError(f"{root}: no such folder. Give the folder, .zip or .tar that holds the {what}.")
    others = Counter[str]()
    found = _in_folder(root, others) if archive is None else _in_archive(archive, others)
    if not found:
        beside = f"{others.total()} other files" if others else "no file at all"
        looked = f"{beside}, searched all subfolders for {' '.join(SUFFIXES)}"
        raise ValueError(f"{root}: a folder without {what} ({looked}).")
    left = without_masks(sorted(found), root, *masks)
    if not left:
        raise ValueError(f"{root}: a folder without {what}: its {len(found)} pictures are masks of other images.")
    if left_out is not None:
        left_out.update(others)
        left_out.update({"masks": len(found) - len(left)} if len(left) < len(found) else {})
    return left


def _in_archive(archive: Archive, others: Counter[str]) -> list[str]:
    found: list[str] = []
    for name in archive.names:
        if any(part.startswith(".") or part == "__MACOSX" for part in name.split("/")):
            continue
        suffix = os.path.splitext(name)[1].lower()
        if suffix in SUFFIXES:
            found.append(name)
        else:
            others[suffix or "without suffix"] += 1
    return found


def _in_folder(root: Path, others: Counter[str]) -> list[str]:
    found: list[str] = []
    for folder, names in folders_below(root, lambda name: name.startswith(".") or name == "__MACOSX"):
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if suffix in SUFFIXES:
                found.append(f"{folder}/{name}" if folder else name)
            else:
                others[suffix or "without suffix"] += 1
    return found


def without_masks(names: Sequence[str], root: Where, *masks: Where) -> list[str]:
    """The images among ``names``, paths below ``root``.

    Left out are a mask file itself, what lies in a folder of masks below ``root``, and where images and masks share
    one folder whatever is called after another of its files, as x_mask001.png beside x.png.
    """
    left = list(names)
    for place in masks:
        for absolute in (os.path.abspath, os.path.realpath):
            below = os.path.relpath(absolute(place), absolute(root))
            if below == os.curdir:
                beside = masks_beside(left)
                left = [name for name in left if name not in beside]
            elif not below.startswith(os.pardir):
                below = Path(below).as_posix()
                left = [name for name in left if name != below and not name.startswith(f"{below}/")]
    return left


def masks_beside(names: Iterable[str]) -> set[str]:
    """Those of ``names`` that are masks of others by their name, as in LaMa's evaluation sets.

    >>> sorted(masks_beside(["x.png", "x_mask001.png", "y_mask.png", "a.png", "a_mask_b.png", "a_mask_b_mask.png"]))
    ['a_mask_b_mask.png', 'x_mask001.png']
    """
    stems = {name: os.path.splitext(name)[0] for name in names}
    known = set(stems.values())
    owners = {stem: owner for stem in known if (owner := _owner(stem, known)) is not None}
    masks = set(owners) - set(owners.values())
    return {name for name, stem in stems.items() if stem in masks}


def pair_by_name(images: Iterable[str], masks: Iterable[str]) -> dict[str, list[str]]:
    """The masks of each image by their paths below the two folders; more than one is more than a caller can use.

    A mask is called like its image, endings apart, or like it with "_mask" and anything after it; the latter wins, and
    of several images the one with the longest name.

    >>> pair_by_name(["x.jpg", "x_mask_y.jpg", "z.jpg"], ["x_mask001.png", "x_mask_y.PNG"])
    {'x.jpg': ['x_mask001.png'], 'x_mask_y.jpg': ['x_mask_y.PNG'], 'z.jpg': []}
    """
    stems = {image: os.path.splitext(image)[0] for image in images}
    known = set(stems.values())
    same, after = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for mask in masks:
        stem = os.path.splitext(mask)[0]
        if stem in known:
            same[stem].append(mask)
        elif owner := _owner(stem, known):
            after[owner].append(mask)
    return {image: after.get(stem) or same.get(stem, []) for image, stem in stems.items()}


def _owner(stem: str, stems: Collection[str]) -> str | None:
    """The longest of ``stems`` that ``stem`` continues with "_mask"."""
    at = stem.rfind("_mask")
    while at > 0:
        if stem[:at] in stems:
            return stem[:at]
        at = stem.rfind("_mask", 0, at)
    return None
