"""Inpainting methods, and what they share.

>>> import lit_inpaint
>>> lit_inpaint.load_method("Telea").year
2004

A method is built from ``methods``, ``metrics``, ``losses``, ``layers``, ``diffusion`` and ``callbacks``. Everything
is imported at its first use, so that a command which needs no network starts without torch.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lit_inpaint import callbacks, diffusion, layers, losses, methods, metrics
    from lit_inpaint.load import load_method
    from lit_inpaint.method import Method
    from lit_inpaint.metrics import metric
    from lit_inpaint.module import InpaintingModule
    from lit_inpaint.stage import Stage

    __version__: str

__all__ = [
    "InpaintingModule",
    "Method",
    "Stage",
    "__version__",
    "callbacks",
    "diffusion",
    "layers",
    "load_method",
    "losses",
    "methods",
    "metric",
    "metrics",
]
_HOME = Path(__file__).resolve().parents[1]
_MODULES = {
    "InpaintingModule": "module", "Method": "method", "Stage": "stage", "load_method": "load", "metric": "metrics",
}  # fmt: skip

for _name in ("masks", "datamodules", "experiments"):
    _found = find_spec(_name)
    if _found and _found.origin and Path(_found.origin).resolve().parents[1] != _HOME:
        raise ImportError(
            f"{_found.origin} shadows the package '{_name}' of lit-inpaint: rename it, or start Python with -P, which "
            "keeps the folder of the script off the path."
        )


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in _MODULES:
        return getattr(import_module(f"lit_inpaint.{_MODULES[name]}"), name)
    if name in __all__:
        return import_module(f"lit_inpaint.{name}")
    raise AttributeError(f"module 'lit_inpaint' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """Version of the installed distribution, or from setup.cfg in a checkout that is not installed."""
    from configparser import ConfigParser
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("lit-inpaint")
    except PackageNotFoundError:
        setup = ConfigParser()
        setup.read(_HOME / "setup.cfg")
        return setup.get("metadata", "version", fallback="unknown")
