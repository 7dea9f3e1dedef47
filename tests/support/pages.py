"""Follow a page of docs/ to the letter, in a copy of the checkout.

A step starts with a line ``**N. ...**`` that states the action and the file; the code block below is the content:

    **1. `path`**                        a new file
    **1. An empty `path`**               a new file without content
    **2. One line in `path`**            an import line, and its name in ``__all__``
    **3. One row in `LIST` of `path`**   the first row of a list
    **3. One row below ... of `path`**   the last row of the last table of metrics
    **3. One paragraph at the end of "Heading" in `path`**
    **4. ...** without a path            what one runs, and not a change
"""

import re
import shutil
from pathlib import Path

from tests.support.house import OURS, ROOT

STEP = re.compile(r"^\*\*\d+\. (.+?)\*\*(.*?)(?=^\*\*\d+\. |^## |^Then |\Z)", re.MULTILINE | re.DOTALL)


def checkout(folder: Path) -> Path:
    """A copy of what a wheel is built from, the tests and the pages."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*OURS, "docs", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def follow(page: str, folder: Path) -> dict[str, int]:
    """Follow ``docs/<page>``; return the number of added lines by file."""
    steps = STEP.findall((folder / "docs" / page).read_text(encoding="utf-8"))
    added: dict[str, int] = {}
    for said, rest in steps:
        if not (paths := re.findall(r"`([\w/]+\.\w+)`", said)):
            continue
        blocks = re.findall(r"^```\w*\n(.*?)^```", rest, re.MULTILINE | re.DOTALL)
        content = blocks[0] if blocks else ""
        file = folder / paths[-1]
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        after = changed(said, before, content)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(after, encoding="utf-8")
        added[paths[-1]] = after.count("\n") - before.count("\n")
    return added


def changed(said: str, before: str, content: str) -> str:
    if said.startswith("One line in"):
        name = content.split()[-1]
        first = next(line for line in before.splitlines() if line.startswith("from "))
        return before.replace(first, content + first, 1).replace("__all__ = [\n", f'__all__ = [\n    "{name}",\n', 1)
    if listed := re.match(r"One row in `(\w+)`", said):
        return re.sub(rf"^{listed[1]}\b.*[\[{{]\n", lambda head: head[0] + content, before, count=1, flags=re.MULTILINE)
    if said.startswith("One row below"):
        last = [line for line in before.splitlines(keepends=True) if line.startswith("| `")][-1]
        return before.replace(last, last + content, 1)
    if section := re.match(r'One paragraph at the end of "(.+)" in', said):
        start, heading, rest = before.partition(f"## {section[1]}\n")
        assert heading, f"there is no section {section[1]!r}"
        inside, end, after = rest.partition("\n## ")
        return f"{start}{heading}{inside}\n{content}{end}{after}"
    assert not before, f"the page writes a file that is there: {said}"
    assert bool(content) is not said.startswith("An empty"), said
    return content
