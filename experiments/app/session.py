"""State of one browser tab, and its exchange of pictures and messages with the browser."""

import base64
import io
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

_MOST_DRAWN = 20_000_000  # characters of a painted layer
_FOLDERS = re.compile(r"(?<![\w.:/~])/(?:[^\s/]+/)*(?=[^\s/])")
_HERE = {  # advice of the command line: what the page has
    r"State from which value .* or save": "Save",
    r"State which side of (the alpha channel is the hole), .* on the command line\)": r"State below which side of \1",
    r"Set bands to rgb .* or save": "Save",
    r"--tile": "window",
}


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


def said(error: object) -> str:
    """A message in the words of this page: of paths only the names, of command-line options what to do here.

    >>> said(ValueError("/srv/photos/a.png: no such file."))
    'a.png: no such file.'
    """
    text = " ".join(str(error).split()) or type(error).__name__
    text = _FOLDERS.sub("", text.replace(f"{tempfile.gettempdir()}{os.sep}", os.sep))
    for advice, here in _HERE.items():
        text = re.sub(advice, here, text)
    return text


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
