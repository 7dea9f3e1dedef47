"""A prompt for each image, from the column of a table."""

import csv
import io
import os
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from masks.tables import IMAGE, read_table

PROMPT, NEGATIVE = "prompt", "negative_prompt"


class Words(NamedTuple):
    """What one image is to show, and what it is not to show; None: what the settings say."""

    prompt: str | None = None
    negative_prompt: str | None = None

    @property
    def given(self) -> list[str]:
        """The arguments that are not empty."""
        return [name for name, text in self._asdict().items() if text]


class Prompts:
    """The columns ``prompt`` and, if it is there, ``negative_prompt`` of a table with a column ``image``.

    Args:
        path: CSV or TSV, see :func:`masks.tables.read_table`. Images are named as in the data set (``sub/a.jpg``), with
            or without suffix, or by their file's name alone.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._words: dict[str, set[Words]] = {}
        for row in read_table(path, (IMAGE, PROMPT)):
            for name in _spellings(row[IMAGE].strip().replace("\\", "/")):
                self._words.setdefault(name, set()).add(Words(row[PROMPT], row.get(NEGATIVE)))

    def of(self, name: str) -> Words:
        """The words for an image of a batch; its further holes (a-1.jpg) and windows (a@0,512) have those of the image.

        Raises:
            ValueError: The table has no row for the image, or several that differ.
        """
        whole = re.sub(r"@\d+,\d+$", "", name)
        stem, suffix = os.path.splitext(whole)
        repeated = re.sub(r"-\d+$", "", stem) + suffix
        for spelling in (*_spellings(whole), *_spellings(repeated)):
            found = self._words.get(spelling, set())
            if len(found) == 1:
                return next(iter(found))
            if found:
                raise ValueError(
                    f"{self.path}: {len(found)} rows for {name} differ. Write its path as in the data set."
                )
        raise ValueError(f"{self.path}: has no row for the image {name}. Add one.")


def table(prompts: Mapping[str, str]) -> str:
    """Prompts by image as CSV, which :class:`Prompts` reads.

    >>> table({"a.png": "a cat, asleep"})
    'image,prompt\\na.png,"a cat, asleep"\\n'
    """
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([(IMAGE, PROMPT), *prompts.items()])
    return out.getvalue()


def _spellings(name: str) -> list[str]:
    """A name in full, without suffix, without folder, without both.

    >>> _spellings("sub/a.jpg")
    ['sub/a.jpg', 'sub/a', 'a.jpg', 'a']
    """
    path = PurePosixPath(name)
    return list(dict.fromkeys([str(path), str(path.with_suffix("")), path.name, path.stem]))
