"""Torch7's files (``torch.save`` of Lua, binary, little-endian, 8-byte long) as plain values, running nothing of them.

The format is that of File.lua and of each tensor's and storage's ``write`` in torch/torch7.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_NIL, _NUMBER, _STRING, _TABLE, _TORCH, _BOOLEAN = range(6)
_KINDS = {"Double": "<f8", "Float": "<f4", "Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1", "Byte": "u1",
          "Cuda": "<f4", "CudaDouble": "<f8"}  # fmt: skip
_DEEPEST = 200  # a network nests some ten levels


def read(path: Path) -> Any:
    """Tables as dicts (Lua's 1, 2, ... as int keys; objects as keys get a name), tensors as torch's, other objects as
    ``{"torch7": class, ...}``.

    Raises:
        ValueError: The file is cut off, damaged or no such file, or holds a function, which would be code.
    """
    try:
        return _Reader(path.read_bytes()).value()
    except (struct.error, UnicodeDecodeError, TypeError) as error:
        raise ValueError(f"{path} is not a Torch7 file, or it is truncated or damaged.") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}.") from error


def modules(network: Any) -> list[dict[str, Any]]:
    """The modules of a (nested) nn.Sequential that have weights, in order."""
    inner = network.get("modules")
    if isinstance(inner, dict):
        return [found for key in sorted(inner) for found in modules(inner[key])]
    return [network] if isinstance(network.get("weight"), Tensor) else []


def fill(network: nn.Module, stored: Any) -> dict[str, Tensor]:
    """The state_dict of ``network`` from a stored nn.Sequential with the same convolutions and batch norms in order.

    Raises:
        ValueError: Another number of layers, another kind or another size.
    """
    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d
    ours = [(name, module) for name, module in network.named_modules() if isinstance(module, kinds)]
    theirs = modules(stored)
    if len(ours) != len(theirs):
        raise ValueError(f"the network has {len(theirs)} layers with weights; {len(ours)} are expected.")
    out: dict[str, Tensor] = {}
    for (name, module), layer in zip(ours, theirs, strict=True):
        norm = isinstance(module, nn.BatchNorm2d)
        if norm != ("BatchNormalization" in layer["torch7"]):
            raise ValueError(f"layer {name} is a {layer['torch7']}, not a {type(module).__name__}.")
        found = _batch_norm(layer) if norm else {k: layer[k].float() for k in ("weight", "bias")}
        for key, value in module.state_dict().items():
            if found[key].numel() != value.numel():
                raise ValueError(f"{name}.{key} has {found[key].numel()} numbers; {value.numel()} are expected.")
            out[f"{name}.{key}"] = found[key].reshape(value.shape)  # old files store a kernel as a matrix
    return out


def _batch_norm(module: dict[str, Any]) -> dict[str, Tensor]:
    """Weight, bias and running statistics; old files hold ``running_std``, which is 1 / sqrt(var + eps)."""
    variance = module.get("running_var")
    if variance is None:
        variance = module["running_std"] ** -2 - float(module.get("eps", 1e-5))
    names = ("weight", "bias", "running_mean")
    kept = {name: module[name].float() for name in names}
    return kept | {"running_var": variance.float(), "num_batches_tracked": torch.tensor(0)}


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content, self.at, self.depth = content, 0, 0
        self.seen: dict[int, Any] = {}

    def value(self) -> Any:
        kind = self._int()
        if kind == _NIL:
            return None
        if kind == _NUMBER:
            number = struct.unpack("<d", self._take(8))[0]
            return int(number) if number.is_integer() else number
        if kind == _STRING:
            return self._string()
        if kind == _BOOLEAN:
            return bool(self._int())
        if kind not in (_TABLE, _TORCH):
            raise ValueError(
                "it contains a function, which is not supported" if 6 <= kind <= 8 else "it is not a Torch7 file"
            )
        index = self._int()
        if index in self.seen:
            return self.seen[index]
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ValueError(f"it nests deeper than {_DEEPEST} levels")
        made = self._table(index) if kind == _TABLE else self._object(index)
        self.depth -= 1
        return made

    def _table(self, index: int) -> dict[Any, Any]:
        table = self.seen[index] = {}
        for _ in range(self._int()):
            key = self.value()
            table[key if isinstance(key, str | int | float) else f"object {len(table)}"] = self.value()
        return table

    def _object(self, index: int) -> Any:
        name = self._string()
        if name.startswith("V "):  # the version, since 2012
            name = self._string()
        family, _, kind = name.partition(".")
        if family == "torch" and kind.removesuffix("Storage") in _KINDS:
            found = self._storage(_KINDS[kind.removesuffix("Storage")])
        elif family == "torch" and kind.removesuffix("Tensor") in _KINDS:
            found = self._tensor()
        else:
            made: dict[Any, Any] = {"torch7": name}
            self.seen[index] = made
            content = self.value()
            made.update(content if isinstance(content, dict) else {"content": content})
            return made
        self.seen[index] = found
        return found

    def _storage(self, kind: str) -> Tensor:
        size = self._long()
        data = self._take(size * np.dtype(kind).itemsize)
        return torch.from_numpy(np.frombuffer(data, kind).copy())

    def _tensor(self) -> Tensor:
        dimensions = self._int()
        if not 0 <= dimensions <= 16:
            raise ValueError(f"a tensor in it has {dimensions} dimensions")
        sizes = [self._long() for _ in range(dimensions)]
        strides = [self._long() for _ in range(dimensions)]
        offset, storage = self._long() - 1, self.value()
        if storage is None or not dimensions:
            return torch.empty(0)
        count, last = 1, offset
        for size, stride in zip(sizes, strides, strict=True):  # Python's integers: nothing overflows
            count, last = count * size, last + (size - 1) * stride
        if not isinstance(storage, Tensor) or min(sizes) < 1 or min(strides) < 0 or offset < 0:
            raise ValueError("a tensor in it has impossible sizes")
        if last >= len(storage) or count > len(storage):
            raise ValueError("a tensor in it reaches beyond its storage")
        return storage.as_strided(sizes, strides, offset).clone()

    def _string(self) -> str:
        return self._take(self._int()).decode()

    def _int(self) -> int:
        return int(struct.unpack("<i", self._take(4))[0])

    def _long(self) -> int:
        return int(struct.unpack("<q", self._take(8))[0])

    def _take(self, count: int) -> bytes:
        if not 0 <= count <= len(self.content) - self.at:
            raise ValueError("it is truncated or damaged, or not a Torch7 file")
        self.at += count
        return self.content[self.at - count : self.at]
