"""Where tests find real photographs and backbones, and processes that start fast."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # pytest-xdist runs two workers on two cores


def _folder(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value or not Path(value).is_dir():
        pytest.skip(f"{variable} does not name a folder")
    return Path(value)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real photographs and masks; skips without them."""
    return _folder("LIT_INPAINT_DATA")


@pytest.fixture(scope="session")
def weights_dir() -> Path:
    """Real backbones; skips without them."""
    return _folder("LIT_INPAINT_WEIGHTS")
