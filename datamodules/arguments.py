"""Arguments that are refused before anything is read."""

from numbers import Integral
from typing import Any, TypeVar, get_args

T = TypeVar("T")


def one_of(value: T, literal: Any, name: str) -> T:
    """``value``, if it is one of the words of ``literal``.

    Raises:
        ValueError: It is another, or none.

    >>> from typing import Literal
    >>> one_of("shortest", Literal["shorter", "direct", "none"], "resize")
    Traceback (most recent call last):
    ValueError: resize is 'shortest'; expected shorter, direct or none.
    """
    *words, last = get_args(literal)
    if value not in (*words, last):
        raise ValueError(f"{name} is {value!r}; expected {', '.join(words)} or {last}.")
    return value


def check_whole(least: int, **given: object) -> None:
    """Refuse what is no whole number of ``least`` or more; None, for an argument that is not given, passes.

    Raises:
        ValueError: Naming the first of them.

    >>> check_whole(1, batch_size=16, limit_eval=0)
    Traceback (most recent call last):
    ValueError: limit_eval is 0; expected a whole number of 1 or more.
    """
    for name, value in given.items():
        if value is not None and (not isinstance(value, Integral) or isinstance(value, bool) or value < least):
            raise ValueError(f"{name} is {value!r}; expected a whole number of {least} or more.")
