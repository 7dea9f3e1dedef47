"""The parser of fit, validate, test and predict: errors are one line that names what is allowed."""

import inspect
import re
from abc import ABCMeta
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import lightning as L
from jsonargparse import ActionConfigFile, Namespace, set_loader  # type: ignore[attr-defined]
from jsonargparse._loaders_dumpers import get_loader_exceptions
from jsonargparse._optionals import get_omegaconf_loader
from lightning.pytorch.cli import LightningArgumentParser

import datamodules
from experiments.files.read import Plain
from experiments.files.variables import deferred
from experiments.train.arguments import config_text
from experiments.train.checks import package_missing
from lit_inpaint import renamed
from lit_inpaint.classes import method_classes, stage_classes
from lit_inpaint.classical import ClassicalModule
from masks.build import laws
from masks.nearest import nearest

OPTIONS = (
    "config", "print_config", "trainer", "model", "data", "seed_everything", "ckpt_path", "init_from", "init_strict",
    "weights", "import", "allow_changes", "val_metrics",
)  # fmt: skip
MODE = "omegaconf+"  # of Parser: interpolations follow what a later file or the command line overrides
_load: Callable[[str], Any] = get_omegaconf_loader(MODE)  # type: ignore[no-untyped-call]


def _read(text: str) -> Any:
    """A file, a nested one too, with the class paths of before and with variables; a saved configuration, which comes
    as JSON, has had its variables replaced: a ``$`` that is left belongs to a name."""
    content = _load(renamed.class_paths(text))
    return content if text.startswith(' {"') else deferred(content)


set_loader(MODE, _read, get_loader_exceptions("yaml"))


class Mistake(ValueError):
    """A user error, reported in one line."""


class _FindConfig(ActionConfigFile):
    """``--config``: built-in configurations by name, and saved ones resolved to their run folder."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        super().__call__(parser, cfg, config_text(values, parser.fitting), option_string)  # type: ignore[no-untyped-call]


class _Bases(ABCMeta):
    def __subclasses__(cls) -> list[type]:
        return [L.LightningModule, ClassicalModule]

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, (L.LightningModule, ClassicalModule))

    def __instancecheck__(cls, other: object) -> bool:
        return isinstance(other, L.LightningModule | ClassicalModule)


class Model(metaclass=_Bases):
    """What --model takes: a LightningModule, or a method without parameters, of which `test` makes one."""


class Parser(LightningArgumentParser):
    """Reports the innermost cause of an error and the nearest allowed name, where jsonargparse prints 45 lines.

    ``written`` is the configuration of a subcommand before its interpolations are resolved: a saved one keeps them.
    """

    written: Plain | None = None
    classes: tuple[str, ...] = ()  # of the parser of one class: its name and those of its bases

    def __init__(self, *args: Any, fitting: bool = False, **kwargs: Any) -> None:
        """``fitting``: see :func:`experiments.train.arguments.config_text`."""
        super().__init__(*args, **kwargs)
        self.fitting = fitting

    def add_argument(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("action") is ActionConfigFile:
            kwargs["action"] = _FindConfig
        return super().add_argument(*args, **kwargs)

    def add_lightning_class_args(
        self, lightning_class: Any, nested_key: str, subclass_mode: bool = False, required: bool = True
    ) -> Any:
        if nested_key == "model":
            _ = datamodules.InpaintingDataModule, method_classes()  # short names are those of what is imported
            return self.add_subclass_arguments(Model, nested_key, fail_untyped=False, required=required)
        return super().add_lightning_class_args(lightning_class, nested_key, subclass_mode, required)

    def add_class_arguments(self, theclass: Any, *args: Any, **kwargs: Any) -> Any:
        self.classes = tuple(cls.__name__ for cls in getattr(theclass, "__mro__", ()))
        return super().add_class_arguments(theclass, *args, **kwargs)

    def parse_object(self, obj: Any, *args: Any, **kwargs: Any) -> Namespace:
        """Values for one class from files and the command line, and the defaults."""
        given = vars(obj) if isinstance(obj, Namespace) else obj
        parsed: Namespace = super().parse_object(renamed.arguments(self.classes, given), *args, **kwargs)
        return parsed

    def _parse_common(self, cfg: Namespace, *args: Any, **kwargs: Any) -> Namespace:
        if cfg.get("subcommand") and "${" in str(cfg):
            self.written = cfg[cfg.subcommand].clone().as_dict()
        return super()._parse_common(cfg, *args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        cause: BaseException | None = ex
        while cause is not None:  # the parser of a class has explained it already; the outer ones only nest it
            if isinstance(cause, Mistake):
                raise cause
            cause = cause.__cause__ or cause.__context__
        raise Mistake(self._explain(message)) from ex

    def _explain(self, message: str) -> str:
        if match := re.search(r"[Oo]ption '([\w.]+)'|unrecognized arguments: -*([\w.]+)", message):
            key = match.group(1) or match.group(2)
            if self.classes[:1] == ("LightningDataModule",):
                return _unnamed("data", key)
            if key.startswith("trainer."):
                allowed = set(inspect.signature(L.Trainer.__init__).parameters) - {"self"}
            elif "." in key or not self.subcommands_of_fit():
                allowed = {action.dest.split(".")[0] for action in self._actions} - {"help", "optimisation"}
            elif key != "seed" and (place := _one_level_below(key)):
                return f"there is no setting '{key}'. Did you mean '{place}'?"
            else:
                allowed = set(OPTIONS)
            if "." in key and key.split(".")[0] not in {"trainer", "model", "data"}:
                key, allowed = key.split(".")[0], {"trainer", "model", "data"}
            return f"there is no setting '{key}'. {nearest(key.split('.')[-1], allowed)}"
        if match := re.search(r"train\.parser\.Model does not correspond(?s:.*)NestedArg\(key='([\w.]+)'", message):
            return _unnamed("model", match.group(1))
        if missing := package_missing(message):
            return missing
        if match := re.search(r"following arguments are required: (.+)", message):
            return self._required(match.group(1).split(", "))
        keys = re.findall(r'[Pp]arser key "([\w.]+)"', message)
        if match := re.search(r"Expected a <class '([\w.]+)'>. Got value: (.*)", message):
            return f"{keys[-1] if keys else 'a setting'} must be {match.group(1)}, given {match.group(2)}."
        if re.search(r"Expected an instantiatable class, but [\w.]+ is abstract", message):
            return f"{keys[-1]} needs a class first: name one before its arguments."
        if match := re.search(r"Expected a (?:path but|dot import path string:) (\S+)", message):
            found = _classes_for(keys[-1] if keys else "")
            return f"there is no class '{match.group(1)}' for '{keys[-1]}'. {nearest(match.group(1), found)}"
        return " ".join(message.split())

    def _required(self, keys: list[str]) -> str:
        if self.classes:
            return f"{self.classes[0]} needs {', '.join(keys)}: required in its init_args."
        words = " and ".join("--" + key.rpartition(".")[2] for key in keys) + (" is" if len(keys) == 1 else " are")
        return f"{words} required, or a --config that sets them; `lit-inpaint configs list` shows those installed."

    def subcommands_of_fit(self) -> bool:
        """Whether this is the parser of the whole command, not that of one class."""
        return any(action.dest in {"subcommand", "trainer", "seed_everything"} for action in self._actions)


def _unnamed(what: str, key: str) -> str:
    """An argument was given of a class that was not."""
    if key == "class_path":
        return f"arguments of {what} stand in init_args: {what}: {{class_path: NAME, init_args: {{...}}}}."
    example = "ImageFolder" if what == "data" else min(stage_classes())
    return f"--{what}.{key} needs a class first: give --{what} NAME before it, such as --{what} {example}."


def _one_level_below(key: str) -> str | None:
    """Where a setting that was given without its section stands."""
    data = datamodules.InpaintingDataModule
    sections: dict[str, Iterable[type]] = {"trainer": [L.Trainer], "data.init_args": {data, *_subclasses(data)}}
    sections["model.init_args"] = stage_classes().values()
    for section, classes in sections.items():
        if any(key in inspect.signature(cls).parameters for cls in classes):
            return f"{section}.{key}"
    return None


def _classes_for(key: str) -> set[str]:
    if key == "model":
        return {*stage_classes(), *method_classes()}
    modules = {cls.__name__ for cls in _subclasses(datamodules.InpaintingDataModule)}
    return {*datamodules.__all__, *modules} if key == "data" else set(laws())


def _subclasses(cls: type) -> set[type]:
    children: list[type] = cls.__subclasses__()
    return {found for child in children for found in (child, *_subclasses(child))}
