"""Read W&B's offline files: a 7-byte header, then a LevelDB log of protobuf records."""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER = 32768, 7


def records(path: Path) -> Iterator[Record]:
    content, at, parts = path.read_bytes(), HEADER, []
    while at + HEADER <= len(content):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + HEADER])
        if at + HEADER + length > len(content):  # still being written
            return
        parts.append(content[at + HEADER : at + HEADER + length])
        at += HEADER + length
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(b"".join(parts))
            parts = []
            yield record


def read(run: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Config and history rows of the one offline run in a folder, once the service has written its last record.

    ``wandb.finish`` returns before that, sometimes before there is a file.
    """
    for _ in range(300):
        files = list(run.glob("wandb/offline-run-*/*.wandb"))
        if files and any(record.HasField("exit") for record in records(files[0])):
            break
        time.sleep(0.1)
    (path,) = files
    config: dict[str, Any] = {}
    history = []
    for record in records(path):
        for update in (record.config.update, record.run.config.update):
            config |= {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in update}
        if record.HasField("history"):
            history.append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item})
    return config, history
