"""The settings of the papers' YAMLs against the published programs: docs/settings.md.

    python -m benchmarks.settings --public DIR     # read the programs again
    python -m benchmarks.settings                  # page and comments from what was read

``benchmarks/settings_sources.yaml`` says in which file of which program each value stands. DIR holds the checkouts as
OWNER+NAME, OWNER/NAME or NAME, a branch as NAME@BRANCH. What is found there, with commit, file and line, is written to
``benchmarks/settings_published.json``; from both follow the page and the marks in the YAMLs' comments, [C file:line].
A value of ours that is not the published one, or that has no source, is named, with exit code 1.
"""

import argparse
import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmarks.published_settings import (
    CONFIGS,
    ROOT,
    Group,
    Source,
    is_setting,
    ours,
    papers,
    problems,
    read_programs,
    source_of,
    sources,
    split,
    stated,
)

PUBLISHED = ROOT / "benchmarks" / "settings_published.json"
PAGE = ROOT / "docs" / "settings.md"
MARK = r"\[{}(?: [^\]]*)?\]"
COLUMN = 37  # where a comment begins on a line that had none


def marks(found: list[Source], published: dict[str, Any]) -> dict[str, str]:
    """By letter, what a comment says of some settings: "[C train.lua:7,408; README.md:75]", or "[ours]"."""
    said: dict[str, dict[str, list[str]]] = {}
    for source in found:
        if source.paper:
            said.setdefault("P", {})[source.paper] = []
        for where in source.find.values():
            place = published["values"][where]
            files = said.setdefault(sources()[0][split(where)[0]]["mark"], {})
            lines = files.setdefault(place["file"], [])
            lines += [str(place["line"])] * (str(place["line"]) not in lines)
    parts = {
        letter: "; ".join(f"{file}:{','.join(lines)}" if lines else file for file, lines in files.items())
        for letter, files in said.items()
    }
    return {letter: f"[{letter} {part}]" for letter, part in parts.items()} or {"ours": "[ours]"}


def marks_of(name: str, published: dict[str, Any]) -> dict[int, dict[str, str]]:
    """The marks of each line of a YAML that states settings."""
    found: dict[int, list[Source]] = {}
    for key, (value, line) in stated(name).items():
        source = source_of(name, key)
        if source and (source.find or is_setting(value)):
            found.setdefault(line, []).append(source)
    return {line: marks(of_line, published) for line, of_line in found.items()}


def annotated(name: str, published: dict[str, Any]) -> str:
    """The YAML with the marks in its comments, each in the place of the one of its letter, or at the end."""
    lines = (CONFIGS / name).read_text(encoding="utf-8").splitlines()
    for number, found in marks_of(name, published).items():
        setting, given, comment = lines[number].partition(" # ")
        for letter in {"C", "G", "N", "O", "P", "ours"} - set(found):
            if "ours" in found or letter == "ours":
                comment = re.sub(MARK.format(letter), "", comment).strip(" ,")
        for letter, text in found.items():
            there = re.search(MARK.format(letter), comment)
            start, end = there.span() if there else (len(comment), len(comment))
            comment = f"{comment[:start].rstrip()} {text}{comment[end:]}".strip()
        column = len(setting) if given else max(COLUMN - 1, len(setting) + 1)
        lines[number] = f"{setting.ljust(column)} # {comment}"
    return "\n".join(lines) + "\n"


HEAD = """# Published settings

<!-- Written by `python -m benchmarks.settings`; do not edit. -->

Where the numbers of the papers' YAMLs come from. `python -m benchmarks.settings --public DIR` reads the published
values from checkouts of the programs: `benchmarks/settings_sources.yaml` says where they stand,
`benchmarks/settings_published.json` holds what was found, and a test compares every number of every YAML with it.

Marks, here and in the YAMLs' comments: [C] the authors' program, or another one that the head of the YAML names ([O]
otenim, [N] naoto0804, [G] guided-diffusion), with file and line; [P] the text of a paper; [ours] no published value.
Settings that no YAML states are class defaults.

**Unchecked.** [P] values were written down from memory of the papers; nobody has compared them with the text.
"""


def page(published: dict[str, Any]) -> str:
    programs, groups = sources()
    rows = [["program", "commit", "mark"]]
    for name, program in programs.items():
        entry = next(entry for where, entry in published["values"].items() if split(where)[0] == name)
        branch = f", branch {program['branch']}" if "branch" in program else ""
        rows.append([f"{program['repository']}{branch}", f"`{entry['commit'][:8]}`", f"[{program['mark']}]"])
    listed = [(group, key, source) for group in groups for key, source in group.settings.items()]
    named = [entry for entry in listed if entry[2].differs]
    different = [[_names(g), f"`{key}`", _values(g, key), f"{s.expected(published)}", s.differs] for g, key, s in named]
    unchecked = [[_names(g), f"`{key}`", f"{s.value}", s.paper] for g, key, s in listed if s.paper]
    parts = [HEAD.rstrip(), _table(rows)]
    parts += ["## Exceptions", _table([["YAML", "setting", "ours", "published", "why"], *different])]
    parts += ["## [P], unchecked", _table([["YAML", "setting", "value", "from"], *unchecked])]
    for group in groups:
        table = [[f"`{key}`", _values(group, key), _from(s, published)] for key, s in group.settings.items()]
        parts += [f"## {_names(group)}", _table([["setting", "value", "from"], *table])]
    return "\n\n".join(parts) + "\n"


def _names(group: Group) -> str:
    return ", ".join(f"`{name}`" for name in group.yamls)


def _values(group: Group, key: str) -> str:
    found = []
    for name in group.yamls:
        keys = [own for own in stated(name) if fnmatchcase(own, key)] if "*" in key else [key]
        for own in keys:
            try:
                found.append(f"{ours(name, own)}")
            except KeyError:
                continue
    return " or ".join(dict.fromkeys(found))


def _from(source: Source, published: dict[str, Any]) -> str:
    if source.own:
        return f"[ours] {source.own}"
    if source.paper:
        return "; ".join(filter(None, [f"[P] {source.paper}", source.note]))
    said = []
    for name, where in source.find.items():
        e = published["values"][where]
        letter = sources()[0][split(where)[0]]["mark"]
        link = f"https://github.com/{e['repository']}/blob/{e['commit']}/{e['file']}#L{e['line']}"
        text = f"[{letter}] [{e['file']}:{e['line']}]({link})"
        said.append(f"{text} `{name} = {e['value']}`" if source.equals != "a" else text)
    if source.equals != "a":
        said.append(f"`{source.equals}`")
    return "; ".join(filter(None, [*said, source.note, source.differs])).replace("|", "\\|")


def _table(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--public", type=Path, help="folder with checkouts of the published programs")
    a = parser.parse_args()
    if a.public:
        PUBLISHED.write_text(json.dumps(read_programs(a.public), indent=1) + "\n", encoding="utf-8")
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    for name in papers():
        (CONFIGS / name).write_text(annotated(name, published), encoding="utf-8")
    PAGE.write_text(page(published), encoding="utf-8")
    found = problems(published)
    print("\n".join(found) or "every setting is as published, or a named exception")
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main())
