"""The published value of every setting, read from the programs, and what of ours differs: benchmarks/settings.py."""

import ast
import inspect
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "experiments" / "configs"
SOURCES = ROOT / "benchmarks" / "settings_sources.yaml"
NO_PAPER = ("faces64", "faces32", "guided64", "bsds500_64")  # our own small runs
NO_SETTINGS = {"masks", "diffusers", "protocols", "studies", "sweeps", "launch", "loggers", "compare"}


@dataclass(frozen=True)
class Source:
    """Where one setting of some YAMLs comes from.

    Args:
        find: Name to "PROGRAM! FILE | PATTERN".
        equals: Our value as an expression in these names; without it, the value of ``a``.
        paper: Section of a paper; ``value`` is what it is said to state.
        own: Why there is no published value.
        differs: Why ours is another one.
    """

    find: dict[str, str]
    equals: str = "a"
    paper: str = ""
    value: object = None
    own: str = ""
    differs: str = ""
    note: str = ""

    def expected(self, published: dict[str, Any]) -> object:
        if not self.find:
            return self.value
        names = {name: published["values"][where]["value"] for name, where in self.find.items()}
        return eval(self.equals, {"__builtins__": {"int": int, "list": list, "round": round}}, names)


@dataclass(frozen=True)
class Group:
    yamls: list[str]
    settings: dict[str, Source]


# ---- sources and programs --------------------------------------------------------------------------------------------


@cache
def sources() -> tuple[dict[str, dict[str, str]], list[Group]]:
    """The programs, and the groups of YAMLs."""
    content = yaml.safe_load(SOURCES.read_text(encoding="utf-8"))
    groups = []
    for group in content["groups"]:
        listed = (
            path.relative_to(CONFIGS).as_posix() for pattern in group["yamls"] for path in sorted(CONFIGS.glob(pattern))
        )
        settings = {key: _source(group["program"], given) for key, given in group["settings"].items()}
        groups.append(Group([name for name in listed if is_papers(name)], settings))
    return content["programs"], groups


def _source(program: str, given: Any) -> Source:
    given = {"find": given} if isinstance(given, str) else dict(given)
    find = given.pop("find", {})
    find = {"a": find} if isinstance(find, str) else find
    return Source({name: w if "! " in w else f"{program}! {w}" for name, w in find.items()}, **given)


def is_papers(name: str) -> bool:
    return "/" in name and name.split("/")[0] not in NO_SETTINGS and not any(part in name for part in NO_PAPER)


def papers() -> list[str]:
    """The YAMLs with published settings."""
    names = (path.relative_to(CONFIGS).as_posix() for path in sorted(CONFIGS.rglob("*.yaml")))
    return [name for name in names if is_papers(name)]


def read_programs(public: Path) -> dict[str, Any]:
    """Value, repository, commit, file and line of every place that a source names.

    Raises:
        ValueError: A checkout is missing, or a pattern is not found or has several values.
    """
    programs, groups = sources()
    places = sorted({w for group in groups for source in group.settings.values() for w in source.find.values()})
    values = {}
    for where in places:
        program, file, pattern = split(where)
        folder = checkout(public, programs[program])
        line, value = locate((folder / file).read_text(encoding="utf-8"), pattern, where)
        values[where] = {
            "repository": programs[program]["repository"],
            "commit": commit(folder),
            "file": file,
            "line": line,
            "value": value,
        }
    return {"values": values}


def split(where: str) -> tuple[str, str, str]:
    """
    >>> split("aotgan! src/utils/option.py | --lrg")
    ('aotgan', 'src/utils/option.py', '--lrg')
    """
    program, rest = where.split("! ", 1)
    file, pattern = rest.split(" | ", 1)
    return program, file, pattern


def checkout(public: Path, program: dict[str, str]) -> Path:
    repository = program["repository"] + (f"@{program['branch']}" if "branch" in program else "")
    for name in (repository.replace("/", "+"), repository, repository.split("/")[1]):
        if (public / name).is_dir():
            return public / name
    raise ValueError(f"{public} holds no {repository.replace('/', '+')}: check out github.com/{program['repository']}.")


@cache
def commit(folder: Path) -> str:
    """The commit of a checkout, or what a file .commit in an unpacked one states."""
    if (folder / ".commit").is_file():
        return (folder / ".commit").read_text().strip()
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def locate(content: str, pattern: str, where: str = "") -> tuple[int, Any]:
    """Line and value of a pattern.

    >>> locate("a: 1\\nlr: 2e-4  # x", "lr:"), locate("add_argument('--lr', default=0.1, help='x')", "--lr")
    ((2, 0.0002), (1, 0.1))
    """
    if pattern.startswith("--"):
        expression = rf"add_argument\(['\"]{pattern}['\"],[^\n]*?default=([^,)\n]+)"
    else:
        expression = rf"^\s*{pattern}[ \t]*([^\s#]+)" if re.fullmatch(r"\w+:", pattern) else pattern
    found = list(re.finditer(expression, content, re.MULTILINE))
    if len({match[1] for match in found}) != 1:
        raise ValueError(f"{where or pattern}: found {[match[1] for match in found]}; expected one value.")
    return content.count("\n", 0, found[0].start(1)) + 1, parse(found[0][1])


def parse(text: str) -> Any:
    """
    >>> parse("1e-4"), parse("500,000"), parse("(0.9, 0.95)"), parse("'x'"), parse("replicate")
    (0.0001, 500000, [0.9, 0.95], 'x', 'replicate')
    """
    text = text.strip()
    if re.fullmatch(r"\d{1,3}(,\d{3})+", text):
        return int(text.replace(",", ""))
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return list(value) if isinstance(value, tuple) else value


# ---- ours ------------------------------------------------------------------------------------------------------------


def leaves(node: yaml.Node, key: str = "") -> Iterator[tuple[str, Any, int]]:
    """Dotted keys without init_args, values and line numbers (from 0) of a YAML; lists of numbers are one value."""
    if isinstance(node, yaml.MappingNode):
        for name, inner in node.value:
            yield from leaves(inner, ".".join(part for part in (key, name.value) if part and part != "init_args"))
    elif isinstance(node, yaml.SequenceNode) and not all(isinstance(inner, yaml.ScalarNode) for inner in node.value):
        for number, inner in enumerate(node.value):
            yield from leaves(inner, f"{key}.{number}")
    else:
        yield key, yaml.safe_load(yaml.serialize(node)), node.start_mark.line


@cache
def stated(name: str) -> dict[str, tuple[Any, int]]:
    """Value and line of every leaf of one of our YAMLs."""
    node = yaml.compose((CONFIGS / name).read_text(encoding="utf-8"))
    prefix = "data" if name.startswith("data/") else ""
    return {key: (value, line) for key, value, line in leaves(node, prefix)}


def ours(name: str, key: str) -> Any:
    """Our value: of the YAML, else the default of the model's class or of the data module's base.

    Raises:
        KeyError: There is no such setting.
    """
    if key in stated(name):
        return stated(name)[key][0]
    part, _, argument = key.partition(".")
    if part != "model" or "model.class_path" not in stated(name):
        raise KeyError(key)
    from lit_inpaint.classes import stage_classes  # slow, and not needed for the page

    value = inspect.signature(stage_classes()[stated(name)["model.class_path"][0]]).parameters[argument].default
    return list(value) if isinstance(value, tuple) else value


def is_setting(value: object) -> bool:
    """Whether it is a number, a switch, or a list of numbers."""
    numbers = value if isinstance(value, list) else [value]
    return bool(numbers) and all(isinstance(n, int | float) for n in numbers)


def source_of(name: str, key: str) -> Source | None:
    for group in sources()[1]:
        if name in group.yamls:
            for pattern, source in group.settings.items():
                if fnmatchcase(key, pattern):
                    return source
    return None


def same(one: Any, other: Any) -> bool:
    """
    >>> same(1000000, 1e6), same([0.95, 1.05], [1 - 0.05, 1 + 0.05]), same(True, 1), same([1], 1)
    (True, True, True, False)
    """
    if isinstance(one, list) or isinstance(other, list):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    numbers = all(isinstance(value, int | float) for value in (one, other))
    return bool(abs(one - other) <= 1e-12 * abs(one) + 1e-15 if numbers else one == other)


def problems(published: dict[str, Any]) -> list[str]:
    """What of ours is not as published and is no named exception, or has no source."""
    found = []
    for name in papers():
        for key, (value, _) in stated(name).items():
            if is_setting(value) and source_of(name, key) is None:
                found.append(f"{name}: {key} has no source in {SOURCES.name}")
    for group in sources()[1]:
        for key, source in group.settings.items():
            missing = []
            for name in group.yamls:
                try:
                    value = None if "*" in key else ours(name, key)
                except KeyError:
                    missing.append(name)
                    continue
                if source.own or "*" in key:
                    continue
                expected = source.expected(published)
                if same(value, expected) == bool(source.differs):
                    what = "is as published, and named as differing" if source.differs else f"is {value}"
                    found.append(f"{name}: {key} {what}; published: {expected}")
            if missing == group.yamls:
                found.append(f"{', '.join(group.yamls)}: no setting {key}")
    return found
