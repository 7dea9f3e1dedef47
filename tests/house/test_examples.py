"""Every public name has a docstring with an example, which ``make test`` runs as a doctest."""

import importlib
import inspect
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.support.house import MODULES

WITHOUT = {  # a public name that needs no example: why
    "lit_inpaint.__version__": "a string",
    "lit_inpaint.layers": "a package that exports nothing",
    "lit_inpaint.losses": "a package that exports nothing",
    "lit_inpaint.callbacks": "a package, whose names have theirs",
    "lit_inpaint.diffusion": "a package, whose names have theirs",
    "lit_inpaint.methods": "a package, whose names have theirs",
    "lit_inpaint.metrics": "a package, whose names have theirs",
    "lit_inpaint.diffusion.NoiseSchedule": "a type of strings",
    "lit_inpaint.diffusion.Variance": "a type of strings",
    "lit_inpaint.metrics.CHEAP": "a tuple of names",
    "lit_inpaint.metrics.NAMES": "a tuple of names",
    "lit_inpaint.zoo.Card": "what a file of the zoo holds",
    "lit_inpaint.zoo.CardRow": "part of a card",
    "lit_inpaint.zoo.Number": "part of a card",
    "experiments.run.Identity": "made by fit, from its parsed configuration",
    "experiments.run.Run": "a folder that fit wrote",
}


def public() -> Iterator[tuple[str, object]]:
    """Every name of every ``__all__``."""
    for package, path in sorted(MODULES.items()):
        if path.name == "__init__.py":
            module = importlib.import_module(package)
            yield from ((f"{package}.{name}", getattr(module, name)) for name in getattr(module, "__all__", ()))


def documentation(thing: object) -> str:
    """Its own docstring, not one that it inherits; of a folder that is a function, the function's."""
    if isinstance(thing, ModuleType) and callable(thing):
        _, _, path = (thing.__doc__ or "").rpartition(":func:`")
        module, _, name = path.partition("`")[0].rpartition(".")
        thing = getattr(importlib.import_module(module), name)
    own = vars(thing).get("__doc__") if inspect.isclass(thing) else getattr(thing, "__doc__", None)
    return own or ""


def test_every_public_name_has_an_example_or_a_reason():
    found = dict(public())
    without = {name for name, thing in found.items() if ">>>" not in documentation(thing)}
    assert without == set(WITHOUT)
    assert len(found) > 120


def test_make_test_runs_the_examples(pytestconfig: pytest.Config):
    assert pytestconfig.getoption("doctestmodules")
    assert {"lit_inpaint", "masks", "datamodules", "experiments"} <= set(pytestconfig.getini("testpaths"))
