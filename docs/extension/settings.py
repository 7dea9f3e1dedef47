"""The keys of a YAML: arguments of every class that a configuration can name, as `fit` takes them."""

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

import yaml
from docstring_parser.google import parse
from jsonargparse import ArgumentParser

from docs.extension.python import first_line, names
from experiments.catalogue.methods import classes
from experiments.files.find import INSTALLED

GROUPS = {  # page: heading, the key whose value it is, its classes
    "methods": ("Methods", "model", lambda: classes()),
    "data": ("Data sets", "data", lambda: _named("datamodules")),
    "masks": ("Mask laws", "data.init_args.mask", lambda: _named("masks")),
    "samplers": ("Samplers", "model.init_args.sampler", lambda: _named("lit_inpaint.diffusion.samplers")),
    "callbacks": ("Callbacks", "trainer.callbacks+", lambda: _named("lit_inpaint.callbacks")),
}


def _named(package: str) -> dict[str, type]:
    found = {path.rpartition(".")[2]: thing for path, thing in names(package).items() if inspect.isclass(thing)}
    return {
        name: cls for name, cls in found.items() if not inspect.isabstract(cls) and name not in {"Denoiser", "Noise"}
    }


def arguments(cls: type) -> list[tuple[str, str, str, str]]:
    """(key, type, default, meaning) of every argument, those that a class passes on to another included."""
    parser = ArgumentParser()
    parser.add_class_arguments(cls, fail_untyped=False, sub_configs=True)
    said = about(cls)
    found = []
    for action in parser._actions:
        if action.dest in {"help", "config"} or action.dest.endswith(".help"):
            continue
        kind = getattr(action, "_typehint", None) or action.type or ""
        default = "required" if action.required else _short(action.default)
        found.append((action.dest, _type(kind), default, said.get(action.dest) or action.help or ""))
    return found


def about(cls: type) -> dict[str, str]:
    """What the docstrings of a class and of those above it say of each argument; "a, b: ..." is of both."""
    found: dict[str, str] = {}
    for above in cls.__mro__:
        for entry in parse(inspect.cleandoc(above.__doc__ or "")).params:
            for name in re.split(r",\s*", entry.arg_name):
                found.setdefault(name, entry.description or "")
    return found


def _type(kind: Any) -> str:
    text = kind.__name__ if inspect.isclass(kind) else str(kind)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Za-z])", "", text)


def _short(value: Any) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) < 60 else text[:57] + "..."


def cell(text: str) -> str:
    """
    >>> cell("Of ``a | b``; :class:`~lit_inpaint.methods.Telea` has none.")
    'Of `a \\\\| b`; `Telea` has none.'
    """
    text = re.sub(r":\w+:`(?:~(?:\w+\.)*)?([^`]+)`", r"`\1`", text)  # roles of reStructuredText
    return " ".join(text.replace("|", r"\|").replace("``", "`").split())


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table in Markdown, and an empty one.

    >>> table(["key", "default"], [["`a`", "1 | 2"]])
    ['| key | default |', '|---|---|', '| `a` | 1 \\\\| 2 |', '']
    """
    lines = [f"| {' | '.join(map(cell, row))} |" for row in [columns, *rows]]
    return [lines[0], "|---" * len(columns) + "|", *lines[1:], ""]


def pages() -> dict[str, str]:
    found = {"settings/index.md": _index()}
    for page, (heading, key, of) in GROUPS.items():
        text = [f"# YAML keys: {heading[0].lower()}{heading[1:]}", ""]
        text += [f"Values of `{key}`: `class_path` is the class, `init_args` holds the keys below.", ""]
        for name, cls in of().items():
            text += [f"## {name}", "", cell(first_line(cls)), ""]
            rows = arguments(cls)
            shown = [(f"`{key}`", f"`{kind}`", f"`{value}`", meaning) for key, kind, value, meaning in rows]
            text += table(["key", "type", "default", "meaning"], shown) if rows else ["No keys.", ""]
        found[f"settings/{page}.md"] = "\n".join(text)
    found["settings/configurations.md"] = _configurations()
    return found


def _index() -> str:
    text = ["# YAML keys", "", "What `fit --config` takes, class by class, and every built-in configuration.", ""]
    return "\n".join([*text, ":::{toctree}", *GROUPS, "configurations", ":::", ""])


def _configurations() -> str:
    """Every built-in YAML in full."""
    text = ["# Built-in configurations", "", "`lit-inpaint configs` lists them; a name is given without `.yaml`.", ""]
    folder = None
    for path in sorted(INSTALLED.rglob("*.yaml"), key=lambda path: (path.parent, path.name)):
        at = path.relative_to(INSTALLED)
        if at.parent != folder:
            folder = at.parent
            text += [f"## {'General' if str(folder) == '.' else folder}", ""]
        content = path.read_text(encoding="utf-8")
        yaml.safe_load(content)
        text += [
            f"(config-{str(at.with_suffix('')).replace('/', '-')})=",
            f"### {at.with_suffix('')}",
            "",
            "```yaml",
            content.strip(),
            "```",
            "",
        ]
    return "\n".join(text)
