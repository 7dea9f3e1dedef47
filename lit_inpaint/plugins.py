"""Classes from outside: the modules that a user names, and what installed distributions declare.

A module is named by ``--import``, the variable LIT_INPAINT_IMPORT or the key ``import`` of a YAML; all three end in the
variable, which every worker, rank and trial inherits. A distribution declares entry points of the groups in
:data:`GROUPS`. There is no registry: what is found is whatever an imported module holds. A file that was trained or
measured is never a reason to import a module.
"""

import ast
import hashlib
import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType
from typing import Any

VARIABLE = "LIT_INPAINT_IMPORT"  # modules with commas between them
GROUPS = ("methods", "datamodules", "masks", "metrics")  # entry points lit_inpaint.methods, ...
OWN = ("lit_inpaint", "datamodules", "masks", "experiments")


def named() -> list[str]:
    """The modules that the user names, in their order."""
    words = os.environ.get(VARIABLE, "").replace(",", " ").split()
    return list(dict.fromkeys(words))


def add(modules: Iterable[str]) -> None:
    """Name more modules, for this process and those that it starts."""
    if modules := [*modules]:
        os.environ[VARIABLE] = ",".join(dict.fromkeys([*named(), *modules]))


def command(*words: str) -> str:
    """A command to paste, shell-quoted, with the modules that this process was told to import.

    >>> command("compare", "my runs").split("'")[1]
    'my runs'
    """
    imports = [word for module in named() for word in ("--import", module)]
    return shlex.join(["lit-inpaint", *words, *imports])


def load(*groups: str) -> list[Any]:
    """Import what is named and declared; the classes and functions found there.

    Args:
        groups: Entry point groups to load, from :data:`GROUPS`; default: all.

    Raises:
        ValueError: A named module is missing.
    """
    found = [value for module in named() for value in vars(imported(module)).values()]
    for group in groups or GROUPS:
        for declared in _declared(group):
            found += vars(declared).values() if isinstance(declared, ModuleType) else [declared]
    return [value for value in found if callable(value)]


def imported(module: str) -> ModuleType:
    """A module of the user's; the current folder is on the path for it, last.

    Raises:
        ValueError: It is missing, cannot be parsed, or what it imports is missing.
    """
    if os.getcwd() not in sys.path and "" not in sys.path:
        home = str(Path(__file__).resolve().parents[1])  # of an editable install, which is found after the path
        sys.path += [*([] if home in sys.path else [home]), os.getcwd()]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise ValueError(f"there is no module '{module}', neither installed nor in {os.getcwd()}.") from error
        raise ValueError(f"module '{module}' cannot be imported: {error}.") from error
    except (ImportError, SyntaxError, TypeError) as error:  # TypeError: a relative name
        raise ValueError(f"module '{module}' cannot be imported: {error}.") from error


def find(path: str) -> Any:
    """What ``package.module.Name`` names.

    >>> find("lit_inpaint.methods.Telea").year
    2004

    Raises:
        ValueError: There is no such module, or nothing of that name in it.
    """
    module, _, name = path.rpartition(".")
    found = getattr(imported(module), name, None)
    if found is None:
        raise ValueError(f"module '{module}' has no '{name}'.")
    return found


def with_file(given: str) -> tuple[str, Path] | None:
    """A class and the file of its weights, ``package.module.Net:net.pth``; None for all else.

    >>> with_file("own.Net:runs/net.pth")[0], with_file("runs/net.pth"), with_file("outputs:folder")
    ('own.Net', None, None)
    """
    found = re.fullmatch(r"((?:[^\W\d]\w*\.)+[^\W\d]\w*):(.+)", given)
    return None if found is None or Path(given).is_file() else (found[1], Path(os.path.expanduser(found[2])))


def sources(names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the files that define imported modules, and of those that they import from beside them, by module.

    What is ours is left out; of an installed module only its own package counts, the others have versions.

    >>> import json
    >>> found = sources(["lit_inpaint.methods", "json.decoder"])
    >>> "json.scanner" in found, "lit_inpaint.methods" in found  # imported by the decoder; ours
    (True, False)
    """
    found: dict[str, str] = {}
    for name in names:
        if file := getattr(sys.modules.get(name), "__file__", None):
            path = Path(file)
            home = path.parents[name.count(".") + (path.stem == "__init__")]
            top = name.partition(".")[0] if _is_installed(home) else ""
            _add_sources(name, home, top, found)
    return dict(sorted(found.items()))


def _add_sources(name: str, home: Path, top: str, found: dict[str, str]) -> None:
    """Add a module of the folder ``home``, the packages that it is in, and what it imports, below ``top`` if given."""
    first, stem = name.partition(".")[0], home / name.replace(".", "/")
    file = next((path for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py") if path.is_file()), None)
    if not name or name in found or first in OWN or first != (top or first):
        return
    if file is not None:
        content = file.read_bytes()
        found[name] = hashlib.sha256(content).hexdigest()
        package = name if file.stem == "__init__" else name.rpartition(".")[0]
        with suppress(SyntaxError, ImportError):  # of a file that is never imported
            for imported_name in _imports(ast.parse(content), package):
                _add_sources(imported_name, home, top, found)
    _add_sources(name.rpartition(".")[0], home, top, found)


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Names that may be modules, of every import, those in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module
            yield from (str(above), *(f"{above}.{alias.name}" for alias in node.names))


def sources_named(arguments: Any) -> dict[str, str]:
    """:func:`sources` of the modules, not installed ones, whose classes ``arguments`` name."""
    modules = {text.rpartition(".")[0] for text in _texts(arguments)}
    files = {name: getattr(sys.modules.get(name), "__file__", None) for name in modules}
    return sources(name for name, file in files.items() if file and not _is_installed(Path(file)))


def _is_installed(path: Path) -> bool:
    """Whether a file is of an installed package or of Python."""
    return path.is_relative_to(sys.base_prefix) or bool({"site-packages", "dist-packages"} & {*path.parts})


@cache
def _declared(group: str) -> list[Any]:
    """What the distributions declare; one that is broken is told, and the others serve."""
    found = []
    for point in entry_points(group=f"lit_inpaint.{group}"):
        try:
            found.append(point.load())
        except Exception as error:
            owner = point.dist.name if point.dist else "an installed distribution"
            warnings.warn(
                f"{owner}: {point.value} cannot be imported ({type(error).__name__}: {error}); it is left out."
            )
    return found


@contextmanager
def nothing_imported_for(arguments: Any) -> Iterator[None]:
    """While classes are built from the ``arguments`` of a file, no module is imported because they name it.

    Raises:
        ValueError: Naming the module and the flag that imports it.
    """
    guard = _Guard({module for text in _texts(arguments) for module in _above(text)})
    sys.meta_path.insert(0, guard)
    try:
        yield
    except Exception as error:
        if guard.met is None:
            raise
        raise ValueError(f"it names the module {guard.met}; if you trust it, add --import {guard.met}.") from error
    finally:
        sys.meta_path.remove(guard)


class _Guard:
    """A finder that refuses the modules a file names; those imported before never come here.

    A string may be read once more, as YAML or as the name of a file, and name a module there. So that no spelling has
    to be foreseen, modules beside those installed are refused whoever names them, but for parts of what is imported.
    """

    def __init__(self, refused: set[str]) -> None:
        self.refused = refused
        self.met: str | None = None

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in OWN:
            return
        if name in self.refused or ("." not in name and _is_from_outside(name)):
            self.met = name
            raise ImportError(f"{name} is not imported because a file names it")


def _is_from_outside(name: str) -> bool:
    """Whether a module would be found, and not among those installed."""
    if (spec := PathFinder.find_spec(name)) is None:
        return False
    places = [spec.origin] if spec.has_location else [*(spec.submodule_search_locations or ())]
    return any(place is not None and not _is_installed(Path(place)) for place in places)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in (*value.keys(), *value.values()):
            yield from _texts(part)
    elif isinstance(value, list | tuple | set):
        for part in value:
            yield from _texts(part)


def _above(path: str) -> Iterator[str]:
    """The modules that whoever resolves ``path`` would import.

    >>> list(_above("package.module.Name"))
    ['package', 'package.module']
    """
    parts = path.split(".")
    yield from (".".join(parts[:n]) for n in range(1, len(parts)))
