"""``lit-inpaint configs``: list the built-in YAMLs and show one. Imports no torch."""

import itertools
import re

from experiments.files.find import INSTALLED, find_yaml
from lit_inpaint.options import Parser


def main(argv: list[str]) -> int:
    p = Parser(prog="lit-inpaint configs", description=__doc__)
    commands = p.add_subparsers(required=True, dest="command", metavar="list | show")
    every = commands.add_parser("list", help="every YAML with the first sentence of its comment")
    every.add_argument("folder", nargs="?", default="", help="only those of one folder: lama, masks, protocols, ...")
    commands.add_parser("show", help="path and content of one").add_argument("name", help="such as lama/places2")
    a = p.parse_args(argv)
    if a.command == "show":
        path = find_yaml(a.name)
        print(f"# {path}\n{path.read_text(encoding='utf-8')}", end="")
        return 0
    names = sorted(path.relative_to(INSTALLED).as_posix() for path in INSTALLED.rglob("*.yaml"))
    if not (shown := [name for name in names if name.startswith(f"{a.folder}/".lstrip("/"))]):
        folders = sorted({name.partition("/")[0] for name in names if "/" in name})
        raise ValueError(f"there are no built-in configurations in {a.folder!r}. Folders: {', '.join(folders)}.")
    for name in shown:
        print(f"{name.removesuffix('.yaml'):<40} {first_sentence((INSTALLED / name).read_text(encoding='utf-8'))}")
    return 0


def first_sentence(text: str) -> str:
    """First sentence of the comment at the top of a YAML, before any command that it shows.

    >>> first_sentence("# Liu et al. 2018, training: masks. And more.\\n# lr: 1")
    'Liu et al. 2018, training: masks'
    >>> first_sentence("# One epoch:\\n#   sky launch\\nmodel: 1")
    'One epoch'
    """
    prose = itertools.takewhile(re.compile("# [^ ]").match, text.splitlines())
    comment = " ".join(line.removeprefix("# ") for line in prose)
    return re.split(r"(?<=[.?])(?<!\bal\.)(?<!\.\.)\s", comment, maxsplit=1)[0].rstrip(":.")
