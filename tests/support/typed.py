"""What pages and messages tell one to type, and the real parsers that take it.

A command stands in a fenced block, in backticks, in ``<code>``, or at the start of a line of its own. A word in
capitals (``NAME``), a ``$VARIABLE`` and a field of an f-string stand for something that the reader has.
"""

import argparse
import ast
import configparser
import html
import importlib.util
import os
import re
import runpy
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from string import Template
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import yaml
from lightning.pytorch.cli import LightningCLI

from experiments import cli
from experiments.files.find import find_yaml
from lit_inpaint.classes import method_classes
from lit_inpaint.methods import PartialConv
from masks.build import laws
from tests.support.house import OURS, ROOT

COMMANDS = {name: module for group in cli.COMMANDS.values() for name, (module, _) in group.items()}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
WRITTEN = {"benchmarks/reproduce.py", "benchmarks/reproduce.yaml"}  # into pages, where the commands stand whole
_MENTION = re.compile(rf"lit-inpaint (?:{'|'.join(sorted(COMMANDS, key=len, reverse=True))})(?![\w-])")
_OTHERS = re.compile(
    r"`(make [a-z-]+|python -m benchmarks[^`\n]*)`|^ +(python -m benchmarks[^#\n]*)|(pip install '[^']+')", re.M
)
_PROSE = r"[:.,;)'\"]|\s*$|\s{2,}|\s+#|\s[·—]|</"  # what may follow a command that is only named
STANDS_FOR = {  # an example of what a word in capitals or a field means, by the word before it
    "--config": "quickstart",
    "--data.help": "ImageFolder",
    "--model.help": "DeepFillV2",
    "assemble": "ICT",
    "benchmark": "repaint",
    "import-weights": "DeepFillV2",
    "methods": "DeepFillV2",
    "prepare": "Places2",
    "protocol show": "repaint",
}
ADDED = {
    "Diamond": "LaMaThick",
    "Cross": "LaMaThick",
    "tiny_gan/photos": "quickstart",
}  # what two pages add, and its like
FIELDS = {"name": "app", "command": "fit", "cls.__name__": "ICT", "at": "hf://ann/holes", "flag": ""}


class Typed(NamedTuple):
    """One command. A ``whole`` one leaves out nothing that is required."""

    where: str
    line: str
    whole: bool


class Block(NamedTuple):
    where: str
    kind: str
    body: str


# ---- from a text to commands -----------------------------------------------------------------------------------------


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(f"{page}:{text.count(chr(10), 0, m.start()) + 1}", m[1], m[2]) for m in BLOCK.finditer(text)]


def shell(body: str) -> list[str]:
    """The commands of a block: loops at their first turn, variables replaced, comments left out.

    >>> shell("T=runs\\nfor s in 0 1; do\\n    lit-inpaint fit --seed $s \\\\\\n --out $T/$s  # twice\\ndone")
    ['lit-inpaint fit --seed 0 --out runs/0']
    """
    found, known = [], defaultdict(lambda: "1")
    for line in re.sub(r"\\\n\s*", " ", body).splitlines():
        line = re.sub(r"(?<!\S)\[([^\]]*)\]", r"\1", line)  # [--optional]
        for part in _parts(Template(line).safe_substitute(known) if "for " not in line else line):
            part = part[1:] if part[:1] == ["do"] else part
            if part[:1] == ["for"]:
                known[part[1]] = part[3]
            while part and re.fullmatch(r"\w+=.*", part[0], re.DOTALL):
                name, _, value = part.pop(0).partition("=")
                known[name] = Template(value).safe_substitute(known)
            if part and part[0] not in {"for", "done"}:
                found.append(shlex.join(Template(word).safe_substitute(known) for word in part))
    return found


def _parts(line: str) -> Iterator[list[str]]:
    words = shlex.shlex(line, posix=True, punctuation_chars=";&")
    words.whitespace_split = True
    part: list[str] = []
    for word in words:
        if set(word) <= {";", "&"}:
            yield part
            part = []
        else:
            part.append(word)
    yield part


def mentions(where: str, text: str) -> Iterator[Typed]:
    """``lit-inpaint COMMAND ...`` in a text outside fenced blocks.

    Raises:
        ValueError: One stands in a sentence without backticks, so that nobody sees where it ends.
    """
    text = re.sub(r"\s*\\\n\s*", " ", text)
    for found in _OTHERS.finditer(text):
        yield Typed(where, re.sub(r"(?<!\S)\[([^\]]*)\]", r"\1", next(filter(None, found.groups()))), False)
    for found in _MENTION.finditer(text):
        before = text[: found.start()].rpartition("\n")[2]
        rest = text[found.start() :]
        if before.endswith("`"):
            yield Typed(where, " ".join(rest.partition("`")[0].split()), False)
        elif before.endswith("<code>"):
            yield Typed(where, html.unescape(rest.partition("</code>")[0]), True)
        elif re.match(_PROSE, text[found.end() :]):
            yield Typed(where, found[0], False)
        elif not re.sub(r"usage: |.*: $|[$>#\s\"']", "", before):
            yield Typed(where, re.split(r"\n|\s{2,}|\s#|, see |: ", rest)[0], True)
        else:
            raise ValueError(f"{where}: put `{rest.partition(chr(10))[0]}` in backticks, or on a line of its own.")


def messages() -> Iterator[tuple[str, str]]:
    """Every text of our code that somebody reads: (file:line, text)."""
    for path in sorted(path for folder in (*OURS, "benchmarks") for path in (ROOT / folder).rglob("*")):
        name = path.relative_to(ROOT).as_posix()
        if name in WRITTEN:
            continue
        if path.suffix == ".py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
            for node in ast.walk(tree):
                if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and id(node) not in inside):
                    yield f"{name}:{node.lineno}", _text(node)
        elif path.suffix in {".yaml", ".j2", ".js"}:  # tests/experiments/test_clusters.py runs the .sbatch files
            text = path.read_text(encoding="utf-8")
            yield name, re.sub(r"^# ?", "", text, flags=re.MULTILINE) if path.suffix == ".yaml" else text


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.FormattedValue):
        return f"{{{ast.unparse(node.value)}}}"
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


# ---- from a command to its parser ------------------------------------------------------------------------------------


class _Parsed(BaseException):
    """What a parser has made of a command; nothing is run after it."""

    def __init__(self, found: Any) -> None:
        self.found = found


def _stop(call: Any) -> Any:
    def parse(*arguments: Any, **named: Any) -> Any:
        found = call(*arguments, **named)
        raise _Parsed(arguments[0].config if isinstance(arguments[0], LightningCLI) else found)

    return parse


_built: dict[str, Any] = {}  # the parser of fit, validate, test and predict, which takes seconds to make


def _once(call: Any) -> Any:
    def set_up(own: LightningCLI, *arguments: Any, **named: Any) -> None:
        if not _built:
            call(own, *arguments, **named)
            _built.update(vars(own))
        vars(own).update(_built)

    return set_up


@contextmanager
def _stopping() -> Iterator[None]:
    stopped = {name: _stop(getattr(argparse.ArgumentParser, name)) for name in ("parse_args", "parse_intermixed_args")}
    fitting = {"parse_arguments": _stop(LightningCLI.parse_arguments), "setup_parser": _once(LightningCLI.setup_parser)}
    with (
        patch.dict(
            os.environ, {"LIT_INPAINT_TRACEBACK": "1", "LIT_INPAINT_DATA": os.getenv("LIT_INPAINT_DATA", "data")}
        ),
        patch.multiple(argparse.ArgumentParser, **stopped),
        patch.multiple(LightningCLI, **fitting),
    ):
        yield


def parse(typed: Typed) -> str:
    """Let the command's own parser read it; return the name of the program.

    Raises:
        ValueError: What the parser says, or the name that there is not.
    """
    words = _filled(shlex.split(typed.line, comments=True))
    program, *words = words
    if program.endswith("lit-inpaint"):
        _parse_ours(words, typed)
    elif program == "torchrun":
        from torch.distributed.run import get_args_parser

        given = get_args_parser().parse_args(words)
        assert given.training_script == "experiments" and given.module
        _parse_ours(given.training_script_args, typed)
    elif program == "python":
        try:
            _parse_module(words)
        except SystemExit as end:  # plain argparse, which has printed its reason
            if typed.whole:
                raise ValueError(f"{typed.where}: {typed.line}: not taken by its parser.") from end
    elif program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        _known(typed, [word for word in words if "=" not in word], targets)
    elif program == "pip":
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg")
        extras = [name for word in words for name in re.findall(r"lit-inpaint\[([\w,-]+)\]", word)]
        _known(typed, extras, set(setup["options.extras_require"]))
    return program


def _filled(words: list[str]) -> list[str]:
    """``words`` with an example in the place of each name that stands for something."""
    found: list[str] = []
    for word in words:
        if "{class_path" not in word:
            word = re.sub(r"\{([^{}]*)\}", lambda field: FIELDS.get(field[1], "1"), word)
        pair, last = " ".join(found[-2:]), found[-1] if found else ""
        if re.fullmatch(r"[A-Z]{2,}", word) and word not in method_classes():
            word = STANDS_FOR.get(pair, STANDS_FOR.get(last, word))
        if word == "..." and last in {"fit", "--config"}:
            found += ["--config", "quickstart"] if last == "fit" else ["quickstart"]
        elif word not in {"", "..."}:
            found.append(ADDED.get(word, word))
    return found


def _parse_ours(words: list[str], typed: Typed) -> None:
    for word in words:  # a checkpoint and a saved configuration are read with the command line
        if re.fullmatch(r"(?!.*[*:=]).+\.ckpt|runs/.*\.yaml|best\.yaml", word) and not Path(word).exists():
            _write(Path(word))
    try:
        with _stopping():
            cli.main(words)
    except _Parsed as parsed:
        _check_names(words, parsed.found, typed)
    except SystemExit as end:  # --help
        assert not end.code, typed
    except ValueError as error:
        if typed.whole or not re.search("required|expected one argument", str(error)):
            raise ValueError(f"{typed.where}: {typed.line}: {error}") from error


def _write(path: Path) -> None:
    """A checkpoint or a saved configuration, as far as the command line reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".yaml":
        data = {"class_path": "SamplePhotos", "init_args": {"mask": {"class_path": "CenterRectangle"}}}
        path.write_text(yaml.safe_dump({"model": {"class_path": "PartialConv"}, "data": data}))
    else:
        method = PartialConv(levels=2, width=4)
        content = {"method": "PartialConv", "state_dict": method.state_dict(), "hyper_parameters": dict(method.hparams)}
        torch.save(content | {"global_step": 1, "optimizer_states": []}, path)


def _check_names(words: list[str], given: Any, typed: Typed) -> None:
    """Methods, protocols, sweeps and mask laws by name are among those that there are."""
    methods = [
        word for name in ("method", "methods") if (value := getattr(given, name, None)) for word in _listed(value)
    ]
    names = [word for word in methods if re.fullmatch(r"[A-Z]\w*[a-z]\w*", word)]
    if words[0] in {"inpaint", "benchmark", "app"}:
        _known(typed, names, set(method_classes()))
    for command, folder in (("benchmark", "protocols"), ("protocol", "protocols"), ("sweep", "sweeps")):
        name = getattr(given, folder.removesuffix("s"), None) if words[0] == command else None
        if isinstance(name, str) and not name.endswith(".yaml") and not name.isupper():
            find_yaml(name, folder)
    if words[:1] == ["masks"] and re.fullmatch(r"[A-Z]\w*[a-z]\w*", str(getattr(given, "mask", ""))):
        _known(typed, [given.mask], set(laws()))


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _known(typed: Typed, names: list[str], allowed: set[str]) -> None:
    if unknown := set(names) - allowed:
        raise ValueError(f"{typed.where}: {typed.line}: there is no {', '.join(unknown)}.")


def _parse_module(words: list[str]) -> None:
    """``python -m MODULE ...`` as far as its parser; one that has none is looked for."""
    assert words[0] == "-m", words
    assert importlib.util.find_spec(words[1]), words
    source = Path(importlib.util.find_spec(words[1]).origin).read_text(encoding="utf-8")
    if "parse_args" in source:
        with patch.object(sys, "argv", words[1:]), suppress(_Parsed), _stopping():
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
