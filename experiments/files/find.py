"""Find configurations and protocols named on the command line, and what was written last."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from experiments.files.read import parse_yaml
from masks.nearest import nearest

INSTALLED = Path(__file__).resolve().parents[1] / "configs"


def find_method(word: str) -> str:
    """A method as a command takes it, ``[LABEL=]NAME``, where the name of an installed YAML stands for its file.

    Raises:
        ValueError: There is no such YAML.
    """
    label, equals, name = word.rpartition("=")
    if Path(word).is_file() or not name.endswith((".yaml", ".yml")) or Path(name).is_file():
        return word
    return f"{label}{equals}{find_yaml(name)}"


def find_yaml(name: str, folder: str = "") -> Path:
    """``name`` in the current folder, else among the installed YAMLs (``folder`` below experiments/configs first).

    Raises:
        ValueError: Naming the nearest one that exists; or the file is not YAML.
    """
    spellings = [name, f"{name}.yaml"]
    for place in (Path(), INSTALLED / folder, INSTALLED):
        for spelling in spellings:
            if (place / spelling).is_file():
                found = (place / spelling).absolute()
                parse_yaml(found)
                return found
    installed = sorted(str(p.relative_to(INSTALLED)) for p in (INSTALLED / folder).rglob("*.yaml"))
    hint = nearest(f"{name.removesuffix('.yaml')}.yaml", installed, cutoff=0.4)
    raise ValueError(f"there is no file and no configuration '{name}'. {hint}")


def newest_first(paths: Iterable[Path]) -> list[Path]:
    """By the time of their last change; without those that vanish meanwhile."""
    changed = {}
    for path in paths:
        with suppress(FileNotFoundError):
            changed[path] = path.stat().st_mtime
    return sorted(changed, key=lambda path: changed[path], reverse=True)
