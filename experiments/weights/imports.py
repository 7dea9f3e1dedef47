"""``lit-inpaint import-weights``: the released weights of a paper as a checkpoint of ours."""

import argparse
import importlib
import inspect
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Any

import lightning as L
import torch

from lit_inpaint.checkpoints import FORMAT, AtomicCheckpointIO, check_bits, first_line, tell_unchecked
from lit_inpaint.foreign import pickles as restricted_pickle
from lit_inpaint.foreign import tensorflow as tensorflow_checkpoint
from lit_inpaint.foreign import torch7
from lit_inpaint.load import load_method, method_classes, stage_classes
from masks.nearest import nearest

# What converters raise for tensors that are missing, of another size or of another kind.
FOREIGN = (LookupError, RuntimeError, TypeError, AttributeError, ArithmeticError)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="lit-inpaint import-weights",
        description="Turn published weights into a checkpoint for inpaint, benchmark and fit --init_from.",
        epilog="The format is found from the names of the tensors; `lit-inpaint methods` lists what each method reads.",
    )
    p.add_argument("method", help="class name: DeepFillV2, MIGAN, ...")
    p.add_argument(
        "file",
        type=Path,
        help="the released file (.pth, .pt, .ckpt, .safetensors, .npz, .t7), or TensorFlow's folder or .index",
    )
    p.add_argument("--out", type=Path, required=True, help="the checkpoint to write (.ckpt)")
    p.add_argument("--palette", type=Path, help="ICT: kmeans_centers.npy, which belongs to the transformer's file")
    p.add_argument(
        "--mean", type=float, nargs=3, metavar=("R", "G", "B"), help="GLCIC of otenim: mpv of the run's config.json"
    )
    p.add_argument("--overwrite", action="store_true")
    return p


def main(argv: list[str]) -> int:
    a = parser().parse_args(argv)
    classes = method_classes()
    if a.method not in classes:
        raise ValueError(f"there is no method '{a.method}'. {nearest(a.method, classes)}")
    reader = weights_module(classes[a.method])
    if a.out.exists() and not a.overwrite:
        raise ValueError(f"{a.out} exists; give another --out, or --overwrite to replace it.")
    state = read_plain(a.file)
    try:
        found = reader.detect(state) if isinstance(state, dict) else None
    except FOREIGN as error:
        raise ValueError(f"{a.file} is none of the formats that {a.method} reads ({first_line(error)}).") from error
    if found is None:
        names = ", ".join(map(str, list(state)[:3])) if isinstance(state, dict) else type(state).__name__
        raise ValueError(
            f"{a.file} is none of the formats that {a.method} reads ({', '.join(classes[a.method].imports)}); "
            f"its first entries are {names}."
        )
    options = {name: given for name in ("palette", "mean") if (given := getattr(a, name)) is not None}
    if unused := [name for name in options if name not in inspect.signature(reader.convert).parameters]:
        raise ValueError(f"{a.method} has no {unused[0]}; leave --{unused[0]} out.")
    try:
        converted: dict[str, Any] = reader.convert(state, found, **options)
    except FOREIGN as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ValueError(f"{a.file} begins like {a.method} in the format '{found}', but is not ({reason}).") from error
    method = converted["method"]  # of ICT a stage
    checkpoint = {
        "method": method,
        "format": FORMAT,
        "pytorch-lightning_version": L.__version__,
        **converted,
        "source": {"format": found, "file": a.file.name},
    }
    check(stage_classes()[method], checkpoint, a.file)
    AtomicCheckpointIO().save_checkpoint(checkpoint, a.out)
    if method in classes:
        load_method(a.out)
    contract = "; ".join(f"{key}: {value}" for key, value in converted.get("contract", {}).items())
    print(f"{a.file} is {method} in the format '{found}' -> {a.out}" + (f" ({contract})" if contract else ""))
    return 0


def weights_module(cls: type) -> ModuleType:
    """weights.py beside the method, which has ``detect(state)`` and ``convert(state, format)``."""
    name = f"{cls.__module__.rpartition('.')[0]}.weights"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise ValueError(f"{cls.__name__} reads no published weights.") from None


def read_plain(path: Path) -> Any:
    """Tensors and plain values only; no code of the file is run."""
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
                print(f"{path}: left out the objects of {', '.join(skipped)}; nothing of them was run.")
        if not checked:
            tell_unchecked(path)
        return content
    except Exception as error:
        if isinstance(error, ValueError | OSError) and str(path) in str(error):
            raise
        raise ValueError(
            f"{path} cannot be read as tensors and plain values ({first_line(error)}); nothing in it was run."
        ) from error


def check(cls: type, checkpoint: dict[str, Any], path: Path) -> None:
    """Every tensor has its place and its size before anything is written."""
    with torch.device("meta"):
        own = cls(**checkpoint["hyper_parameters"]).state_dict()
    given = checkpoint["state_dict"]
    problems = [f"missing {name}" for name in own if name not in given]
    problems += [f"unexpected {name}" for name in given if name not in own]
    problems += [
        f"{name} is {tuple(given[name].shape)}, not {tuple(value.shape)}"
        for name, value in own.items()
        if name in given and given[name].shape != value.shape
    ]
    # A released generator comes without its discriminator: that one begins anew.
    missing = [name for name in own if name not in given]
    if missing and all(not name.startswith(cls.averaged) for name in missing) and len(problems) == len(missing):  # type: ignore[attr-defined]
        torch.manual_seed(0)
        fresh = cls(**checkpoint["hyper_parameters"]).state_dict()
        given.update({name: fresh[name] for name in missing})
    elif problems:
        raise ValueError(f"{path} does not fit {cls.__name__}: {len(problems)} differences, first: {problems[0]}.")
