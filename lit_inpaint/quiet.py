"""diffusers and transformers without their progress bars, which a log or a table of ours does not want."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def without_bars(*libraries: str) -> Iterator[None]:
    """Turn off the bars of "diffusers" or "transformers" and, where they were on, on again; warnings stay."""
    said = [import_module(f"{library}.utils.logging") for library in libraries]
    on = [module for module in said if module.is_progress_bar_enabled()]
    for module in on:
        module.disable_progress_bar()
    try:
        yield
    finally:
        for module in on:
            module.enable_progress_bar()
