"""From a name or a checkpoint to a method that is ready to complete images."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from jsonargparse import ArgumentError, ArgumentParser
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lit_inpaint import hub, plugins, recipes, renamed, zoo
from lit_inpaint.causes import cause
from lit_inpaint.checkpoints import first_line, fits, read_tensors, refuse_newer, refuse_unfit
from lit_inpaint.classes import class_of, import_all, method_class, stage_classes
from lit_inpaint.classical import Plain, unset
from lit_inpaint.memory import without_memory
from lit_inpaint.method import Method, completing

if TYPE_CHECKING:  # a method without parameters needs no Lightning, whose import takes seconds
    from lit_inpaint.module import InpaintingModule
    from lit_inpaint.stage import Stage


def load_method(
    name_or_checkpoint: str | Path, weights: Literal["ema", "raw"] = "ema", device: str | torch.device = "cpu"
) -> Method:
    """A method in evaluation mode.

    >>> load_method("PatchMatch").diverse
    True

    Args:
        name_or_checkpoint: A class name for a method without parameters ("Telea"), ``package.module.Name`` of one's own
            or of a plain network (see :class:`lit_inpaint.classical.Plain`), ``package.module.Net:net.pth`` for a plain
            network with the weights in a file, ``hf://user/name[@revision]``, ``zoo:NAME`` (:mod:`lit_inpaint.zoo`), a
            YAML with the class and arguments of a method (:mod:`lit_inpaint.recipes`), else the path of a checkpoint.
        weights: "ema" uses the EMA weights if the checkpoint has them, "raw" never does. ``loaded_weights`` of the
            returned module states which: "ema", "raw" or "none" (no parameters).

    Raises:
        ValueError: Unknown name, missing file, not a checkpoint of a method, or a method that needs one.
    """
    if weights not in ("ema", "raw"):
        raise ValueError(f"weights is {weights!r}; expected ema or raw.")
    name_or_checkpoint = os.path.expanduser(name_or_checkpoint)
    path = Path(name_or_checkpoint)
    if at := hub.address(name_or_checkpoint):
        at = hub.pinned(at)
        method: Method = built(hub.checkpoint_of(at, weights), at, weights)
    elif (entry := zoo.entry(name_or_checkpoint)) is not None:
        method = built(zoo.checkpoint_of(entry, weights), path, weights)
    elif found := plugins.with_file(str(name_or_checkpoint)):
        method = _with_weights(*found)
    elif recipes.is_recipe(path):
        cls, arguments = recipe(path)
        method = cls(**arguments)
    elif path.suffix in {".ckpt", ".pt", ".pth"} or path.is_file():
        method = built(read_checkpoint(path), path, weights)
    else:
        method = _bare(untrained_class(str(name_or_checkpoint)), str(path))
    return method.eval().to(usable(device))


def _bare(cls: type[Method], name: str) -> Method:
    """A method without arguments.

    Raises:
        ValueError: It needs some.
    """
    if missing := [*cls.needed, *(unset(cls.network_class) if issubclass(cls, Plain) else [])]:
        raise ValueError(
            f"{name} needs the argument {missing[0]}: give a YAML that holds model: {{class_path: {name}, init_args: "
            f"{{{missing[0]}: ...}}}}{', such as one of `lit-inpaint configs list`' if cls.needed else ''}."
        )
    return cls()


def untrained_class(name: str) -> type[Method]:
    """:func:`method_class` of a method that needs no checkpoint.

    Raises:
        ValueError: There is none of that name.
    """
    cls = method_class(name)
    if cls.trainable or cls.imports or cls.stages:
        make = " `lit-inpaint import-weights` makes one of published weights." if cls.imports else ""
        raise ValueError(
            f"{name} has trained parameters: give the path of one of its checkpoints instead of its name.{make}"
        )
    return cls


def recipe(path: Path) -> tuple[type[Method], dict[str, Any]]:
    """Class and arguments of the method in a YAML.

    Raises:
        ValueError: Naming the YAML and what does not suit.
    """
    class_path, arguments = recipes.read(path)
    try:
        cls = untrained_class(class_path)
        parser = ArgumentParser(exit_on_error=False)
        made = cls.network_class if issubclass(cls, Plain) else cls
        parser.add_subclass_arguments(made, "object", required=True)
        given = {"class_path": _path_of(made), "init_args": arguments}
        parsed = parser.parse_object({"object": given}).object.as_dict().get("init_args", {})
    except (ValueError, ArgumentError) as error:
        raise ValueError(f"{path}: {cause(error)}") from error
    if missing := [name for name in cls.needed if not arguments.get(name)]:
        raise ValueError(f"{path}: {class_path} needs the argument {missing[0]}, {cls.needed[missing[0]]}.")
    return cls, {name: parsed[name] for name in arguments}


def recipe_identity(path: Path) -> str:
    """What tells the completions of one YAML from those of another: class, arguments, and the files that they name."""
    cls, arguments = recipe(path)
    return json.dumps([_path_of(cls), arguments, cls.content(**arguments)], sort_keys=True)


def own_sources(method: str) -> dict[str, str]:
    """:func:`lit_inpaint.plugins.sources` of a method that is not ours, and of what its arguments name; {} of ours."""
    path, arguments = Path(method), dict[str, Any]()
    cls: type[Any]
    try:
        if recipes.is_recipe(path):
            cls, arguments = recipe(path)
        elif zoo.entry(method) is not None:
            return {}
        elif (at := hub.address(method)) or path.is_file():
            checkpoint = hub.checkpoint_of(at) if at else read_checkpoint(path)
            cls, arguments = class_of(checkpoint, at or path), checkpoint["hyper_parameters"]
        else:
            cls = method_class((plugins.with_file(method) or (method,))[0])
    except ValueError:  # said when it is loaded
        return {}
    return plugins.sources([cls.__module__]) | plugins.sources_named(arguments)


def usable(device: str | torch.device) -> torch.device:
    """
    Raises:
        ValueError: There is no such device on this machine.
    """
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # an AssertionError where torch was built without CUDA
        count = torch.cuda.device_count()
        there = ", ".join(["cpu", *(f"cuda:{index}" for index in range(count))])
        raise ValueError(f"device '{device}' cannot be used ({first_line(error)}). There are: {there}.") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The plain content of a checkpoint with verified checksums; no code in the file is run."""
    checkpoint = read_tensors(path)
    refuse_newer(checkpoint, path)
    kinds = {"method": str, "state_dict": dict, "hyper_parameters": dict}
    if not isinstance(checkpoint, dict) or any(not isinstance(checkpoint.get(k), v) for k, v in kinds.items()):
        raise ValueError(
            f"{path} is not a checkpoint written by lit-inpaint. Use `lit-inpaint import-weights` to convert the "
            "released weights of a paper."
        )
    return checkpoint


def read_training(path: Path) -> dict[str, Any]:
    """:func:`read_checkpoint`, or what Lightning has saved of a module that is none of ours, which names no method."""
    checkpoint = read_tensors(path)
    if isinstance(checkpoint, dict) and "method" not in checkpoint and "pytorch-lightning_version" in checkpoint:
        return checkpoint
    return read_checkpoint(path)


def read_weights(path: Path) -> dict[str, Any]:
    """:func:`read_checkpoint`, or what ``zoo:NAME`` holds of one.

    Raises:
        ValueError: See there.
    """
    name = zoo.entry(path)
    return read_checkpoint(path) if name is None else zoo.checkpoint_of(name)


def hyper_parameters(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The constructor's arguments that a checkpoint holds, without Lightning's own entries."""
    own = {k: v for k, v in checkpoint.get("hyper_parameters", {}).items() if not str(k).startswith("_")}
    cls = stage_classes().get(checkpoint.get("method", ""))
    return renamed.arguments([base.__name__ for base in cls.__mro__], own) if cls else own


def built(
    checkpoint: dict[str, Any], path: Path | hub.Address, weights: Literal["ema", "raw"] = "ema"
) -> "InpaintingModule":
    """The method that a checkpoint's content describes; errors name ``path``."""
    from lit_inpaint.module import InpaintingModule

    cls, name = class_of(checkpoint, path), checkpoint["method"]
    if not issubclass(cls, InpaintingModule):
        raise ValueError(f"{path} holds a {name}, a stage, which completes no image.")
    arguments = hyper_parameters(checkpoint)
    try:
        with plugins.nothing_imported_for(arguments):
            method: InpaintingModule = _instantiate(cls, {"class_path": _path_of(cls), "init_args": arguments})
        method.weights = weights
        method.on_load_checkpoint(checkpoint)
        if problems := fits(checkpoint["state_dict"], wanted(checkpoint, method)):
            raise ValueError(f"{len(problems)} differences, first: {problems[0]}")
        method.load_state_dict(checkpoint["state_dict"], strict=False)
    except Exception as error:  # whatever does not suit: arguments, tensors, averaged weights
        raise ValueError(f"{path} does not fit {name}: {cause(error)}") from error
    return method


def wanted(checkpoint: dict[str, Any], method: "Stage") -> dict[str, Tensor]:
    """The tensors of a method that a checkpoint must have: what training alone needs is not in the zoo."""
    state = method.state_dict()
    return completing(state) if checkpoint.get("partial") else state


def _with_weights(name: str, path: Path) -> Method:
    """A plain network with the state dict of a file, in which no code is run.

    Raises:
        ValueError: A class that is none, or tensors that do not fit it.
    """
    cls = method_class(name)
    if not issubclass(cls, Plain):
        raise ValueError(f"{name} is no plain network: its checkpoint names its class, so give {path} alone.")
    method = _bare(cls, name)
    assert isinstance(method, Plain)
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" and path.is_file() else read_tensors(path)
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read ({' '.join(str(error).split())}).") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds no state dict; write one with torch.save(network.state_dict(), path).")
    refuse_unfit(state, method.network.state_dict(), path, name)
    method.network.load_state_dict(state)
    method.loaded_weights = "raw"
    return method


def described(cls: "type[Stage]", arguments: dict[str, Any], path: Path) -> dict[str, Any]:
    """``arguments`` from a checkpoint as a configuration's ``model``.

    Raises:
        ValueError: Naming the checkpoint: the class does not take them.
    """
    spec = {"class_path": _path_of(cls), "init_args": arguments}
    try:
        with plugins.nothing_imported_for(arguments):
            without_memory(lambda: _instantiate(cls, spec))
    except Exception as error:
        raise ValueError(f"{path} does not fit {cls.__name__}: {cause(error)}") from error
    return spec


def instantiate(base: type, spec: dict[str, Any]) -> Any:
    """An object of ``base`` or a subclass from {class_path, init_args}, as the command line makes it.

    Raises:
        ValueError: Unknown class or argument, in the innermost words of the cause.
    """
    import_all()
    try:
        return _instantiate(base, spec)
    except ArgumentError as error:
        raise ValueError(f"{spec.get('class_path')}: {cause(error)}") from error


def _instantiate(base: type, spec: dict[str, Any]) -> Any:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(base, "object")
    return parser.instantiate_classes(parser.parse_object({"object": spec})).object


def _path_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
