"""Tensors out of old checkpoints that hold objects beside them, without running anything of the file.

``torch.load(weights_only=True)`` refuses a whole file for one OmegaConf or Lightning object in it. Here such objects
become inert :class:`LeftOut` values, tensors and plain containers are read, and every other name is refused.
"""

import collections
import pickle
import re
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch


class _Fixed:
    """A value that a pickle may use and not change: its BUILD opcode sets attributes of whatever it has been given."""

    __slots__ = ("dtype", "function")
    function: Callable[..., object] | None
    dtype: torch.dtype | None

    def __init__(self, function: Callable[..., object] | None = None, dtype: torch.dtype | None = None) -> None:
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "dtype", dtype)  # what torch.load asks the class of a storage for

    def __call__(self, *arguments: object) -> object:
        if self.function is None:
            raise pickle.UnpicklingError("it creates a storage outside a tensor")
        return self.function(*arguments)

    def __setattr__(self, name: str, value: object) -> None:
        raise pickle.UnpicklingError(f"it sets {name!a} of a function of torch")

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it changes a function of torch")


# Callables a checkpoint of tensors needs; each builds a value and does nothing else.
_PLAIN: dict[tuple[str, str], Callable[..., object]] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): collections.defaultdict,
    ("builtins", "set"): set,
    ("builtins", "dict"): dict,
    ("builtins", "list"): list,
    ("builtins", "tuple"): tuple,
    ("builtins", "int"): int,
    ("builtins", "float"): float,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch._utils", "_rebuild_tensor"): _Fixed(torch._utils._rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Fixed(torch._utils._rebuild_tensor_v2),
    ("torch._utils", "_rebuild_parameter"): _Fixed(torch._utils._rebuild_parameter),
}
# Packages whose objects training programs leave in checkpoints; they are looked at no further.
_LEFT_OUT = {"omegaconf", "pytorch_lightning", "lightning", "lightning_fabric", "numpy", "typing", "argparse",
             "pathlib", "enum", "datetime", "easydict", "yacs", "munch", "addict", "saicinpainting"}  # fmt: skip


class LeftOut:
    """Stands for an object of the file; takes whatever a pickle would give it and keeps only the name of its class."""

    name: str = ""

    def __new__(cls, *arguments: object, **options: object) -> "LeftOut":
        return super().__new__(cls)

    def __init__(self, *arguments: object, **options: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, value: object) -> None: ...

    def extend(self, values: object) -> None: ...

    def __call__(self, *arguments: object, **options: object) -> "LeftOut":
        return self

    def __repr__(self) -> str:
        return f"<left out: {self.name}>"


def load(path: Path) -> tuple[Any, list[str]]:
    """The file's content, and the names of the classes whose objects were left out.

    Raises:
        pickle.UnpicklingError: It names something that is neither a tensor, a plain container nor a known record, or it
            is a TorchScript program.
    """
    if zipfile.is_zipfile(path):
        inside = zipfile.ZipFile(path).namelist()
        if any(re.match(r"[^/]+/(code/|constants\.pkl)", name) for name in inside):
            raise pickle.UnpicklingError("it is a TorchScript program, not a checkpoint")
    skipped: dict[str, type[LeftOut]] = {}

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            module = "builtins" if module == "__builtin__" else module  # what protocol 2 writes
            if (module, name) in _PLAIN:
                return _PLAIN[module, name]
            if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
                return getattr(torch, name)
            if module in ("torch", "torch.storage") and name.endswith("Storage") and hasattr(torch, name):
                return _Fixed(dtype=getattr(getattr(torch, name), "dtype", torch.uint8))
            full = ascii(f"{module}.{name}")[1:-1]  # a name may hold escape sequences of the terminal
            if module.split(".")[0] in _LEFT_OUT:
                return skipped.setdefault(full, type(name, (LeftOut,), {"name": full}))
            raise pickle.UnpicklingError(f"it holds {full}, which is neither a tensor nor a plain value")

    def load_(file: BinaryIO, **options: Any) -> Any:
        return Unpickler(file, **options).load()

    reader = types.ModuleType("restricted_pickle")
    reader.__dict__.update(Unpickler=Unpickler, load=load_)
    content = torch.load(path, map_location="cpu", weights_only=False, pickle_module=reader)
    return content, sorted(skipped)
