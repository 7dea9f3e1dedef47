"""Test pages in a real browser."""

from typing import Any


def watch(page: Any) -> list[str]:
    """Console messages, exceptions and network requests of a page."""
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda r: r.url.startswith(("file:", "data:")) or problems.append(r.url))
    return problems
