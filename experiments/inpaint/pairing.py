"""Which image, mask and guides belong together, and where the completions go: never outside the output folder."""

import glob
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from masks.finding import SUFFIXES, find_images, masks_beside, pair_by_name, without_masks


@dataclass(frozen=True)
class Pair:
    """One image to complete. ``name`` is its path below the folder, ``outputs`` one file per sample; ``problem`` is the
    reason why it cannot be completed."""

    name: str
    image: Path
    mask: Path | None  # None: drawn
    guides: Mapping[str, Path]
    outputs: tuple[Path, ...]
    problem: str | None = None


def shown(path: object) -> str:
    """A name for a terminal: characters that are not printable (or invalid) are escaped.

    >>> print(shown(Path("a\\nb")))
    a\\nb
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in str(path))


def find_pairs(
    images: Sequence[str],
    mask: Path | None,
    out: Path,
    samples: int,
    guides: Mapping[str, Path] | None = None,
    pairing: Literal["name", "order"] = "name",
    suffix: str = ".png",
) -> list[Pair]:
    """All jobs of a call; one image file gives one pair, a folder, a pattern or several files give many.

    Masks among the images are excluded: a mask file, a folder of masks below that of the images, and in a shared
    folder x_mask001.png beside x.png. The same goes for the guides of a method (sketches), given by name.

    Raises:
        ValueError: There is nothing to do, or the arguments contradict each other.
    """
    guides = guides or {}
    given = [*([mask] if mask else []), *guides.values()]
    for path in given:
        if not path.exists():
            raise ValueError(f"there is no file or folder {shown(path)}.")
    single = len(images) == 1 and Path(images[0]).is_file()
    if single:
        image = Path(images[0])
        if folder := next((path for path in given if path.is_dir()), None):
            raise ValueError(f"{shown(folder)} is a folder, but {shown(image)} is one image: give the mask file.")
        target = out / f"{image.stem}{suffix}" if out.is_dir() else out
        if target.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
            raise ValueError(f"--out {shown(out)} must end in .png, which keeps the known pixels, .jpg or .webp.")
        return [Pair(image.name, image, mask, guides, targets(target, samples))]
    root, found = _named(images, out)
    names = without_masks(found, root, *given)
    if not names:
        raise ValueError(f"the {len(found)} images of {shown(root)} have the names of masks; give the images as well.")
    masks = _partners(names, mask, "mask", pairing) if mask else dict.fromkeys(names, (None, None))
    drawn = {what: _partners(names, path, what, pairing) for what, path in guides.items()}
    pairs = []
    for name in names:
        own, problem = masks[name]
        beside = {what: partners[name] for what, partners in drawn.items()}
        problem = problem or next((missing for _, missing in beside.values() if missing), None)
        found_guides = {what: path for what, (path, _) in beside.items() if path}
        outputs = targets(out / f"{os.path.splitext(name)[0]}{suffix}", samples)
        pairs.append(Pair(name, root / name, own or mask, found_guides, outputs, problem))
    if all(pair.problem for pair in pairs):
        raise ValueError(
            f"{pairs[0].problem} None of the {len(pairs)} images can be filled. Masks are matched by name: photo.jpg "
            "needs photo.png or photo_mask.png; --pairing order matches them in sorted order."
        )
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
            names = [name for name in names if not name.startswith(earlier)]  # earlier outputs are not inputs
        return root, names
    files: list[str] = []
    for given in images:
        if os.path.lexists(given):
            files.append(given)
            continue
        matches = [m for m in glob.glob(given, recursive=True) if m.lower().endswith(SUFFIXES)]
        if not matches:
            raise ValueError(f"there is no file or folder {shown(given)}, and no image matches it as a pattern.")
        files += matches
    if folder := next((file for file in files if Path(file).is_dir()), None):
        raise ValueError(f"{shown(folder)} is a folder among other inputs; give one folder, or only files.")
    root = Path(os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files]))
    return root, sorted({Path(os.path.abspath(file)).relative_to(root).as_posix() for file in files})


def _partners(
    names: Sequence[str], given: Path, what: str, pairing: Literal["name", "order"]
) -> dict[str, tuple[Path | None, str | None]]:
    """The mask or guide of each image, or the reason why it has none. A single file is used for all."""
    if not given.is_dir():
        return dict.fromkeys(names, (given, None))
    files = find_images(given, what=f"{what}s")
    if pairing == "order":
        files = sorted(masks_beside(files)) or files
        if len(files) != len(names):
            count = f"{len(files)} {what}s for {len(names)} images"
            raise ValueError(f"{shown(given)} holds {count}; --pairing order needs as many of each.")
        return {name: (given / file, None) for name, file in zip(names, files, strict=True)}
    partners: dict[str, tuple[Path | None, str | None]] = {}
    for name, own in pair_by_name(names, files).items():
        problem = None if own else f"{shown(given)} holds no {what} for {shown(name)}."
        if len(own) > 1:
            problem = (
                f"{shown(given)} holds {len(own)} {what}s for {shown(name)}: {', '.join(map(shown, own))}. Keep one."
            )
        partners[name] = (given / own[0] if len(own) == 1 else None, problem)
    return partners
