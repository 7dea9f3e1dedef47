"""State of one browser tab, and its exchange of pictures and messages with the browser."""

import base64
import io
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

_MOST_DRAWN = 20_000_000  # characters of a painted layer


@dataclass
class Session:
    """State of one browser tab. ``uploaded`` is a mask file's hole at full size."""

    folder: str
    image: str | None = None
    height: int = 0
    width: int = 0
    shown: tuple[int, int] = (0, 0)  # height, width of the preview
    uploaded: str | None = None
    results: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The photograph's name without its ending, which every file from this page begins with; at most 120 bytes."""
        return Path(str(self.image)).stem.encode()[:120].decode(errors="ignore")


def said(error: Exception) -> str:
    """A message without the path of the page's folder."""
    text = " ".join(str(error).split())
    return text.replace(f"{tempfile.gettempdir()}{os.sep}", "")


def named(error: Exception, file: str) -> str:
    """An error about an uploaded file, with only its name."""
    return " ".join(str(error).split()).replace(file, Path(file).name)


def data_url(pixels: np.ndarray, kind: str) -> str:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, quality=90)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(content.getvalue()).decode()}"


def layer(drawn: str, shape: tuple[int, int]) -> np.ndarray:
    """A painted layer, (H, W) of 0 and 1. Data from the browser is not trusted.

    Raises:
        ValueError: It is not a PNG of the preview's size.
    """
    if not drawn:
        return np.zeros(shape, np.uint8)
    start = "data:image/png;base64,"
    if not isinstance(drawn, str) or not drawn.startswith(start) or len(drawn) > _MOST_DRAWN:
        raise ValueError("the painted layer is not a PNG made by this page; load the photograph again.")
    try:
        image = Image.open(io.BytesIO(base64.b64decode(drawn[len(start) :], validate=True)), formats=["PNG"])
        if image.size != shape[::-1]:
            raise ValueError(f"it is {image.size[0]}x{image.size[1]}, not {shape[1]}x{shape[0]}")
        return (np.asarray(image.convert("L")) > 127).astype(np.uint8)
    except Exception as error:
        raise ValueError(f"the painted layer cannot be read ({error}); load the photograph again.") from error
