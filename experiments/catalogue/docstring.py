"""A class's docstring as text for a terminal of any width."""

import inspect
import re
import textwrap
from collections.abc import Iterator
from itertools import zip_longest


def wrap(text: str, width: int, first: str = "", rest: str | None = None) -> list[str]:
    """Lines of at most ``width``; ``first`` begins the first, ``rest`` (or ``first``) the others. "\\xa0" never breaks.

    >>> wrap("generator\\xa0123, discriminator\\xa0456", 20, "  ")
    ['  generator 123,', '  discriminator 456']
    """
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_on_hyphens=False,
    )
    return [line.replace("\xa0", " ") for line in lines]


def reflow(cls: type, width: int) -> Iterator[str]:
    """The docstring without examples, wrapped to ``width``, with the default of each argument beside its name."""
    parameters = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
    defaults = {name: p.default for name, p in parameters.items() if p.kind is not p.VAR_KEYWORD and name != "self"}
    documented: set[str] = set()

    def with_default(name: str) -> str:
        documented.add(name)
        return (
            name
            if defaults.get(name, inspect.Parameter.empty) is inspect.Parameter.empty
            else f"{name}\xa0=\xa0{defaults[name]!r}"
        )

    text = re.sub(r":\w+:`[~.]?([^`]+)`", r"\1", inspect.getdoc(cls) or "").replace("``", "`")
    before, _, entries = text.partition("\nArgs:\n")
    paragraphs = [paragraph for paragraph in before.strip().split("\n\n") if not paragraph.startswith(">>>")]
    for number, paragraph in enumerate(paragraphs):
        yield from [""] if number else []
        yield from table(paragraph.split("\n"), width) if "====" in paragraph else wrap(_joined(paragraph), width)
    yield from ["", "Arguments"] if defaults else []
    for entry in re.split(r"\n {4}(?=\S)", f"\n{entries}")[1:]:
        names, colon, about = entry.partition(":")
        if set(names.split(", ")) <= set(parameters):
            names = ", ".join(with_default(name) for name in names.split(", "))
        yield from wrap(_joined(names + colon + about), width, "  ", " " * 6)
    for name in [name for name in defaults if name not in documented]:
        yield from wrap(with_default(name), width, "  ", " " * 6)


def _joined(text: str) -> str:
    return re.sub(r"[ \n]+", " ", text).strip()


def table(lines: list[str], width: int) -> Iterator[str]:
    """A table without the rules of "=" around it, its columns made narrower, the widest first, until it fits.

    >>> list(table(["=== =====", ".   e f g", "=== =====", "a   b c d", "=== ====="], 7))
    ['    e f', '    g', '--- ---', 'a   b c', '    d']
    """
    spans = [match.span() for match in re.finditer("=+", lines[0])]
    spans[-1] = (spans[-1][0], max(map(len, lines)))  # the last cell may be longer than its rule
    sizes, gap = [end - start for start, end in spans], spans[1][0] - spans[0][1] if len(spans) > 1 else 0
    while sum(sizes) + gap * (len(sizes) - 1) > width and max(sizes) > 1:
        sizes[sizes.index(max(sizes))] -= 1
    for line in lines[1:-1]:
        if line.startswith("="):
            cells = [["-" * size] for size in sizes]
        else:
            cells = [
                wrap(re.sub(r"^\.$", "", line[start:end].strip()), size) or [""]
                for (start, end), size in zip(spans, sizes, strict=True)
            ]
        for row in zip_longest(*cells, fillvalue=""):
            yield (" " * gap).join(cell.ljust(size) for cell, size in zip(row, sizes, strict=True)).rstrip()
