"""docs/architecture.md names only what there is: files, folders, and what stands in them."""

import re

import pytest

from tests.support.house import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
DRAWING = re.search(r"```\n(.*?)```", PAGE, re.DOTALL)[1]
WORDS = PAGE.replace(DRAWING, "")
PATHS = sorted(set(re.findall(r"`((?:\w+/)+[\w.]*)`", WORDS)))
CHANGES = (
    "method", "training stage", "loss", "metric", "mask law", "data set", "sampler", "callback", "column", "command",
    "flag of a command", "resumable state", "foreign weight format", "protocol", "published row",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_path_of_the_page_exists(path: str):
    assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file()


def test_the_drawing_shows_files_of_the_package_in_whose_box_they_stand():
    found = 0
    columns = {0: ""}  # package by the column in which its box begins
    for line in DRAWING.splitlines():
        if boxes := [(match.start(), match[1]) for match in re.finditer(r"┌ (\w+)/", line)]:
            columns = dict(boxes)
        for match in re.finditer(r"(?<![\w/])(?:\w+/)*\w+(?:\.py|/)(?!\w)", line):
            package = columns[max(column for column in columns if column <= match.start())]
            path = match[0].replace("PAPER", "lama")
            assert (ROOT / path if path == f"{package}/" else ROOT / package / path).exists(), match[0]
            found += 1
    assert found > 30


def test_what_the_page_names_in_a_file_stands_in_it():
    named = re.findall(r"`(\w+)(?:\(\w*\))?` (?:of|in) `(\w+/[\w/]+\.\w+)`", WORDS)
    named += re.findall(r"`(\w+)` \(`(\w+/[\w/]+\.\w+)`\)", WORDS)
    assert len(named) >= 8
    assert not [(name, path) for name, path in named if not re.search(rf"\b{name}\b", (ROOT / path).read_text())]


def test_the_page_says_where_each_kind_of_change_belongs_and_links_to_pages_that_exist():
    kinds = [line.split("|")[1].strip() for line in WORDS.splitlines() if line.startswith("| ")]
    assert not [kind for kind in CHANGES if not any(row.startswith(kind) for row in kinds)]
    links = re.findall(r"\]\((\w+\.md)\)", WORDS)
    assert links and all((ROOT / "docs" / link).is_file() for link in links)
    assert max(map(len, DRAWING.splitlines())) <= 110
