"""What the site generates from the sources of lit-inpaint: reference, pictures, and the parts of each method's page."""

from functools import partial
from pathlib import Path
from typing import Any

from docs.extension import commands, formats, gallery, links, methods, python, settings

OUT = "_generated"
BELOW = {"results": "results/*\nreproduce/*"}  # pages of a folder, listed by a page that is read elsewhere as well


def generate(docs: Path) -> list[Path]:
    """Write every generated page into ``docs/_generated``; a page whose text is the same keeps its time."""
    pages: dict[str, str | bytes] = {}
    for part in (commands, formats, gallery, links, python, settings):
        pages |= part.pages()
    for name, content in pages.items():
        path = docs / OUT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else content.encode()
        if not path.is_file() or path.read_bytes() != data:
            path.write_bytes(data)
    for path in (docs / OUT).rglob("*"):
        if path.is_file() and path.relative_to(docs / OUT).as_posix() not in pages:
            path.unlink()
    return [docs / OUT / name for name in pages]


def _read(app: Any, name: str, text: list[str]) -> None:
    if not name.startswith(OUT) and app.env.doc2path(name).suffix == ".md":
        text[0] = links.inside(methods.completed(name, text[0]), name)
        if name in BELOW:
            text[0] += f"\n:::{{toctree}}\n:hidden:\n:glob:\n\n{BELOW[name]}\n:::\n"


def _begin(app: Any) -> None:
    generate(Path(app.srcdir))


def setup(app: Any) -> dict[str, bool]:
    from jupyter_cache.executors import utils  # the extra `docs`, which tests of what is generated do without

    # A pipe's text comes in pieces of 100 bytes, each of which MyST-NB would put on lines of its own.
    utils.executenb = partial(utils.executenb, coalesce_streams=True)
    app.connect("builder-inited", _begin)
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
