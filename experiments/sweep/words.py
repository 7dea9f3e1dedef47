"""A trial's command: W&B's macros filled in, value by value as its agent does it (wandb/wandb_agent.py 0.31)."""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

FOLDER = "trainer.default_root_dir"
DEFAULT = ["${env}", "${interpreter}", "${program}", "${args}"]  # W&B's
ARGUMENTS = {
    "args", "args_no_equals", "args_no_hyphens", "args_no_boolean_flags", "args_append_hydra", "args_override_hydra",
    "args_json", "args_json_file",
}  # fmt: skip
_READ_BY_FIT = {"args", "args_no_equals", "args_json", "args_json_file"}
_MACRO = re.compile(r"\$\{(\w+)\}")
ENVIRONMENT = re.compile(r"\$\{envvar:([A-Za-z0-9_]+)\}")
_ENV = "/usr/bin/env"


def read_command(given: object, program: object) -> list[str]:
    """The command of a sweep file with its program filled in, or W&B's default.

    Raises:
        ValueError: A macro is unknown, or the command does not take the parameters.
    """
    if given is not None and not isinstance(given, list):
        raise ValueError(f'command must be a list of words such as [lit-inpaint, fit, "${{args}}"], given {given!r}.')
    words = [str(word) for word in given or DEFAULT]
    if "${program}" in words and not program:
        raise ValueError("program is missing: the command names ${program}, as W&B's own does where none is given.")
    for word in words:
        if (macro := _MACRO.fullmatch(word)) and macro[1] not in ARGUMENTS | {"env", "interpreter", "program"}:
            known = ", ".join(sorted(ARGUMENTS))
            raise ValueError(f"command: there is no {word}. There are ${{...}} of: env, interpreter, program, {known}.")
    words = [str(program) if word == "${program}" else word for word in words]
    taken = [macro[1] for word in words if (macro := _MACRO.fullmatch(word)) and macro[1] in ARGUMENTS]
    if not taken:
        raise ValueError(
            'command must hold "${args}" or another form of the arguments, as in [lit-inpaint, fit, --config, '
            'quickstart, "${args}"].'
        )
    if words[_program(words)] == "lit-inpaint" and not set(taken) <= _READ_BY_FIT:
        raise ValueError(f'lit-inpaint reads --name=value: put "${{args}}" in the place of "${{{taken[0]}}}".')
    return words


def fill(command: Sequence[str], drawn: Mapping[str, object], folder: Path) -> list[str]:
    """The command of one trial: its parameters, and its folder as the last argument."""
    words: list[str] = []
    behind: list[str] = []
    own = {FOLDER: str(folder)}
    for word in command:
        macro = match[1] if (match := _MACRO.fullmatch(word)) else ""
        if macro == "args_json":
            words.append(json.dumps({**drawn, **own}, default=str))
        elif macro == "args_json_file":
            file = folder / "arguments.json"
            file.write_text(json.dumps({**drawn, **own}, default=str))
            words.append(str(file))
        elif macro in ARGUMENTS:
            words += [part for name, value in drawn.items() for part in _argument(macro, name, value)]
            behind = behind or _argument(macro, FOLDER, own[FOLDER])
        elif macro:
            words.append(_ENV if macro == "env" else sys.executable)
        else:
            words.append(ENVIRONMENT.sub(_variable, word))
    start = _program(words)
    if words[start] == "lit-inpaint":  # this installation's, whatever PATH says
        words[start : start + 1] = [sys.executable, "-P", "-m", "experiments"]
    return [*words, *behind]


def _argument(macro: str, name: str, value: object) -> list[str]:
    """
    >>> _argument("args", "clip_norm", None), _argument("args_no_boolean_flags", "flip", True)
    (['--clip_norm=None'], ['--flip'])
    """
    if macro == "args_no_boolean_flags" and isinstance(value, bool):
        return [f"--{name}"] * value
    if macro == "args_no_equals":
        return [f"--{name}", str(value)]
    before = {"args_no_hyphens": "", "args_append_hydra": "+", "args_override_hydra": "++"}.get(macro, "--")
    return [f"{before}{name}={value}"]


def _program(words: Sequence[str]) -> int:
    """Where the program stands, behind env and the variables that it sets."""
    first = words and words[0] in (_ENV, "${env}")
    return next((i for i, word in enumerate(words) if not first or (i and "=" not in word)), 0)


def _variable(match: re.Match[str]) -> str:
    if match[1] not in os.environ:
        raise ValueError(f"the sweep's command names the environment variable {match[1]}, which is not set.")
    return os.environ[match[1]]
