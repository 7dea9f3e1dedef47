"""Drawn faces with a hole, so that the page can be tried without a photograph."""

import tempfile
from pathlib import Path

import numpy as np

from datamodules.faces import draw
from experiments.app.session import data_url
from experiments.files.write import write_png
from masks import CenterRectangle, LaMaMedium, LaMaThin, Scratches, Text
from masks.generator import keyed_rng

_SIZE, _THUMBNAIL = 256, 56
_HOLES = (LaMaThin(), Scratches(), Text(), LaMaMedium(), CenterRectangle())
COUNT = len(_HOLES)
_SPLIT = 2  # of the test set: no method was trained on these


def thumbnails() -> str:
    """A button for each example, as HTML."""
    pictures = (data_url(draw(0, _SPLIT, number, _THUMBNAIL), "PNG") for number in range(COUNT))
    buttons = (
        f'<button type="button" data-number="{number}"><img alt="example {number + 1}" src="{picture}" '
        f'width="{_THUMBNAIL}" height="{_THUMBNAIL}"></button>'
        for number, picture in enumerate(pictures)
    )
    return f"<div><span>or try a drawn face:</span>{''.join(buttons)}</div>"


def example(number: int, folder: str) -> tuple[str, np.ndarray]:
    """A face in a file below ``folder``, and its hole, (H, W) of 0 and 1."""
    pixels = draw(0, _SPLIT, number, _SIZE)
    hole = _HOLES[number](_SIZE, _SIZE, keyed_rng(0, "example", number))
    file = write_png(pixels, Path(tempfile.mkdtemp(dir=folder)), f"face{number + 1}.png")
    return str(file), hole
