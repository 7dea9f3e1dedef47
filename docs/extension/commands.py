"""The reference of the command line: what each command's own parser prints as its help."""

import contextlib
import io
import os
import re

from experiments.cli import COMMANDS, help_text, main

WIDTH = "72"  # columns of the help, as many as a page has room for


def pages() -> dict[str, str]:
    text = ["# Command line", "", "What `lit-inpaint --help` and the help of every command print.", ""]
    text += ["```text", help_text().strip(), "```", ""]
    for group, commands in COMMANDS.items():
        text += [f"## {group}", ""]
        for command, (_, about) in commands.items():
            text += [f"### lit-inpaint {command}", "", f"{about[0].upper()}{about[1:]}.", ""]
            for words in spoken(command):
                text += ["```text", helped(*words), "```", ""]
    return {"commands.md": "\n".join(text)}


def spoken(command: str) -> list[list[str]]:
    """The command, and each command below it.

    >>> spoken("inpaint"), spoken("masks")[1]
    ([['inpaint']], ['masks', 'write'])
    """
    below = re.search(r"^usage: lit-inpaint [\w-]+ \[-h\]\s+\{?(\w+(?:(?:,| \| )\w+)+)\}?\s+\.\.\.", helped(command))
    return [[command], *([command, name] for name in (re.split(r",| \| ", below[1]) if below else []))]


def helped(*words: str) -> str:
    """What ``lit-inpaint WORDS --help`` prints."""
    printed, columns = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            main([*words, "--help"])
    finally:
        del os.environ["COLUMNS"]
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return printed.getvalue().strip()
