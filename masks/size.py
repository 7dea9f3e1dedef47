"""Sizes of images as people write them: one number for a square, or height and width."""

import argparse
from typing import Any, TypeAlias

Size: TypeAlias = int | tuple[int, int]  # the side of a square, or (height, width)

MOST = 2**14


def square_or_pair(size: Any, name: str = "image_size", most: int = MOST) -> Size:
    """A size as given in Python, YAML or JSON; two equal sides are a square, so that both have one hash.

    Args:
        size: A whole number, or two of them, height first.
        name: What the size is called, for the error.

    Raises:
        ValueError: It is neither, or a side is not from 1 to ``most``.

    >>> square_or_pair([48, 80]), square_or_pair(64), square_or_pair((64, 64))
    ((48, 80), 64, 64)
    >>> square_or_pair([48])
    Traceback (most recent call last):
    ValueError: image_size is [48]; expected a whole number from 1 to 16384, or two, [height, width].
    """
    given = size if isinstance(size, list | tuple) else (size, size)
    if len(given) != 2 or not all(type(side) is int and 1 <= side <= most for side in given):
        raise ValueError(f"{name} is {size!r}; expected a whole number from 1 to {most}, or two, [height, width].")
    height, width = given
    return height if height == width else (height, width)


def sides(size: Any, name: str = "image_size") -> tuple[int, int]:
    """(height, width) of what :func:`square_or_pair` takes.

    >>> sides(64), sides((48, 80))
    ((64, 64), (48, 80))
    """
    checked = square_or_pair(size, name)
    return (checked, checked) if isinstance(checked, int) else checked


def plain(size: Size) -> int | list[int]:
    """The size as YAML and JSON hold it.

    >>> plain(64), plain((48, 80))
    (64, [48, 80])
    """
    return size if isinstance(size, int) else list(size)


def parse_size(text: str) -> Size:
    """A size on a command line: 256, or 321x481 for height x width.

    Raises:
        argparse.ArgumentTypeError: It is no size.

    >>> parse_size("256"), parse_size("48x80")
    (256, (48, 80))
    """
    height, pair, width = text.partition("x")
    try:
        return square_or_pair([int(height), int(width if pair else height)])
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; give 256, or 321x481 for height x width") from None


def by_name(size: Any) -> str:
    """A size in words.

    >>> by_name(64), by_name((48, 80))
    ('64x64', '48x80 (height x width)')
    """
    height, width = sides(size)
    return f"{height}x{width}" + (" (height x width)" if height != width else "")
