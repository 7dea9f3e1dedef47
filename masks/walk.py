"""The folders below a folder: links are followed, and no folder comes twice."""

import os
from collections.abc import Callable, Iterator


def folders_below(
    root: str | os.PathLike[str], skipped: Callable[[str], bool], strict: bool = True
) -> Iterator[tuple[str, list[str]]]:
    """``root`` itself as "", and the folders below it as paths from there with "/", in order, each with the names of
    its files, sorted.

    A folder reached twice comes by its own path, not by a link to it.

    Args:
        skipped: Whether to leave out what has this name.
        strict: Raise where a folder is closed to this user or removed meanwhile; else it is left out.

    Raises:
        OSError: A folder cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    found: dict[str, list[str]] = {}
    folders, links = [""], list[str]()
    while folders or links:
        folder = folders.pop() if folders else links.pop()
        try:
            status = os.stat(os.path.join(root, folder))
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(os.path.join(root, folder)) as entries:
                named = sorted((e for e in entries if not skipped(e.name)), key=lambda e: e.name)
        except OSError:
            if strict:
                raise
            continue
        found[folder] = [entry.name for entry in named if not _is_folder(entry)]
        for entry in reversed([entry for entry in named if _is_folder(entry)]):
            (links if entry.is_symlink() else folders).append(f"{folder}/{entry.name}" if folder else entry.name)
    for folder in sorted(found, key=lambda path: path.split("/")):
        yield folder, found[folder]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # an endless chain of links, for whoever reads the file to name
        return False
