"""From a configuration to a generator and back, without torch: the YAML form that LightningCLI reads as well."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import masks
from masks.generator import MaskGenerator
from masks.nearest import nearest


def build(config: str | Mapping[str, Any]) -> MaskGenerator:
    """A generator from a class name or ``{class_path: masks.LaMaThick, init_args: {size: 512}}``, nested ones too.

    >>> build("LaMaThick")
    LaMaThick(size=256, cap=0.5)
    >>> build({"class_path": "masks.Inset", "init_args": {"generator": {"class_path": "masks.Half"}, "border": 16}})
    Inset(generator=Half(), border=16, size=512)
    """
    path = config if isinstance(config, str) else str(config.get("class_path"))
    arguments = {} if isinstance(config, str) else dict(config.get("init_args") or {})
    name = path.removeprefix("masks.")
    if name not in masks.__all__:
        raise ValueError(f"{path!r} is no mask generator. {nearest(name, masks.__all__)}")
    generator = getattr(masks, name)
    fields = [field.name for field in dataclasses.fields(generator)]
    for argument in arguments:
        if argument not in fields:
            raise ValueError(f"{name} has no argument {argument!r}. {nearest(argument, fields)}")
    try:
        built: MaskGenerator = generator(**{argument: _value(value) for argument, value in arguments.items()})
    except TypeError as error:
        raise ValueError(f"{name}: {error}. Its arguments are {', '.join(fields) or 'none'}.") from error
    return built


def describe(generator: MaskGenerator) -> dict[str, Any]:
    """The configuration from which :func:`build` makes ``generator``: plain values, defaults written out.

    >>> describe(masks.LaMaThick())
    {'class_path': 'masks.LaMaThick', 'init_args': {'size': 256, 'cap': 0.5}}
    """
    assert dataclasses.is_dataclass(generator)
    arguments = {field.name: _plain(getattr(generator, field.name)) for field in dataclasses.fields(generator)}
    return {"class_path": f"masks.{type(generator).__name__}", "init_args": arguments}


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return build(value)
    return tuple(_value(item) for item in value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, MaskGenerator):
        return describe(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
