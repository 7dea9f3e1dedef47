"""How commands are spoken to and speak: the parser of all but fit, doctor and the quickstart, and their messages."""

import argparse
import contextlib
import logging
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from masks.nearest import nearest


class Parser(argparse.ArgumentParser):
    """Raises ValueError where argparse prints its usage and exits, and names an unknown option before anything else:
    argparse first misses what the misspelt option would have given.

    >>> parser = Parser(prog="lit-inpaint inpaint")
    >>> _ = parser.add_argument("--method", required=True)
    >>> parser.parse_args(["--metod", "Telea"])
    Traceback (most recent call last):
    ValueError: there is no option --metod. Did you mean '--method'? Allowed: --help, --method.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register("type", Path, _path)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        options = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        nested = any(isinstance(action.choices, dict) for action in self._actions)  # their parsers check their own
        for word in [] if nested else words[: words.index("--") if "--" in words else None]:
            name = word.partition("=")[0]
            if name.startswith("--") and not any(option.startswith(name) for option in options):
                self.error(f"there is no option {name}. {nearest(name, options)}")
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        named = "Allowed:" in message or "Did you mean" in message
        raise ValueError(message if named else f"{message}; `{self.prog} --help` shows every option.")


def _path(given: str) -> Path:
    """The value of a path option; "" would be the current folder."""
    if not given:
        raise argparse.ArgumentTypeError("it is empty, perhaps an unset variable; give a path, or '.'.")
    return Path(os.path.expanduser(given))  # of --out=~/x, which the shell leaves as it is


class _Messages(logging.Handler):
    """What our packages log, on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"lit-inpaint: {record.getMessage()}", file=sys.stderr, flush=True)


def show_messages() -> None:
    """From Python, logging is the caller's; a command shows what its functions log."""
    for package in ("lit_inpaint", "experiments"):
        logger = logging.getLogger(package)
        logger.setLevel(logging.INFO)
        if not any(isinstance(handler, _Messages) for handler in logger.handlers):
            logger.addHandler(_Messages())


def key_value(pair: str) -> tuple[str, Any]:
    """The name and the value, read as YAML.

    >>> key_value("rates=[1, 2]")
    ('rates', [1, 2])
    """
    key, equals, value = pair.partition("=")
    if not equals:
        raise ValueError(f"'{pair}' is not an argument; write KEY=VALUE, e.g. width=32.")
    if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", value):  # PyYAML's floats have a dot and a signed exponent
        return key, float(value)
    try:
        return key, yaml.safe_load(value)
    except Exception as error:  # whatever PyYAML's constructors raise
        raise ValueError(f"{pair!r}: the value is not YAML ({' '.join(str(error).split())}).") from error


def key_values(pairs: Iterable[str]) -> dict[str, Any]:
    """
    >>> key_values(["steps=50", "eta=1e-1"])
    {'steps': 50, 'eta': 0.1}

    Raises:
        ValueError: One of them is not KEY=VALUE, or a key is given twice.
    """
    found: dict[str, Any] = {}
    for key, value in map(key_value, pairs):
        if key in found:
            raise ValueError(f"{key} is given twice, {found[key]!r} and {value!r}; leave one out.")
        found[key] = value
    return found


def count(text: str) -> int:
    """A number of things, from 1, as an option takes it.

    >>> count("8")
    8

    Raises:
        ArgumentTypeError: It is no such number.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1")
    return int(text)


@contextlib.contextmanager
def loading(what: str, every: float = 2.0) -> Iterator[None]:
    """In a terminal, say that imports are still running, with a dot every two seconds."""
    if not sys.stderr.isatty():
        yield
        return
    print(f"lit-inpaint: loading {what} ...", end="", file=sys.stderr, flush=True)
    loaded = threading.Event()

    def wait() -> None:
        while not loaded.wait(every):
            print(".", end="", file=sys.stderr, flush=True)

    dots = threading.Thread(target=wait)
    dots.start()
    try:
        yield
    finally:
        loaded.set()
        dots.join()  # before anything forks
        print(file=sys.stderr, flush=True)
