"""Photographs for the commands."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules import SamplePhotos
from masks import CenterRectangle


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight crops of 128x128 of the photographs that scikit-image carries."""
    folder = tmp_path_factory.mktemp("photos")
    files = SamplePhotos(mask=CenterRectangle()).files("test")
    for number in range(8):
        pixels = np.array(Image.open(files.path(number % 3)).convert("RGB"))
        top = 40 * (number // 3)
        Image.fromarray(pixels[top : top + 128, 60:188]).save(folder / f"photo{number}.png")
    return folder
