"""Read YAML and JSON; any error is one line that names the file."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from masks.regular import read_text

Plain = dict[str, Any]  # a mapping as JSON and YAML hold it


@contextmanager
def said_by(path: Path, *given: Path | None) -> Iterator[None]:
    """Add the file's name to errors about its content, including values of the wrong type, but not to those about
    ``given``, paths that the file does not hold.

    Use it only around code that interprets the file.
    """
    try:
        yield
    except OSError:
        raise
    except ValueError as error:
        if any(name in str(error) for name in (path.name, *(str(other) for other in given if other))):
            raise
        raise ValueError(f"{path}: {error}") from error
    except (TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"{path} has unexpected content ({type(error).__name__}: {error}).") from error


def read_yaml(path: Path) -> Plain:
    """
    Raises:
        ValueError: The file is not YAML, or no mapping.
    """
    return _mapping(path, parse_yaml(path))


def parse_yaml(path: Path) -> Any:
    """
    Raises:
        ValueError: The file is not YAML.
    """
    text = read_text(path)
    try:
        content = yaml.safe_load(text)
        json.dumps(content, default=str, skipkeys=True)  # a ValueError where an anchor holds its own alias
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{path} is not YAML: {error.problem or error.context}{where}.") from error
    except Exception as error:  # PyYAML's constructors raise ValueError, KeyError, AttributeError, RecursionError
        raise ValueError(f"{path} is not YAML ({type(error).__name__}: {' '.join(str(error).split())}).") from error
    return content


def read_json(path: Path) -> Plain:
    """
    Raises:
        ValueError: The file is not JSON, or no mapping.
    """
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}).") from error
    return _mapping(path, content)


def _mapping(path: Path, content: object) -> Plain:
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{path} holds {type(content).__name__}; expected a mapping of names to values.")
    return content
