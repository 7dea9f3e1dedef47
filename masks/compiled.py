"""Compilation by numba, in the lowest package so that all packages share it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def compiled(function: Callable[..., Any]) -> Any:
    """Compile with numba at the first call: once per user, or once per process if no cache can be written.

    The cache lies in ``$XDG_CACHE_HOME/lit-inpaint`` (``~/.cache``), not beside the source as numba's own, which would
    outlive the package. NUMBA_CACHE_DIR goes before it.
    """
    import numba  # seconds that Telea does without

    settings: Any = numba.config  # untyped
    given = settings.CACHE_DIR
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    try:
        settings.CACHE_DIR = given or str(Path(home, "lit-inpaint", "numba"))  # read by this call alone
        return numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # a read-only install and a read-only home: numba finds no place for its cache
        return numba.njit(error_model="numpy")(function)
    finally:
        settings.CACHE_DIR = given
