"""Every method and every stage as a class, by name: those of the package, and what users have named."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from torch import nn

import lit_inpaint.methods
from lit_inpaint import hub, plugins
from lit_inpaint.classical import ClassicalModule, Plain, plain
from lit_inpaint.method import Method
from masks.nearest import nearest

if TYPE_CHECKING:  # a method without parameters needs no Lightning, whose import takes seconds
    from lit_inpaint.stage import Stage


def stage_classes() -> "dict[str, type[Stage]]":
    """Everything `fit` can train, by class name: all methods with parameters, and the stages of assembled ones."""
    found: dict[str, type[Stage]] = {}
    for cls in _stages():
        found.setdefault(cls.__name__, cls)
    return found


def method_classes() -> dict[str, type[Method]]:
    """Every method by class name: those of :mod:`lit_inpaint.methods` and subclasses imported by the user."""
    found: dict[str, type[Method]] = {name: getattr(lit_inpaint.methods, name) for name in lit_inpaint.methods.__all__}
    for cls in (*_below(ClassicalModule), *_stages()):
        if issubclass(cls, Method) and not issubclass(cls, Plain):
            found.setdefault(cls.__name__, cls)
    return found


def method_class(name: str) -> type[Method]:
    """A method by its class name or as ``package.module.Name``, which is imported; a plain network is wrapped.

    Raises:
        ValueError: There is no such method.
    """
    if plugins.named():
        plugins.load()
    if name in lit_inpaint.methods.__all__:
        cls: type[Method] = getattr(lit_inpaint.methods, name)  # the others are not imported
        return cls
    classes = method_classes()
    if name in classes:
        return classes[name]
    if Path(name).is_dir():
        last = Path(name, "checkpoints", "last.ckpt")
        raise ValueError(f"{name} is a folder: give {last if last.is_file() else 'a checkpoint in it'} instead.")
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", name):
        raise ValueError(f"'{name}' is neither a file nor a method. {nearest(name, classes)}")
    found = plugins.find(name)
    if is_method(found):
        return found
    if isinstance(found, type) and issubclass(found, nn.Module) and not _is_stage(found):
        return plain(found)
    raise ValueError(f"{name} is no method: expected an InpaintingModule, or an nn.Module with forward(image, mask).")


def class_of(checkpoint: dict[str, Any], path: str | Path | hub.Address) -> "type[Stage]":
    """The class that a checkpoint names; nothing is imported because a checkpoint names it.

    A class that has moved is found by its name, but for one from outside that has the name of one of ours.

    Raises:
        ValueError: Saying which flag imports it.
    """
    name, module = checkpoint["method"], checkpoint.get("module")
    named = [cls for cls in _stages() if cls.__name__ == name]
    exact = [cls for cls in named if cls.__module__ == module]
    from_outside = isinstance(module, str) and module.partition(".")[0] not in plugins.OWN
    moved = [cls for cls in named if not (from_outside and cls.__module__.startswith("lit_inpaint."))]
    if found := exact or moved:
        if from_outside and not exact:
            used = found[0].__module__
            warnings.warn(f"{path} holds a {name} of the module {module}; that of {used}, which is imported, is used.")
        return found[0]
    known = from_outside and re.fullmatch(r"\w+(\.\w+)*", str(module)) and module != "__main__"
    flag = f"--import {module if known else 'package.module'}"
    where = f" of the module {module}" if known else ""
    raise ValueError(f"{path} holds a {name}{where}, which is not imported. If you trust it, add {flag}.")


def is_method(thing: Any) -> TypeGuard[type[Method]]:
    """Whether this is a class that completes images."""
    return isinstance(thing, type) and issubclass(thing, Method) and not thing.__abstractmethods__


def known_guides() -> dict[str, str]:
    """What a method may take beside the mask, by name: a map that users draw, and one line about it."""
    return {name: what for cls in method_classes().values() for name, what in cls.guides.items()}


def import_all() -> None:
    """Every method of the package, and what users have named."""
    for name in lit_inpaint.methods.__all__:
        getattr(lit_inpaint.methods, name)
    plugins.load()


def _stages() -> "Iterator[type[Stage]]":
    """Every stage that has been imported, those of :mod:`lit_inpaint.plugins` too."""
    from lit_inpaint.evaluated import Evaluated
    from lit_inpaint.stage import Stage

    import_all()
    yield from (cls for cls in _below(Stage) if not issubclass(cls, Evaluated))


def _below(base: Any) -> Iterator[Any]:
    """The imported subclasses of a class that can be built, each level before the next."""
    pending = base.__subclasses__()
    while pending:
        cls = pending.pop(0)
        pending += cls.__subclasses__()
        if not getattr(cls, "__abstractmethods__", None):
            yield cls


def _is_stage(cls: type[nn.Module]) -> bool:
    from lit_inpaint.stage import Stage

    return issubclass(cls, Stage)
