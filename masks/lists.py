"""Lists of files, one path per line, as people, editors and other programs write them."""

import os
import re
from collections.abc import Callable
from pathlib import PurePosixPath

from masks.archives import holds
from masks.regular import read_text

_CLASS = re.compile(r"(.+\.\w{2,5})[ \t,;]+-?\d+")  # sub/a.jpg 17, as in the lists of ImageNet and Places2


def read_list(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> list[str]:
    """The names of a list as paths below ``root``, with "/", without "." and "..": safe to call outputs after.

    Taken as they are meant, whichever the first such line shows to be there: backslashes, a class number behind the
    path, bytes of Windows' code page 1252, Places2's "/" in front. Empty lines and lines with # are left out.

    Raises:
        ValueError: Naming the list: no text, no name in it, or one that lies outside ``root``.
    """
    text = read_text(path)
    lines = [line.strip() for line in text.split("\n")]
    names = [line for line in lines if line and (line[0] != "#" or holds(root, line))]
    if not names:
        raise ValueError(f"{path}: the list names no file. Write one path per line, below the data set's root.")
    if _CLASS.fullmatch(names[0]):
        names = _settled(names, root, _without_class)
    return as_meant(names, path, root, text)


def as_meant(names: list[str], path: str | os.PathLike[str], root: str | os.PathLike[str], text: str) -> list[str]:
    """The names of a list with this ``text`` as paths below ``root``, see :func:`read_list`."""
    if "\\" in text:
        names = _settled(names, root, _slashes)
    if not text.isascii():
        names = _settled(names, root, _from_windows)
    if names[0][0] == "/":
        names = _settled(names, root, _without_slash_in_front, surely=False)
    try:
        return _below(names, root)
    except ValueError as error:
        raise ValueError(f"{path} names {error}") from None


def _without_class(name: str) -> str:
    found = _CLASS.fullmatch(name)
    return found[1] if found else name


def _slashes(name: str) -> str:
    return name.replace("\\", "/")


def _from_windows(name: str) -> str:
    encoded = name.encode("utf-8", "surrogateescape")
    return name if name.isascii() or encoded.decode("utf-8", "ignore") == name else encoded.decode("cp1252", "replace")


def _without_slash_in_front(name: str) -> str:
    return name.lstrip("/")


def _settled(
    names: list[str], root: str | os.PathLike[str], change: Callable[[str], str], surely: bool = True
) -> list[str]:
    """All ``names`` changed, or none: the first that ``change`` concerns says which, by the file that exists.

    Args:
        surely: Where neither exists, the change is right: it says in an error what was looked for.
    """
    first = next((name for name in names if change(name) != name), None)
    if first is None or holds(root, first):
        return names
    if surely or holds(root, change(first)):
        return [change(name) for name in names]
    return names


def _below(names: list[str], root: str | os.PathLike[str]) -> list[str]:
    roots = [os.path.abspath(root), os.path.realpath(root)]

    def relative(name: str) -> str:
        if name[0] != "/" and ".." not in name and "./" not in name and "//" not in name:
            return name
        path = PurePosixPath(name)
        own = next((place for place in roots if path.is_relative_to(place)), None)
        path = path.relative_to(own) if own else path
        if path.is_absolute() or ".." in path.parts:  # a link may lead back below the root, or out of it
            path = PurePosixPath(os.path.realpath(os.path.join(root, path)))
            if not path.is_relative_to(roots[1]):
                raise ValueError(
                    f"{name}, which lies outside {root}. Give a root that holds every file of the list, or list paths "
                    "below it."
                )
            path = path.relative_to(roots[1])
        return path.as_posix()

    return [relative(name) for name in names]
