"""Records of one protocol name must have been measured under one definition."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.records.record import Record
from lit_inpaint import plugins


def refuse_mixed(records: Sequence[Record]) -> None:
    """Records of one protocol name must have one hash.

    Raises:
        ValueError: Naming the protocol, both hashes and what differs between the two definitions.
    """
    first: dict[str, Record] = {}
    for record in records:
        name = record.protocol.name
        other = first.setdefault(name, record)
        if other.hash != record.hash:
            parts = differences(other.protocol.definition, record.protocol.definition)
            shown = "; ".join(parts[:3]) + (f"; and {len(parts) - 3} more" if len(parts) > 3 else "")
            pages = " and ".join(f"`{_page(one.hash, records)}`" for one in (other, record) if one.path)
            raise ValueError(
                f"protocol '{name}' has two definitions: {other.hash[:8]} in {other.source} and {record.hash[:8]} in "
                f"{record.source}. They differ in {shown or 'nothing that the records state'}. Their numbers cannot "
                f"share a column: benchmark both under one protocol, or make a page for each{pages and ': '}{pages}."
            )


def _page(digest: str, records: Sequence[Record]) -> str:
    """The command that makes the page of one definition."""
    folders = sorted({str(record.path.parent) for record in records if record.path and record.hash == digest})
    return plugins.command("compare", *folders, "--out", f"{Path(folders[0]).name}.html")


def differences(a: object, b: object, path: str = "") -> list[str]:
    """Differences between two definitions, as 'path: this and that'.

    >>> differences({"size": 256, "mask": {"seed": 0}}, {"size": 256, "mask": {"seed": 1}})
    ['mask.seed: 0 and 1']
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if a.keys() != b.keys() and sorted(map(str, a.values())) == sorted(map(str, b.values())):
            return [f"{path}: same contents, other names"]
        keys = sorted({*a, *b}, key=str)
        return [d for k in keys for d in differences(a.get(k), b.get(k), f"{path}.{k}" if path else str(k))]
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return [f"{path}: {len(a)} and {len(b)} entries"]
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{path}[{i}]")]
    if a == b:
        return []
    return [f"{path}: {_short(a)} and {_short(b)}"]


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    if re.fullmatch(r"[0-9a-f]{16,}", text):
        return text[:8]
    return text if len(text) <= 60 else text[:57] + "..."
