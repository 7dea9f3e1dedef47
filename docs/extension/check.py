"""Check a built site: links inside lead somewhere, and nothing is loaded from elsewhere when a page is viewed.

python -m docs.extension.check docs/_build/html
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}
NOT_LOADED = {"canonical", "next", "prev", "index", "search", "author", "help"}  # of <link rel>
# Nothing lists what themes write by script; what a style sheet loads stands in url() and @import.
_STYLE = re.compile(r"(?:url\(|@import\s+)['\"]?(https?:)?//[^)'\"]+")


class Page(HTMLParser):
    """What a page loads, where it links to, and what can be linked to on it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in LOADS and LOADS[tag] in given and given.get("rel") not in NOT_LOADED:
            self.loads.append(given[LOADS[tag]])


def faults(folder: Path) -> list[str]:
    """One line per broken link and per thing loaded from elsewhere."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}
    pages = {path: page for path, page in pages.items() if "_static" not in path.parts}  # templates of the theme
    found = []
    for path, page in pages.items():
        at = path.relative_to(folder)
        found += [f"{at} loads {url} from elsewhere" for url in page.loads if urlsplit(url).netloc]
        for url in {*page.links, *page.loads}:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc or url in {"", "#"}:
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            file = file / "index.html" if file.is_dir() else file
            if not file.exists():
                found.append(f"{at} links to {url}, which is not there")
            elif parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].anchors:
                found.append(f"{at} links to {url}, which has no such place")
    for path in folder.rglob("*.css"):
        found += [f"{path.relative_to(folder)} loads {url[0]}" for url in _STYLE.finditer(path.read_text("utf-8"))]
    return sorted(found)


def main(folder: str) -> int:
    found = faults(Path(folder).resolve())
    pages = len(list(Path(folder).rglob("*.html")))
    print(*found, f"{pages} pages, {len(found)} faults", sep="\n")
    return 1 if found or not pages else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
