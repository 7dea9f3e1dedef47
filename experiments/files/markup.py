"""Tables and pictures as HTML, for notebooks."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are markup already.

    >>> table(["a"], [["<b>1</b>"]])
    '<table><thead><tr><th>a</th></tr></thead><tbody><tr><td><b>1</b></td></tr></tbody></table>'
    """
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr></thead><tbody>{body}</tbody></table>"


def panel(pictures: Mapping[str, Sequence[Path]], side: int = 160) -> str:
    """A row of pictures under each name; files that are missing are left out."""
    rows = []
    for name, files in pictures.items():
        shown = [f'<img src="{thumbnail(file, side, 78)}" alt="{escape(name)}">' for file in files if file.is_file()]
        rows += [[escape(name), *shown]] if shown else []
    return table([], rows) if rows else ""


def thumbnail(path: Path, side: int, quality: int) -> str:
    """A picture as a WebP data URI, its longer side at most ``side``."""
    image = Image.open(path).convert("RGB")
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=quality, method=2)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
