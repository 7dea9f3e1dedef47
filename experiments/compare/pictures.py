"""Thumbnails of the completions, small enough for one page, and the disagreement of methods on each image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.compare.table import Row, Table
from experiments.files.markup import thumbnail

_SIZES = ((256, 82), (224, 78), (192, 75), (160, 75))  # longer side in pixels, WebP quality
_VALUE_BYTES = 130  # that a page takes for one value of one picture
Size = tuple[int, int]
Files = dict[str, Path]
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}


@dataclass
class Shown:
    """One image of the protocol: data URIs by column ('input', 'truth', row number), and its numbers."""

    name: str
    pictures: dict[str, str]
    disagreement: float | None  # grey levels
    hole_share: float | None
    values: dict[str, dict[str, float]] = field(default_factory=dict)  # column: {metric: value}
    width: int = 1  # of the first picture, so that the page keeps its place before it is drawn
    height: int = 1


def collect(table: Table, budget: int) -> tuple[list[Shown], str | None]:
    """The images of one protocol, those on which the methods disagree most first.

    Args:
        budget: Bytes of page that the images may take, pictures and values. When not all fit, thumbnails shrink from
            256 to 160 pixels first, then images are dropped, those with the least disagreement first.

    Returns:
        The images, and a line that reports what was shrunk or dropped.
    """
    made = {str(i): files_in(folder) for i, row in enumerate(table.rows) if (folder := folder_of(row)) is not None}
    record = next((r for row in table.rows for r in row.records if r.picture_folder()), None)
    if record is None:
        return [], None
    shared = {kind: folder for kind in ("input", "truth", "mask") if (folder := record.picture_folder(f"_{kind}"))}
    masks = files_in(shared.pop("mask")) if "mask" in shared else {}
    files = made | {kind: files_in(folder) for kind, folder in shared.items()}
    names = list(dict.fromkeys(name for column in sorted(files) for name in files[column]))
    if not names:
        return [], None
    disagreement = {
        name: disagree([found[name] for found in made.values() if name in found], masks.get(name)) for name in names
    }
    order = sorted(names, key=lambda name: -(disagreement[name] or 0.0))
    size, fit = _fitting(files, order, budget)
    count = min(max(1, fit), len(order))
    shown: list[Shown] = []
    for name in order[:count]:
        one = _show(name, table, files, size, disagreement[name], record.hole_share.get(name))
        budget -= sum(map(len, one.pictures.values())) + _VALUE_BYTES * sum(map(len, one.values.values()))
        if shown and budget < 0:  # the pictures that were tried are smaller than most
            break
        shown.append(one)
    note = f"{len(shown)} of {len(order)} images are shown, those on which the methods disagree most."
    return shown, note if len(shown) < len(order) else None


def _fitting(files: Mapping[str, Files], order: Sequence[str], budget: int) -> tuple[Size, int]:
    """The largest thumbnails of which all images fit, else the smallest; and how many images fit at that size."""
    probe = [found[name] for name in order[:: max(1, len(order) // 4)][:4] for found in files.values() if name in found]
    for size in _SIZES:
        cost = float(np.mean([len(thumbnail(path, *size)) for path in probe])) * len(files)
        fit = int(budget // max(1.0, cost))
        if fit >= len(order):
            break
    return size, fit


def _show(
    name: str, table: Table, files: Mapping[str, Files], size: Size, disagreement: float | None, share: float | None
) -> Shown:
    paths = {column: found[name] for column, found in files.items() if name in found}
    uris = {column: thumbnail(path, *size) for column, path in paths.items()}
    values = {
        str(i): {metric: cell.values[name] for metric, cell in row.cells.items() if name in cell.values}
        for i, row in enumerate(table.rows)
    }
    width, height = Image.open(next(iter(paths.values()))).size
    return Shown(name, uris, disagreement, share, values, width, height)


def folder_of(row: Row) -> Path | None:
    return next((folder for record in row.records if (folder := record.picture_folder())), None)


def files_in(folder: Path) -> Files:
    """Pictures by the image's name: the path inside the folder without its suffix."""
    found = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file())
    return {str(path.relative_to(folder).with_suffix("")): path for path in found}


def disagree(files: Sequence[Path], mask: Path | None) -> float | None:
    """Standard deviation between the methods, mean over the hole and the colours, in grey levels of 255.

    Without a mask over the whole image; None for fewer than two pictures.
    """
    if len(files) < 2:
        return None
    first = Image.open(files[0]).size
    stack = np.stack([np.asarray(Image.open(f).convert("RGB").resize(first), dtype=np.float32) for f in files])
    deviation = stack.std(0).mean(-1)
    hole = np.asarray(Image.open(mask).convert("L").resize(first, Image.Resampling.NEAREST)) > 127 if mask else None
    return float(deviation[hole].mean() if hole is not None and hole.any() else deviation.mean())
