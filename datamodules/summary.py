"""Summary of a data set, reported before it is used: files, skipped files, depth, bands, range, overlap of splits."""

import io
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from datamodules.bands import UnclearImageError, deep_values, depth, extra_bands, white_of
from datamodules.files import Files
from datamodules.reading import MAX_BYTES, Pixels, read_image
from masks.regular import open_regular, refuse_irregular

HEADERS = 200  # files whose header is read, evenly spread; reading all on a network disk takes an hour
PIXELS = 8  # of these, files whose values are read
COMPARED = 20_000  # files of a split, up to which splits are compared by content
HASHED = 2**30  # bytes of files of equal size, up to which their hashes are taken
_NAMED = 5


def summarise(splits: Mapping[str, Files], first: int | None = None) -> dict[str, Any]:
    """Plain values, for the screen (:func:`lines`), run.json and records.

    Args:
        splits: Files per split; those of "val" and "test" that are also in "train" are reported.
        first: Use only the first N images of each split.
    """
    counts = {split: len(files) if first is None else min(first, len(files)) for split, files in splits.items()}
    most = HEADERS // max(1, len(splits))
    sample = [(files, i) for split, files in splits.items() for i in _spread(counts[split], most)]
    chosen = set(_spread(len(sample), PIXELS))
    kinds, left_out, bad, ranges = Counter[str](), Counter[str](), list[str](), dict[str, list[int]]()
    like_masks: list[str] = []
    for place, (files, i) in enumerate(sample):
        try:
            kind, bits = _kind(files, i)
            kinds[kind] += 1
            if place in chosen:
                low, high, white, two_valued = _range(files, i)
                like_masks += [files.path(i)] if two_valued else []
                old = ranges.setdefault(f"{bits} bits", [low, high, white])
                ranges[f"{bits} bits"] = [min(low, old[0]), max(high, old[1]), white]
        except UnclearImageError as error:
            bad.append(f"{files.path(i)}: {error}")
        except (OSError, ValueError) as error:
            bad.append(str(error))
    for files in splits.values():
        left_out |= Counter(files.left_out)  # splits of one folder have left out the same
    evaluated = [split for split in ("val", "test") if {"train", split} <= set(splits)]
    return {
        "images": counts,
        "left_out": dict(left_out.most_common()),
        "looked_at": len(sample),
        "kinds": dict(kinds.most_common()),
        "unreadable": bad,
        "ranges": ranges,
        "ranges_of": len(chosen),
        "reading": next((files.reading for files in splits.values()), {}),
        "also_trained_on": {split: shared(splits["train"], splits[split]) for split in evaluated},
    } | ({"like_masks": like_masks} if like_masks else {})


def lines(summary: Mapping[str, Any]) -> list[str]:
    """The summary as text: one line, plus one per warning."""
    images = ", ".join(f"{count:,} {split}" for split, count in summary["images"].items())
    held = summary["kinds"]
    kinds = ", ".join(f"{kind} ({count})" if len(held) > 1 else kind for kind, count in held.items())
    ranges = ", ".join(f"{low:,} to {high:,} of {white:,}" for low, high, white in summary["ranges"].values())
    of = f" (a sample of {summary['looked_at']})" if summary["looked_at"] < sum(summary["images"].values()) else ""
    said = [f"data: {images} images; {kinds}{of}; values {ranges} (a sample of {summary['ranges_of']})"]
    if summary["left_out"]:
        beside = ", ".join(f"{count:,} {kind}" for kind, count in summary["left_out"].items())
        said.append(f"data: files skipped: {beside}")
    if bad := summary["unreadable"]:
        said.append(f"data: {len(bad)} of {summary['looked_at']} files cannot be read; the first: {bad[0]}")
    for bits, (_, high, white) in summary["ranges"].items():
        if 2 * high < white:
            bits_used = int(high).bit_length()
            scale = f" Set white_level to {2**bits_used - 1} to scale them." if white == 65535 and high > 255 else ""
            said.append(
                f"data: dark: the highest value in files of {bits} is {high:,} of {white:,} ({bits_used} bits). Such "
                f"pictures have a higher PSNR than full-range ones.{scale}"
            )
    if like_masks := summary.get("like_masks"):
        said.append(
            f"data: {len(like_masks)} of {summary['ranges_of']} files are black and white alone, as masks are: "
            f"{like_masks[0]}. A folder called masks is left out, as is a mask beside its image, photo_mask.png."
        )
    for split, found in summary["also_trained_on"].items():
        if found["names"]:
            some = ", ".join(found["names"][:_NAMED]) + (", ..." if found["count"] > _NAMED else "")
            said.append(f"data: {found['count']:,} {split} images are also trained on ({found['compared']}): {some}")
    return said


def shared(train: Files, other: Files) -> dict[str, Any]:
    """Images of ``other`` that are also in ``train``: by content, or only by path if there are too many."""
    asked = set(other.names())  # of the two the small one
    trained = {name for name in map(train.name, range(len(train))) if name in asked}
    names = [name for name in other.names() if name in trained]
    if max(len(train), len(other)) > COMPARED or not (train.compared and other.compared):
        return {"compared": "by path", "count": len(names), "names": names[:100]}
    trained_on, evaluated = _by_size(train), _by_size(other)
    equal = set(trained_on) & set(evaluated)
    if sum(size * (len(trained_on[size]) + len(evaluated[size])) for size in equal) > HASHED:
        return {"compared": "by path", "count": len(names), "names": names[:100]}
    for size in sorted(equal):
        hashes = {_sha256(train, i) for i in trained_on[size]}
        names += [n for i in evaluated[size] if (n := other.name(i)) not in trained and _sha256(other, i) in hashes]
    return {"compared": "by content", "count": len(names), "names": names[:100]}


def _by_size(files: Files) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for i in range(len(files)):
        with suppress(OSError, ValueError, KeyError):  # reported when it is read
            found.setdefault(files.file_size(i), []).append(i)
    return found


def _spread(count: int, most: int) -> list[int]:
    return list(dict.fromkeys(int(i) for i in np.linspace(0, count - 1, min(count, most)).round()))


def _sha256(files: Files, index: int) -> str:
    try:
        return files.sha256(index)
    except (OSError, ValueError):
        return files.path(index)  # like no other


def _kind(files: Files, index: int) -> tuple[str, int]:
    """Description of a header, and bits per value."""
    if (content := files.content(index)) is not None:
        return _header_of(files.path(index), io.BytesIO(content))
    return _header(*_version(files.path(index))) if files.on_disk else ("RGB, 8 bits", 8)


def _range(files: Files, index: int) -> tuple[int, int, int, bool]:
    """Lowest and highest value, the value of white, and whether there is nothing but black and white."""
    if (content := files.content(index)) is not None:
        return _values_of(content, files.read(index), files.reading)
    if files.on_disk:
        return _values(*_version(files.path(index)), tuple(files.reading.items()))
    pixels = files.read(index)
    return *_ends(pixels), 255, False


def _version(path: str) -> tuple[str, int, int]:
    refuse_irregular(path, MAX_BYTES)
    status = os.stat(path)
    return path, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4096)  # a run that follows another in one process looks at no file twice
def _header(path: str, size: int, changed: int) -> tuple[str, int]:
    with open_regular(path) as file:
        return _header_of(path, file)


def _header_of(path: str, file: BinaryIO) -> tuple[str, int]:
    try:
        with Image.open(file) as image:
            extra, bits = extra_bands(image), depth(image)
            return f"{image.mode}, {bits} bits" + (f", {extra}" if extra else ""), bits
    except Exception as error:  # a broken header: decoders raise SyntaxError, struct.error, zlib.error and others
        raise ValueError(f"{path}: {error}") from error


@lru_cache(maxsize=4096)
def _values(path: str, size: int, changed: int, reading: tuple[tuple[str, Any], ...]) -> tuple[int, int, int, bool]:
    pixels = read_image(path, **dict(reading))  # unusable files are reported by name
    with open_regular(path) as file:
        return _values_of(file.read(), pixels, dict(reading))


def _values_of(content: bytes, pixels: Pixels, reading: Mapping[str, Any]) -> tuple[int, int, int, bool]:
    with Image.open(io.BytesIO(content)) as image:
        if depth(image) in (12, 16):
            values: Any = deep_values(image, content)
            values = values[..., :3] if values.ndim == 3 else values
            return *_ends(values), white_of(image, reading.get("white_level")), False
    low, high = _ends(pixels)
    return low, high, 255, low == 0 and high == 255 and bool(np.isin(pixels, (0, 255)).all())


def _ends(values: Any) -> tuple[int, int]:
    return int(values.min()), int(values.max())
