"""Thumbnails of what the methods made, small enough for one page, and how much the methods disagree on each image."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.compare.table import Row, Table

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
        budget: Bytes of page that the pictures may take. When not all fit, thumbnails shrink from 256 to 160 pixels
            first, then images are left out, the least disputed first.

    Returns:
        The images, and a line that says what was shrunk or left out.
    """
    columns = {str(i): folder for i, row in enumerate(table.rows) if (folder := _folder(row)) is not None}
    if not columns:
        return [], None
    record = next(r for row in table.rows for r in row.records if r.picture_folder())
    shared = {"input": record.picture_folder("_input"), "truth": record.picture_folder("_truth")}
    columns |= {kind: folder for kind, folder in shared.items() if folder}
    masks = record.picture_folder("_mask")
    files = {column: _files(folder) for column, folder in columns.items()}
    names = list(dict.fromkeys(name for column in sorted(files) for name in files[column]))
    if not names:
        return [], None
    hole_shares = record.data.get("hole_share") or {}

    made = {name: [files[c][name] for c in files if c not in shared and name in files[c]] for name in names}
    mask_files = _files(masks) if masks else {}
    disagreement = {name: disagree(made[name], mask_files.get(name)) for name in names}
    order = sorted(names, key=lambda name: -(disagreement[name] or 0.0))

    note = None
    probe = [(c, name) for name in order[:: max(1, len(order) // 4)][:4] for c in files if name in files[c]]
    for side_, quality in ((256, 82), (224, 78), (192, 75), (160, 75)):
        cost = np.mean([len(thumbnail(files[c][name], side_, quality)) for c, name in probe]) * len(files)
        side, fit = side_, int(budget // max(1.0, float(cost)))
        if fit >= len(order):
            break
    if fit < len(order):
        note = f"{max(1, fit)} of {len(order)} images are shown, those on which the methods disagree most."
    shown = []
    for name in order[: max(1, fit)]:
        uris = {column: thumbnail(files[column][name], side, quality) for column in files if name in files[column]}
        values = {
            str(i): {m: cell.values[name] for m, cell in row.cells.items() if name in cell.values}
            for i, row in enumerate(table.rows)
        }
        width, height = Image.open(next(files[c][name] for c in files if name in files[c])).size
        shown.append(Shown(name, uris, disagreement[name], hole_shares.get(name), values, width, height))
    return shown, note


def _folder(row: Row) -> Path | None:
    return next((folder for record in row.records if (folder := record.picture_folder())), None)


def _files(folder: Path) -> dict[str, Path]:
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


def thumbnail(path: Path, side: int, quality: int) -> str:
    """A picture as a WebP data URI, its longer side at most ``side``."""
    image = Image.open(path).convert("RGB")
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=quality, method=2)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
