"""Test pages in a real browser."""

from typing import Any

import pytest


def watch(page: Any) -> list[str]:
    """Console messages, exceptions and network requests of a page."""
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda r: r.url.startswith(("file:", "data:")) or problems.append(r.url))
    return problems


def violations(page: Any) -> list[str]:
    """Serious and critical violations that axe-core finds; skips without it.

    It is evaluated by the browser's debugger, which needs no permission of the page's content security policy.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {' '.join(map(str, node['target']))}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
