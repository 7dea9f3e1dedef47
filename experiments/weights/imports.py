"""``lit-inpaint import-weights``: convert a paper's released weights to a checkpoint."""

import importlib
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Any

import lightning as L
import torch

from experiments.weights import options
from lit_inpaint.checkpoint_io import AtomicCheckpointIO
from lit_inpaint.checkpoints import (
    FORMAT,
    Converted,
    check_bits,
    first_line,
    refuse_unfit,
    tell_unchecked,
)
from lit_inpaint.classes import method_class, method_classes, stage_classes
from lit_inpaint.foreign import pickles as restricted_pickle
from lit_inpaint.foreign import pipeline_folder, torch7
from lit_inpaint.foreign import tensorflow as tensorflow_checkpoint
from lit_inpaint.load import load_method
from lit_inpaint.memory import without_memory
from lit_inpaint.method import Method, completing
from lit_inpaint.stage import Stage
from masks.nearest import nearest

# What converters raise for tensors that are missing, of another size or of another kind.
FOREIGN = (LookupError, RuntimeError, TypeError, AttributeError, ArithmeticError)


def main(argv: list[str]) -> int:
    name = next((word for word in argv if not word.startswith("-")), "")
    with suppress(ValueError):  # one's own is imported, for the options of its converter
        method_class(name)
    a = options.import_weights(_reader_options()).parse_args(argv)
    classes = method_classes()
    if a.method not in classes and "." not in a.method:
        raise ValueError(f"there is no method '{a.method}'. {nearest(a.method, classes)}")
    cls = method_class(a.method)
    reader = weights_module(cls)
    if a.out.exists() and not a.overwrite:
        raise ValueError(f"{a.out} exists; give another --out, or --overwrite to replace it.")
    state = read_plain(a.file)
    try:
        found = reader.detect(state) if isinstance(state, dict) else None
    except FOREIGN as error:
        raise ValueError(f"{a.file} has none of the formats that {a.method} reads ({first_line(error)}).") from error
    if found is None:
        names = ", ".join(map(str, list(state)[:3])) if isinstance(state, dict) else type(state).__name__
        raise ValueError(
            f"{a.file} has none of the formats that {a.method} reads ({', '.join(cls.imports)}); "
            f"its first entries are {names}."
        )
    chosen = {name: given for name in _reader_options() if (given := getattr(a, name)) is not None}
    if unused := [options.flag(name) for name in chosen if name not in getattr(reader, "OPTIONS", {})]:
        raise ValueError(f"{a.method} takes no {unused[0]}; omit it.")
    try:
        converted: Converted = reader.convert(state, found, **chosen)
    except FOREIGN as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ValueError(f"{a.file} looks like {a.method} in the format '{found}' but is not ({reason}).") from error
    method = converted["method"]  # or a stage of it
    made = {one.__name__: one for one in (cls, *cls.stages.values())}.get(method) or stage_classes()[method]
    checkpoint: dict[str, Any] = {
        "method": method,
        "module": made.__module__,
        "format": FORMAT,
        "pytorch-lightning_version": L.__version__,
        **converted,
        "source": {"format": found, "file": a.file.name},
    }
    check(made, checkpoint, a.file)
    AtomicCheckpointIO().save_checkpoint(checkpoint, a.out)
    if issubclass(made, Method):
        load_method(a.out)
    contract = "; ".join(f"{key}: {value}" for key, value in converted.get("contract", {}).items())
    print(f"{a.file} is {method} in the format '{found}' -> {a.out}" + (f" ({contract})" if contract else ""))
    return 0


def _reader_options() -> dict[str, dict[str, Any]]:
    """What ``convert`` of a weights.py takes beside the file: arguments of argparse by name, in its ``OPTIONS``."""
    found: dict[str, dict[str, Any]] = {}
    for cls in method_classes().values():
        if vars(cls).get("imports"):  # a subclass inherits the names, not the module
            with suppress(ValueError):  # one's own without a module: said if it is asked for
                found |= getattr(weights_module(cls), "OPTIONS", {})
    return found


def weights_module(cls: type) -> ModuleType:
    """weights.py beside the method, which has ``detect(state)`` and ``convert(state, format)``."""
    package = cls.__module__.rpartition(".")[0]
    name = f"{package}.weights"
    try:
        if package:
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise ValueError(f"{name} cannot be imported: {error}.") from error
    missing = name if package else f"weights.py beside it, because {cls.__module__} is in no package"
    raise ValueError(f"{cls.__name__} reads no published weights: there is no {missing}.")


def read_plain(path: Path) -> Any:
    """Load tensors and plain values only; no code in the file is run."""
    if pipeline_folder.is_pipeline(path):
        return pipeline_folder.read(path)
    if tensorflow_checkpoint.is_checkpoint(path):
        return tensorflow_checkpoint.read(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}.")
    if path.suffix == ".t7":
        return torch7.read(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if path.suffix == ".npz":
            import numpy as np

            return {key: torch.from_numpy(value) for key, value in np.load(path, allow_pickle=False).items()}
        checked = check_bits(path)
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=checked)
        except UnpicklingError:  # an object beside the tensors
            content, skipped = restricted_pickle.load(path)
            if skipped:
                print(f"{path}: skipped the objects of {', '.join(skipped)}; none of their code was run.")
        if not checked:
            tell_unchecked(path)
        return content
    except Exception as error:
        if isinstance(error, ValueError | OSError) and str(path) in str(error):
            raise
        raise ValueError(
            f"{path} cannot be read as tensors and plain values ({first_line(error)}); none of its code was run."
        ) from error


def check(cls: type[Stage], checkpoint: dict[str, Any], path: Path) -> None:
    """Check that every tensor has a place and the right size before anything is written."""
    own = without_memory(lambda: cls(**checkpoint["hyper_parameters"])).state_dict()
    given = checkpoint["state_dict"]
    # A released generator comes without its discriminator: it starts from scratch.
    missing = [name for name in own if name not in given]
    if missing and not completing({name: own[name] for name in missing}):
        torch.manual_seed(0)
        fresh = cls(**checkpoint["hyper_parameters"]).state_dict()
        given = given | {name: fresh[name] for name in missing}
    refuse_unfit(given, own, path, cls.__name__)
    checkpoint["state_dict"] = given
