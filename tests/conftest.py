"""Fixtures for real photographs, backbones and fast-starting processes."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from tests.support import processes

torch.set_num_threads(1)  # pytest-xdist runs two workers on two cores


def _folder(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value or not Path(value).is_dir():
        pytest.skip(f"{variable} does not name a folder")
    return Path(value)


@pytest.fixture(scope="session", autouse=True)
def server_of_forks() -> None:
    """All tests will need it; a few files by themselves start it when they do."""
    if processes.XDIST in os.environ:
        processes.serve()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real photographs and masks; skips without them."""
    return _folder("LIT_INPAINT_DATA")


@pytest.fixture(scope="session")
def holes20(data_dir: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Twenty photographs (1, 3, 256, 256) in [-1, 1] and their holes, on which the classics were measured."""
    pairs = []
    for path in sorted((data_dir / "holes20" / "images").glob("*.png")):
        image = torch.from_numpy(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)).permute(2, 0, 1)[None]
        mask = torch.from_numpy(cv2.imread(str(data_dir / "holes20" / "masks" / path.name), cv2.IMREAD_GRAYSCALE))
        pairs.append((image / 127.5 - 1, (mask > 127)[None, None].float()))
    assert len(pairs) == 20
    return pairs


@pytest.fixture(scope="session")
def weights_dir() -> Path:
    """Real backbones; skips without them."""
    return _folder("LIT_INPAINT_WEIGHTS")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; skips without it."""
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next((path for name in names if (path := shutil.which(name))), None)
    if chromium is None:
        pytest.skip("there is no chromium on this machine")
    flags = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=flags.split())
        yield started
        started.close()


@pytest.fixture(autouse=True)
def own_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the processes that a test lets Lightning start: two tests side by side never meet on one port."""
    monkeypatch.setenv("MASTER_PORT", str(processes.free_port()))
