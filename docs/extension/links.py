"""Pages that are kept outside docs/, and links to files that the site does not have."""

import re
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = {  # file of the checkout: its page below _generated
    "CHANGELOG.md": "changelog.md",
    "CITATION.cff": "",
    "CODE_OF_CONDUCT.md": "code_of_conduct.md",
    "CONTRIBUTING.md": "contributing.md",
    "LICENSE": "",
    "README.md": "",
    "SECURITY.md": "security.md",
    "benchmarks/public.md": "public.md",
    "lit_inpaint/zoo/README.md": "zoo_card.md",
    "setup.cfg": "",
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def pages() -> dict[str, str]:
    """The pages outside docs/, with their links as seen from ``docs/_generated``."""
    found = {}
    for file, page in OUTSIDE.items():
        if page:
            text = (ROOT / file).read_text(encoding="utf-8")
            found[page] = _linked(text, PurePosixPath(file).parent, PurePosixPath("docs/_generated"))
    return found


def inside(text: str, name: str) -> str:
    """``text`` of the page ``name`` of docs/ with links that the site can follow.

    >>> inside("[a](../CHANGELOG.md), [b](data.md#x), [c](../benchmarks/training)", "masks")
    '[a](_generated/changelog.md), [b](data.md#x), c (`benchmarks/training` of the repository)'
    """
    folder = PurePosixPath("docs", name).parent
    return _linked(text, folder, folder)


def _linked(text: str, at: PurePosixPath, to: PurePosixPath) -> str:
    """Relative links from a file in ``at``, as from one in ``to``; both relative to the checkout."""

    def replace(match: re.Match[str]) -> str:
        picture, words, target = match.groups()
        path, hash_, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:|<", target):
            return match[0]
        file = _normal(at / path)
        if (file.suffix == "" and (ROOT / file).is_dir()) or OUTSIDE.get(str(file)) == "":
            return f"{words} (`{file}` of the repository)" if words != str(file) else f"`{file}`"
        if str(file) in OUTSIDE:
            file = PurePosixPath("docs/_generated", OUTSIDE[str(file)])
        elif at == to and file.parts[0] == "docs":
            return match[0]
        return f"{picture}[{words}]({_relative(file, to)}{hash_}{anchor})"

    parts = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _LINK.sub(replace, part) for part in parts)


def _normal(path: PurePosixPath) -> PurePosixPath:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return PurePosixPath(*parts)


def _relative(file: PurePosixPath, to: PurePosixPath) -> str:
    """
    >>> _relative(PurePosixPath("docs/a.md"), PurePosixPath("docs/_generated"))
    '../a.md'
    """
    common = 0
    while common < len(to.parts) and file.parts[common] == to.parts[common]:
        common += 1
    return "/".join([*[".."] * (len(to.parts) - common), *file.parts[common:]])
