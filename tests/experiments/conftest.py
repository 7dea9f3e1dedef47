"""Photographs for the commands, and a Hub on loopback."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules import SamplePhotos
from masks import CenterRectangle
from tests.support.hub_server import TOKEN, Hub, hub_server


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


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub on loopback for the client of this process, which is logged in and has an empty cache."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs the extra `hub`")
    with hub_server() as server:
        for name, value in {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "NO_PROXY": "127.0.0.1,localhost"}.items():
            monkeypatch.setenv(name, value)
        settings = {
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_TOKEN_PATH": str(tmp_path / "token"),
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_OFFLINE": False,
            "DOWNLOAD_CHUNK_SIZE": 1024,
        }
        for name, value in settings.items():
            monkeypatch.setattr(constants, name, value)
        yield server
