"""The cause in an error of jsonargparse, which nests it in all that surrounds it."""

import re
import sys
from inspect import signature
from itertools import takewhile

from masks.nearest import nearest

_PROBLEM = "Problem with given class_path '"
_AROUND = re.compile(r"(- Expected a <class 'NoneType'>|Given value|Subtypes:|Errors:|Does not validate against)")


def problem(message: str) -> tuple[str, str]:
    """The innermost class that could not be made, "" if none is named, and why.

    >>> problem("Errors:\\n  - Problem with given class_path 'a.B':\\n      No 'c'\\n  - Expected\\nGiven value: 3")
    ('a.B', "No 'c'")
    """
    path, lines = "", message.splitlines()
    if starts := [number for number, line in enumerate(lines) if _PROBLEM in line]:
        first, *below = lines[starts[-1] :]
        path, _, rest = first.partition(_PROBLEM)[2].partition("':")
        lines = [rest, *takewhile(lambda line: _depth(line) > _depth(first), below)]
    said = [stripped for line in lines if (stripped := line.strip()) and not _AROUND.match(stripped)]
    whole = said if path else said[-1:]  # of any other error the last line
    return path, " ".join(" ".join(line.removeprefix("- ") for line in whole).split())


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def cause(error: Exception) -> str:
    """One line: why a class could not be made, with the nearest argument where there is none of a name."""
    path, said = problem(str(error))
    module, _, name = path.rpartition(".")
    cls = getattr(sys.modules.get(module), name, None)
    if (unknown := re.fullmatch(r"Option '(.+)' is not accepted", said)) and isinstance(cls, type):
        named = [one.name for one in signature(cls).parameters.values() if one.kind != one.VAR_KEYWORD]
        return f"there is no argument '{unknown[1]}'. {nearest(unknown[1], named)}"
    return said or type(error).__name__
