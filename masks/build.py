"""From a configuration to a generator and back, without torch: the YAML form that LightningCLI reads as well."""

import dataclasses
import importlib
import inspect
from collections.abc import Mapping
from typing import Any, get_type_hints

import masks
from masks.generator import MaskGenerator
from masks.nearest import nearest


def build(config: str | Mapping[str, Any]) -> MaskGenerator:
    """A generator from what `fit` takes as ``mask``: a class, or a class with arguments, nested ones too.

    >>> build("LaMaThick"), build("masks.lama.LaMaThick")
    (LaMaThick(size=256, cap=0.5), LaMaThick(size=256, cap=0.5))
    >>> build({"class_path": "masks.Inset", "init_args": {"generator": "Half", "border": 16}})
    Inset(generator=Half(), border=16, size=512)

    Raises:
        ValueError: There is no such class, or it does not take these arguments.
    """
    if not isinstance(config, str) and "class_path" not in config:
        raise ValueError(f"{dict(config)} names no mask generator. Give class_path and, for arguments, init_args.")
    law = find_class(config if isinstance(config, str) else str(config["class_path"]))
    arguments = {} if isinstance(config, str) else config.get("init_args") or {}
    if not isinstance(arguments, Mapping):
        raise ValueError(f"init_args of {law.__name__} is {arguments!r}; expected its arguments by name.")
    allowed, hints = list(inspect.signature(law).parameters), get_type_hints(law.__init__)
    for argument in arguments:
        if argument not in allowed:
            raise ValueError(f"{law.__name__} has no argument {argument!r}. {nearest(argument, allowed)}")
    given = {argument: _value(value, hints.get(argument)) for argument, value in arguments.items()}
    try:
        return law(**given)
    except TypeError as error:
        raise ValueError(f"{law.__name__}: {error}. Its arguments are {', '.join(allowed) or 'none'}.") from error


def find_class(path: str) -> type[MaskGenerator]:
    """A mask generator by its name in ``masks.__all__``, by that of a class that has been imported, or by
    ``package.module.Class``, which is imported.

    Raises:
        ValueError: There is no such class.
    """
    name = path.removeprefix("masks.")
    module, _, last = path.rpartition(".")
    known = laws()
    found = known.get(name)
    if found is None and module:
        try:
            found = getattr(importlib.import_module(module), last, None)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # the module exists, but one of its imports does not
    if not (isinstance(found, type) and issubclass(found, MaskGenerator)):
        raise ValueError(f"{path!r} is not a mask generator. {nearest(last, known)}")
    return found


def laws() -> dict[str, type[MaskGenerator]]:
    """Ours by name, and whatever others have been imported; they do not replace one of ours."""
    found: dict[str, type[MaskGenerator]] = {name: getattr(masks, name) for name in masks.__all__}
    pending = MaskGenerator.__subclasses__()
    while pending:
        law = pending.pop(0)
        pending += law.__subclasses__()
        if not law.__module__.startswith("masks."):
            found.setdefault(law.__name__, law)
    return found


def describe(generator: MaskGenerator) -> dict[str, object]:
    """The configuration from which :func:`build` makes ``generator``: plain values, defaults written out.

    >>> describe(masks.LaMaThick())
    {'class_path': 'masks.LaMaThick', 'init_args': {'size': 256, 'cap': 0.5}}
    """
    assert dataclasses.is_dataclass(generator)
    arguments = {field.name: _plain(getattr(generator, field.name)) for field in dataclasses.fields(generator)}
    cls = type(generator)
    package = "masks" if getattr(masks, cls.__name__, None) is cls else cls.__module__
    return {"class_path": f"{package}.{cls.__qualname__}", "init_args": arguments}


def _value(value: object, hint: object) -> object:
    if isinstance(value, Mapping) or (isinstance(value, str) and MaskGenerator.__name__ in str(hint)):
        return build(value)
    return tuple(_value(item, hint) for item in value) if isinstance(value, list) else value


def _plain(value: object) -> object:
    if isinstance(value, MaskGenerator):
        return describe(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
