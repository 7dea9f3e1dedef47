"""TensorFlow's checkpoints (``*.index``, ``*.data-00000-of-00001``) as arrays by variable name, without TensorFlow.

The index is a table in LevelDB's format (tensorflow/tsl/lib/io/format.h) whose values are messages
of tensorflow/core/protobuf/tensor_bundle.proto. Sizes and offsets are held against the files before they are read.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masks.compiled import compiled

_MAGIC, _FOOTER, _TRAILER = 0xDB4775248B80FB57, 48, 5
_MOST_INDEX = 2**28  # bytes; a real one has some hundred kilobytes
# tensorflow/core/framework/types.proto. Others (strings, bfloat16) are not weights and are skipped.
_TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 6: "i1", 9: "<i8", 10: "?", 19: "<f2"}


def is_checkpoint(path: Path) -> bool:
    """Whether ``path`` is a folder with a checkpoint, its prefix, or its .index file."""
    return path.is_dir() or path.suffix == ".index" or Path(f"{path}.index").is_file()


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Every numeric tensor of the checkpoint by its name, optimiser slots included.

    Args:
        path: A folder (its file ``checkpoint`` names the newest, or it has only one), the prefix, or the .index file.

    Raises:
        ValueError: There is none, or a file is damaged, cut off, of another kind or of another byte order.
    """
    prefix = _prefix(path)
    index = Path(f"{prefix}.index")
    if not index.is_file():
        raise ValueError(f"there is no file {index}.")
    if index.stat().st_size > _MOST_INDEX:
        raise ValueError(f"{index} has {index.stat().st_size} bytes; too large for a checkpoint index.")
    try:
        entries = dict(_table(index.read_bytes()))
        header = _message(entries.pop(b""))
        if header.get(2, 0):
            raise ValueError("its numbers are big-endian")
        shards = _number(header.get(1, 1))
        return dict(_tensors(prefix, entries, shards))
    except (IndexError, KeyError, struct.error, UnicodeDecodeError, OverflowError) as error:
        raise ValueError(f"{index} is not an index of a TensorFlow checkpoint, or it is damaged.") from error
    except ValueError as error:
        raise ValueError(f"{index}: {error}.") from error


def _prefix(path: Path) -> str:
    if not path.is_dir():
        return str(path).removesuffix(".index")
    listed = path / "checkpoint"
    if listed.is_file():
        with listed.open(encoding="utf-8", errors="replace") as file:
            named = re.search(r'^model_checkpoint_path: "(.*)"', file.read(2**16), re.MULTILINE)
        if named:
            return str(path / Path(named[1]).name)  # in this folder, wherever it was written
    found = sorted(path.glob("*.index"))
    if len(found) != 1:
        raise ValueError(
            f"{path} has {len(found)} .index files and no file `checkpoint` that names one; give the prefix."
        )
    return str(found[0]).removesuffix(".index")


def _tensors(prefix: str, entries: dict[bytes, bytes], shards: int) -> Iterator[tuple[str, NDArray[Any]]]:
    files: dict[int, NDArray[np.uint8]] = {}
    for key, value in entries.items():
        entry, name = _message(value), key.decode()
        if 7 in entry:
            raise ValueError(f"{name} is stored in slices, which are not supported")
        kind = _TYPES.get(_number(entry.get(1, 0)))
        if kind is None:
            continue
        shape = tuple(_number(_message(d).get(1, 0)) for d in _repeated(entry.get(2, b""), 2))
        shard, offset, size = (_number(entry.get(field, 0)) for field in (3, 4, 5))
        if shard >= shards:
            raise ValueError(f"{name} lies in part {shard} of {shards}")
        if shard not in files:
            part = Path(f"{prefix}.data-{shard:05d}-of-{shards:05d}")
            if not part.is_file():
                raise ValueError(f"its part {part.name} is missing")
            files[shard] = np.memmap(part, np.uint8, "r") if part.stat().st_size else np.empty(0, np.uint8)
        data = files[shard][offset : offset + size]
        expected = np.dtype(kind).itemsize
        for length in shape:  # Python's integers: no product overflows
            expected *= length
        if expected != size or len(data) != size:
            raise ValueError(
                f"{name} of shape {shape} has {len(data)} bytes instead of {expected}; the data is truncated or damaged"
            )
        if _masked(_crc32c(np.ascontiguousarray(data))) != entry.get(6, 0):
            raise ValueError(f"the checksum of {name} is wrong; the data is damaged")
        yield name, np.frombuffer(data.tobytes(), kind).reshape(shape)


# ---- the table -------------------------------------------------------------------------------------------------------


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(content) < _FOOTER or struct.unpack("<Q", content[-8:])[0] != _MAGIC:
        raise ValueError("it does not end like an index of a TensorFlow checkpoint")
    _, at = _handle(content, len(content) - _FOOTER)  # of the metaindex
    total = 0
    for _, handle in _block(content, *_handle(content, at)[0]):
        for entry in _block(content, *_handle(handle, 0)[0]):
            total += 1
            if total > len(content):
                raise ValueError("it lists more entries than it has bytes")
            yield entry


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    if offset + size + _TRAILER > len(content) - _FOOTER:
        raise ValueError("a block lies beyond its end")
    body, (kind, checksum) = content[offset : offset + size], struct.unpack_from("<BI", content, offset + size)
    if kind != 0:
        raise ValueError("a block of it is compressed, which TensorFlow does not do")
    if _masked(_crc32c(np.frombuffer(content, np.uint8, size + 1, offset))) != checksum:
        raise ValueError("the checksum of a block is wrong; the file is damaged")
    (restarts,) = struct.unpack_from("<I", body, size - 4)
    end, at, key = size - 4 - 4 * restarts, 0, b""
    while at < end:
        shared, at = _varint(body, at)
        rest, at = _varint(body, at)
        length, at = _varint(body, at)
        if shared > len(key) or at + rest + length > end or shared + rest > 2**12:
            raise ValueError("an entry of it lies beyond its block")
        key = key[:shared] + body[at : at + rest]
        yield key, body[at + rest : at + rest + length]
        at += rest + length


def _handle(content: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _varint(content, at)
    size, at = _varint(content, at)
    return (offset, size), at


# ---- protocol buffers ------------------------------------------------------------------------------------------------


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number in it has more than ten bytes")


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        field, wire = tag >> 3, tag & 7
        value: int | bytes
        if wire == 0:
            value, at = _varint(content, at)
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            value, at = int.from_bytes(content[at : at + width], "little"), at + width
        elif wire == 2:
            length, at = _varint(content, at)
            value, at = content[at : at + length], at + length
        else:
            raise ValueError("a message in it has a field of an unknown kind")
        if at > len(content):
            raise ValueError("a message in it is truncated")
        yield field, value


def _message(content: int | bytes) -> dict[int, int | bytes]:
    """The last value of each field."""
    if isinstance(content, int):
        raise ValueError("a message in it is a number")
    return dict(_fields(content))


def _repeated(content: int | bytes, field: int) -> list[int | bytes]:
    return [] if isinstance(content, int) else [value for number, value in _fields(content) if number == field]


def _number(value: int | bytes) -> int:
    if not isinstance(value, int) or value >= 2**63:
        raise ValueError("a size in it is not a number, or is negative")
    return value


# ---- checksums -------------------------------------------------------------------------------------------------------


def _byte_table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1).astype(np.uint32)
    return table


_TABLE = _byte_table()


@compiled
def _crc(data: NDArray[np.uint8], table: NDArray[np.uint32]) -> int:
    crc = np.uint32(0xFFFFFFFF)
    for byte in data:
        crc = table[(crc ^ byte) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return int(crc ^ np.uint32(0xFFFFFFFF))


def _crc32c(data: NDArray[np.uint8]) -> int:
    return int(_crc(data, _TABLE))


def _masked(crc: int) -> int:
    """As LevelDB stores it."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
