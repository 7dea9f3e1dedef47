"""The plan of the house, read from the source: which module imports which, and rooms, levels and arrows.

    python tests/support/house.py [PACKAGE]

A room is a file or folder directly in the package, an arrow a room that imports another one, a level the longest
chain of arrows below a room, itself included. Modules found by name from the command line do not count as arrows.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ("experiments", "lit_inpaint", "datamodules", "masks")


def modules() -> dict[str, Path]:
    found = {}
    for package in OURS:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path) -> Iterator[str]:
    """Full names of our modules that ``path`` imports, relative imports and those inside functions included."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            start = ".".join(filter(None, [base, node.module or ""]))
            targets = [f"{start}.{alias.name}" if f"{start}.{alias.name}" in MODULES else start for alias in node.names]
        else:
            continue
        yield from (target for target in targets if target.split(".")[0] in OURS)


MODULES = modules()
EDGES = {name: set(imports(name, path)) - {name} for name, path in MODULES.items()}


def arrows(package: str) -> dict[str, set[str]]:
    """The rooms that each room of a package imports."""
    found: dict[str, set[str]] = {}
    for module, targets in EDGES.items():
        if module.startswith(f"{package}."):
            room = module.split(".")[1]
            below = {target.split(".")[1] for target in targets if target.startswith(f"{package}.")}
            found.setdefault(room, set()).update(below - {room})
    return found


def levels(graph: dict[str, set[str]]) -> dict[str, int]:
    """The level of each room; 1 imports no other.

    >>> levels({"top": {"middle", "low"}, "middle": {"low"}, "low": set()})
    {'low': 1, 'middle': 2, 'top': 3}

    Raises:
        ValueError: The arrows go round in a circle.
    """
    found: dict[str, int] = {}

    def level(room: str, trail: tuple[str, ...]) -> int:
        if room in trail:
            raise ValueError(f"circle: {' -> '.join((*trail[trail.index(room) :], room))}")
        if room not in found:
            found[room] = 1 + max((level(below, (*trail, room)) for below in sorted(graph.get(room, ()))), default=0)
        return found[room]

    for room in graph:
        level(room, ())
    return found


def main(package: str = "experiments") -> None:
    graph = arrows(package)
    height = levels(graph)
    print(f"{package}: {len(graph)} rooms, {max(height.values())} levels, {sum(map(len, graph.values()))} arrows")
    for room in sorted(graph, key=lambda room: (-height[room], room)):
        print(f"{height[room]}  {room:<12} {' '.join(sorted(graph[room]))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
