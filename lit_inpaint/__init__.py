"""Inpainting methods, and what they share."""

from importlib.util import find_spec
from pathlib import Path

_HOME = Path(__file__).resolve().parents[1]
for _name in ("masks", "datamodules", "experiments"):
    _found = find_spec(_name)
    if _found and _found.origin and Path(_found.origin).resolve().parents[1] != _HOME:
        raise ImportError(
            f"{_found.origin} shadows the package '{_name}' of lit-inpaint: rename it, or start Python with -P, which "
            "keeps the folder of the script off the path."
        )
