"""Which image, mask and sketch belong together, and where the completions go: never outside the output folder."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datamodules.files import find_images
from datamodules.reading import IMAGE_SUFFIXES


@dataclass(frozen=True)
class Pair:
    """One image to complete. ``name`` is its path below the folder, ``outputs`` one file a sample; ``problem`` says why
    it cannot be done."""

    name: str
    image: Path
    mask: Path
    sketch: Path | None
    outputs: tuple[Path, ...]
    problem: str | None = None


def shown(path: object) -> str:
    """A name for a terminal: what is not printable (or no character at all) is written as its code.

    >>> print(shown(Path("a\\nb")))
    a\\nb
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in str(path))


def find_pairs(images: Sequence[str], mask: Path, out: Path, samples: int, sketch: Path | None) -> list[Pair]:
    """Every job of a call; one image file gives one pair, a folder, a pattern or several files give many.

    Raises:
        ValueError: There is nothing to do, or what is asked for contradicts itself.
    """
    for path in filter(None, (mask, sketch)):
        if not path.exists():
            raise ValueError(f"there is no file or folder {shown(path)}.")
    single = len(images) == 1 and Path(images[0]).is_file()
    if single:
        image = Path(images[0])
        if mask.is_dir() or (sketch and sketch.is_dir()):
            folder = mask if mask.is_dir() else sketch
            raise ValueError(f"{shown(folder)} is a folder, {shown(image)} one image: name the file.")
        target = out / f"{image.stem}.png" if out.is_dir() else out
        if target.suffix.lower() != ".png":
            raise ValueError(f"--out {shown(out)} must end in .png: other formats would change the known pixels.")
        return [Pair(image.name, image, mask, sketch, targets(target, samples))]
    root, names = _named(images, out)
    masks, sketches = _by_stem(mask), _by_stem(sketch) if sketch else None
    pairs = []
    for name in names:
        stem = os.path.splitext(name)[0]
        found, lines = (_lookup(files, stem) for files in (masks, sketches))
        problem = None if found else f"{shown(mask)} holds no mask for {shown(name)}."
        if sketches is not None and not lines:
            problem = problem or f"{shown(sketch)} holds no sketch for {shown(name)}."
        outputs = targets(out / f"{stem}.png", samples)
        pairs.append(Pair(name, root / name, found or mask, lines, outputs, problem))
    if all(pair.problem for pair in pairs):
        raise ValueError(f"{pairs[0].problem} So it is with all {len(pairs)} images: name a mask like its image.")
    counts = Counter(file for pair in pairs for file in pair.outputs)
    if twice := next((file for file, count in counts.items() if count > 1), None):
        raise ValueError(
            f"two images of {shown(root)} would be written to {shown(twice)}; give one of them another name."
        )
    return pairs


def targets(out: Path, samples: int) -> tuple[Path, ...]:
    """Where the completions of one image go: ``out`` itself if there is one, else out-0.png, out-1.png, ..."""
    if samples == 1:
        return (out,)
    return tuple(out.with_name(f"{out.stem}-{number}{out.suffix}") for number in range(samples))


def refuse_outside(target: Path, out: Path) -> None:
    """A folder below the output folder may be a link that leads elsewhere.

    Raises:
        ValueError: The file would lie outside.
    """
    if not target.parent.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"{shown(target)} would lie outside {shown(out)}, through a link; remove the link.")


def _named(images: Sequence[str], out: Path) -> tuple[Path, list[str]]:
    """The folder to which names are relative, and the names."""
    if len(images) == 1 and Path(images[0]).is_dir():
        root = Path(images[0])
        names = find_images(root)
        if out.resolve() != root.resolve() and out.resolve().is_relative_to(root.resolve()):
            earlier = out.resolve().relative_to(root.resolve()).as_posix() + "/"
            names = [name for name in names if not name.startswith(earlier)]  # what was written before is no input
        return root, names
    files: list[str] = []
    for given in images:
        if os.path.lexists(given):
            files.append(given)
            continue
        matches = [m for m in glob.glob(given, recursive=True) if m.lower().endswith(IMAGE_SUFFIXES)]
        if not matches:
            raise ValueError(f"there is no file or folder {shown(given)}, and no image matches it as a pattern.")
        files += matches
    if folder := next((file for file in files if Path(file).is_dir()), None):
        raise ValueError(f"{shown(folder)} is a folder among other inputs; give one folder, or files alone.")
    root = Path(os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files]))
    return root, sorted({Path(os.path.abspath(file)).relative_to(root).as_posix() for file in files})


def _by_stem(given: Path) -> dict[str, Path] | Path:
    if not given.is_dir():
        return given
    return {os.path.splitext(name)[0]: given / name for name in reversed(find_images(given))}


def _lookup(files: dict[str, Path] | Path | None, stem: str) -> Path | None:
    if isinstance(files, dict):
        return files.get(stem) or files.get(f"{stem}_mask")
    return files
