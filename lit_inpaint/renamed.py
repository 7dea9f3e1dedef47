"""Old names of arguments, logged keys and classes, and the names that they are read as (docs/stability.md).

A rename adds a line here. Checkpoints, YAMLs, command lines and metrics.csv with the old name are then read as if they
had the new one, with one warning a name.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

ARGUMENTS: dict[str, dict[str, str]] = {  # of constructors, by class; subclasses inherit them
    "AOTGAN": {"critic_width": "discriminator_width"},
    "ContextEncoder": {"lr": "learning_rate", "discriminator_lr": "discriminator_learning_rate"},
    "DDPM": {"lr": "learning_rate"},
    "DeepFillV1": {
        "critic_width": "discriminator_width", "critic_updates": "discriminator_updates", "lr": "learning_rate",
    },
    "DeepFillV2": {"critic_width": "discriminator_width"},
    "DSITexture": {"critic_width": "discriminator_width"},
    "GLCIC": {"critic_steps": "discriminator_steps"},
    "ICTUpsampler": {
        "critic_width": "discriminator_width", "critic_learning_rate": "discriminator_learning_rate",
    },
    "LaMa": {"critic_width": "discriminator_width", "critic_learning_rate": "discriminator_learning_rate"},
    "PartialConv": {"lr": "learning_rate"},
}  # fmt: skip
KEYS = {  # logged by every method
    "train/critic": "train/discriminator_loss",
    "train/critic_global": "train/discriminator_global_loss",
    "train/critic_local": "train/discriminator_local_loss",
    "train/generator": "train/generator_loss",
}
KEYS_OF_CLASS = {  # logged by these alone: with two optimisers "the loss" is the generator's
    name: {"train/loss": "train/generator_loss"} for name in ("ContextEncoder", "DeepFillV1", "GLCIC", "ICTUpsampler")
}
CLASSES = {
    "experiments.predictions.WritePredictions": "experiments.train.predictions.WritePredictions",
    "experiments.run_folder.RunRecord": "experiments.train.config.RunRecord",
    "experiments.run_folder.RunWandbLogger": "experiments.run.loggers.RunWandbLogger",
    "experiments.run_folder.SegmentedCSVLogger": "experiments.run.loggers.SegmentedCSVLogger",
    "experiments.status.Status": "experiments.train.status.Status",
    "lit_inpaint.checkpoints.AtomicCheckpointIO": "lit_inpaint.checkpoint_io.AtomicCheckpointIO",
}
_CLASS = re.compile(rf"(?<![\w./])(?:{'|'.join(map(re.escape, CLASSES))})(?![\w.])")
_KEY = re.compile(r"(?<![\w/])train/\w+")


@cache
def _tell(old: str, new: str) -> None:
    from lightning.pytorch.utilities.rank_zero import rank_zero_warn  # slow, and seldom needed

    rank_zero_warn(f"{old} is now called {new}; the old name is read until version 0.4.", category=FutureWarning)


def arguments(classes: Iterable[str], given: Mapping[str, object]) -> dict[str, object]:
    """``given`` under the present names; ``classes``: names of the class and of its bases.

    >>> arguments(["LaMa"], {"critic_width": 8}), arguments(["Mine"], {"lr": 0.1})
    ({'discriminator_width': 8}, {'lr': 0.1})
    """
    table = {old: new for name in classes for old, new in ARGUMENTS.get(name, {}).items()}
    for old in table.keys() & given.keys():
        _tell(old, table[old])
    return {table.get(key, key): value for key, value in given.items()}


def words(classes: Iterable[str], given: Iterable[str]) -> list[str]:
    """Words of a command line (``--name=value``, ``name=value``) for a class.

    >>> words(["LaMa"], ["--critic_width=8", "blocks=2"])
    ['--discriminator_width=8', 'blocks=2']
    """
    classes, out = list(classes), []
    for word in given:
        dashes, name, rest = re.fullmatch(r"(-*)(\w*)(.*)", word, re.DOTALL).groups()  # type: ignore[union-attr]
        out.append(dashes + next(iter(arguments(classes, {name: None}))) + rest)
    return out


def logged(key: str, method: str | None = None) -> str:
    """A key of metrics.csv under its present name; ``method`` is the class that logged it.

    >>> logged("train/critic"), logged("train/loss"), logged("train/loss", "GLCIC")
    ('train/discriminator_loss', 'train/loss', 'train/generator_loss')
    """
    table = KEYS | KEYS_OF_CLASS.get(method or "", {})
    if key in table:
        _tell(key, table[key])
    return table.get(key, key)


def class_paths(text: str) -> str:
    """``text`` (a YAML, a word of a command line) in which every class stands under its present path."""

    def present(match: re.Match[str]) -> str:
        _tell(match[0], CLASSES[match[0]])
        return CLASSES[match[0]]

    return _CLASS.sub(present, text)


def configuration(config: Any, method: str | None = None) -> Any:
    """A parsed configuration (a copy) under present names: class paths, arguments of the model, keys that are watched.

    Args:
        config: Mappings, lists and plain values.
        method: Class of the model, once it is known.
    """
    if isinstance(config, str):
        return class_paths(config)
    if isinstance(config, list):
        return [configuration(value, method) for value in config]
    if not isinstance(config, dict):
        return config
    model = config.get("model")
    method = _last_name(model["class_path"]) if isinstance(model, dict) and "class_path" in model else method
    out = {key: configuration(value, method) for key, value in config.items()}
    if isinstance(out.get("init_args"), dict):
        out["init_args"] = arguments([_last_name(out.get("class_path"))], out["init_args"])
    return out | {key: watched(out[key], method) for key in out.keys() & {"callbacks", "callbacks+"}}


def watched(value: object, method: str | None) -> object:
    """A copy of a callback's arguments (``monitor``, ``filename``) with logged keys under their current names."""
    if isinstance(value, str):
        return _KEY.sub(lambda match: logged(match[0], method), value)
    if isinstance(value, list):
        return [watched(inner, method) for inner in value]
    return {key: watched(inner, method) for key, inner in value.items()} if isinstance(value, dict) else value


def checkpoint(content: Any) -> Any:
    """What was read from a file, changed in place if it is a checkpoint of ours: hyperparameters, the states of
    callbacks (their keys quote what they monitor), values that a resume logs, and the identity that it compares."""
    if not isinstance(content, dict) or not isinstance(content.get("hyper_parameters"), dict):
        return content
    if not isinstance(method := content.get("method"), str):
        return content
    content["hyper_parameters"] = arguments([method], content["hyper_parameters"])
    if isinstance(states := content.get("callbacks"), dict):
        content["callbacks"] = {watched(name, method): state for name, state in states.items()}
    if isinstance(restart := content.get("restart"), dict) and isinstance(restart.get("values"), dict):
        restart["values"] = {logged(key, method): value for key, value in restart["values"].items()}
    run = content.get("run")
    if isinstance(run, dict) and isinstance(facts := run.get("identity"), dict):
        new = {f"model.init_args.{old}": f"model.init_args.{name}" for old, name in ARGUMENTS.get(method, {}).items()}
        facts = {new.get(key, key): value for key, value in facts.items()}
        run["identity"] = {k: watched(v, method) if k.startswith("trainer.callbacks.") else v for k, v in facts.items()}
    return content


def _last_name(path: object) -> str:
    return str(path).rpartition(".")[2]
