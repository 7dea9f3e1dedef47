"""What is generated of each method's page: facts, the help of `methods NAME`, parity, results and cost."""

import inspect
import re
from html import escape
from pathlib import Path
from typing import Any

from docs.extension.commands import WIDTH
from docs.extension.python import names
from experiments.catalogue.methods import classes, describe, show

DOCS = Path(__file__).resolve().parents[1]
MARK = "<!-- generated -->"


def completed(page: str, text: str) -> str:
    """``text`` of a page of docs/methods with its generated part."""
    folder, _, name = page.rpartition("/")
    if folder != "methods" or name not in classes():
        return text
    return text.replace(MARK, generated(name))


def generated(name: str) -> str:
    """Everything about one method that its sources and tables say."""
    row = next(row for row in describe() if row["name"] == name)
    own, trains = {name, *row["stages"]}, row["trainable"] and not row["stages"]
    text = [f"*{row['paper']}*", ""] if row["paper"] else []
    text += [step for cls_name in (name, *row["stages"]) for step in _step(classes()[cls_name])]
    text += ["", "## Variants, settings, weights", "", f"What `lit-inpaint methods {name}` prints:", ""]
    for each in (name, *row["stages"]):
        text += ["```text", *show(classes()[each], int(WIDTH)), "```", ""]
    for heading, pages, column, none in (
        (
            "Parity with the published program",
            ["parity.md"],
            1,
            "No program is compared row by row; [parity](../parity.md) says what is.",
        ),
        (
            "Results here",
            sorted(f"results/{path.name}" for path in (DOCS / "results").glob("*.md")),
            0,
            "None yet: [results](../results.md).",
        ),
        (
            "Cost",
            ["speed.md"],
            0,
            "Not in a table of [speed](../speed.md)"
            + (": `lit-inpaint methods NAME --memory` measures a training step." if trains else "."),
        ),
    ):
        text += [f"## {heading}", ""]
        shown = [part for page in pages for part in rows(page, own, column)]
        text += shown or [none.replace("NAME", name), ""]
    return "\n".join(text)


def _step(cls: Any) -> list[str]:
    """A link to the source of the training step, where there is one."""
    step = vars(cls).get("training_step")
    if step is None or "NoReturn" in str(inspect.signature(step).return_annotation):
        return []
    path = next(path for path, found in names("lit_inpaint.methods").items() if found is cls)
    module = cls.__module__.replace(".", "/")
    link = f'<a href="../_modules/{module}.html">{escape(cls.__module__)}</a>'
    return [
        f"The step as it runs: `training_step` of [{cls.__name__}](../_generated/python/{path}.rst), source in {link}.",
        "",
    ]


def rows(page: str, own: set[str], column: int) -> list[str]:
    """Tables of a page cut to the rows whose cell in ``column`` begins with one of the names, with a link to the page.

    >>> rows("parity.md", {"LaMa"}, 1)[-3].startswith("| lama | LaMa official | 5")
    True
    """
    text = (DOCS / page).read_text(encoding="utf-8")
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    found: list[str] = []
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, rule, *body = table.splitlines()
        kept = [line for line in body if _cell(line, column) in own]
        if kept:
            found += [head, rule, *kept, ""]
    return [f"From [{title[1] if title else page}](../{page}):", "", *found] if found else []


def _cell(line: str, column: int) -> str:
    cells = line.strip("|").split("|")
    word = re.match(r"[*` ]*([A-Za-z]\w*)", cells[column]) if column < len(cells) else None
    return word[1] if word else ""
