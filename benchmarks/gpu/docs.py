"""The GPU's rows of docs/speed.md and docs/ddp.md, from gpu.json in the repository's root.

    python -m benchmarks.gpu.docs

fills what lies between ``<!-- gpu: PART -->`` and ``<!-- end -->``; without the file or the part it says "not run".
"""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS = ("speed.md", "ddp.md")
SECTION = re.compile(r"(<!-- gpu: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def load() -> dict[str, Any] | None:
    path = ROOT / "gpu.json"
    return json.loads(path.read_text()) if path.is_file() else None


def section(name: str, found: dict[str, Any] | None) -> str:
    """A table of the part, or of all parts below it (``speed``: speed/GLCIC, ...)."""
    parts = (found or {}).get("parts", {}) if found else {}
    chosen = {n: p for n, p in parts.items() if n.split("/")[0] == name and p["key"]["device"] != "cpu"}
    if not chosen:
        return f"On a GPU: not run (`make gpu`, part {name}).\n"
    prefix = "/" in next(iter(chosen))
    rows = {
        f"{part.partition('/')[2]}, {item}" if prefix else item: (kind, value)
        for part, record in chosen.items()
        for kind in ("ran", "failed", "skipped")
        for item, value in record[kind].items()
    }
    columns = list(dict.fromkeys(k for kind, v in rows.values() if kind == "ran" for k in v if k != "seconds"))
    keys = dict.fromkeys("{device}, torch {torch}, {commit}".format(**record["key"]) for record in chosen.values())
    lines = [f"On {'; '.join(keys)}:", "", f"| {' | '.join(['', *columns])} |", "|" + "---|" * (1 + len(columns))]
    for item, (kind, value) in rows.items():
        told = [f"{kind}: {value}"] + [""] * (len(columns) - 1)
        cells = [shown(value.get(c)) for c in columns] if kind == "ran" else told
        lines.append(f"| {' | '.join([item, *cells])} |")
    return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2g}" if isinstance(value, float) and abs(value) < 1e-3 else str(value)


def filled(text: str, found: dict[str, Any] | None) -> str:
    return SECTION.sub(lambda match: match[1] + section(match[2], found) + match[3], text)


def main() -> None:
    for name in DOCS:
        path = ROOT / "docs" / name
        path.write_text(filled(path.read_text(), load()))


if __name__ == "__main__":
    main()
