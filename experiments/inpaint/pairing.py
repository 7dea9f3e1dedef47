"""Which image, mask and guides belong together, and where the completions go: never outside the output folder."""

import glob
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from masks.finding import SUFFIXES, find_images, masks_beside, pair_by_name, without_masks

_ALPHA = "say which side of it: --mask-alpha transparent or opaque."


@dataclass(frozen=True)
class Pair:
    """One image to complete. ``name`` is its path below the folder, ``outputs`` one file per sample; ``problem`` is the
    reason why it cannot be completed. ``found`` are outputs that lie among the images: of an earlier call, or the
    user's."""

    name: str
    image: Path
    mask: Path | None  # None: drawn
    guides: Mapping[str, Path]
    outputs: tuple[Path, ...]
    problem: str | None = None
    found: tuple[Path, ...] = ()


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
    alpha: bool = False,
) -> list[Pair]:
    """All jobs of a call; one image file gives one pair, a folder, a pattern or several files give many.

    Masks among the images are excluded: a mask file, a folder of masks below that of the images, and in a shared
    folder x_mask001.png beside x.png. The same goes for the guides of a method (sketches), given by name, and for what
    an earlier call has written. An image is not a mask or guide itself, unless these are in its ``alpha`` channel.

    Raises:
        ValueError: There is nothing to do, or the arguments contradict each other.
    """
    guides = guides or {}
    given = [*([mask] if mask else []), *guides.values()]
    if gone := next((path for path in given if not path.exists()), None):
        raise ValueError(f"there is no file or folder {shown(gone)}.")
    if len(images) == 1 and os.path.lexists(images[0]) and not Path(images[0]).is_dir():
        return [_single(Path(images[0]), mask, out, samples, guides, suffix, alpha)]
    root, found = _named(images, out)
    names = without_masks(found, root, *given)
    if not names:
        raise ValueError(f"the {len(found)} images of {shown(root)} have the names of masks; give the images as well.")
    if out.suffix.lower() in SUFFIXES and not out.is_dir():
        raise ValueError(f"--out {shown(out)} is the name of a picture; of a folder, pattern or list, give a folder.")
    outputs = {name: targets(out / f"{os.path.splitext(name)[0]}{suffix}", samples) for name in names}
    makers = defaultdict[str, set[str]](set)
    for name, files in outputs.items():
        for file in files:
            makers[_place(file)].add(name)
    written = {place for name in names if makers[place := _place(root / name)] - {name}}  # in the folder of the images
    names = [name for name in names if _place(root / name) not in written]
    pictures = set() if alpha else {os.path.realpath(root / name) for name in names}
    masks = _partners(names, mask, "mask", pairing, out, pictures) if mask else dict.fromkeys(names, (None, None))
    drawn = {what: _partners(names, path, what, pairing, out, pictures) for what, path in guides.items()}
    pairs = []
    for name in names:
        own, problem = masks[name]
        beside = {what: partners[name] for what, partners in drawn.items()}
        problem = problem or next((missing for _, missing in beside.values() if missing), None)
        found_guides = {what: path for what, (path, _) in beside.items() if path}
        earlier = tuple(file for file in outputs[name] if _place(file) in written)
        pairs.append(Pair(name, root / name, own or mask, found_guides, outputs[name], problem, earlier))
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


def _single(
    image: Path, mask: Path | None, out: Path, samples: int, guides: Mapping[str, Path], suffix: str, alpha: bool
) -> Pair:
    given = [*([mask] if mask else []), *guides.values()]
    if folder := next((path for path in given if path.is_dir()), None):
        raise ValueError(f"{shown(folder)} is a folder, but {shown(image)} is one image: give the mask file.")
    if not alpha and os.path.realpath(image) in map(os.path.realpath, given):
        raise ValueError(f"{shown(image)} is both image and mask; if its alpha channel is the mask, {_ALPHA}")
    target = out / f"{image.stem}{suffix}" if out.is_dir() else out
    if target.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise ValueError(f"--out {shown(out)} must end in .png, which keeps the known pixels, .jpg or .webp.")
    return Pair(image.name, image, mask, guides, targets(target, samples))


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
    if not all(images):
        raise ValueError("--image is empty, perhaps an unset variable; give a file, a folder or a pattern.")
    if len(images) == 1 and Path(images[0]).is_dir():
        root = Path(images[0])
        names = find_images(root)
        return root, _told(names, _not_written(names, root, out), out)
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
    files = [os.path.abspath(file) for file in files]
    left = _told(files, _not_written(files, _common(files), out), out)
    root = _common(left)
    return root, sorted({Path(file).relative_to(root).as_posix() for file in left})


def _common(files: Sequence[str]) -> Path:
    return Path(os.path.commonpath([os.path.dirname(file) for file in files]))


def _not_written(names: Sequence[str], root: Path, out: Path) -> list[str]:
    """``names``, paths below ``root``, without those below ``out``, which are of earlier calls; all of them if ``out``
    is ``root`` or holds it."""
    place = os.path.realpath(out)
    inside = {
        folder for folder in {os.path.dirname(name) for name in names}
        if Path(os.path.realpath(root / folder)).is_relative_to(place)
    }  # fmt: skip
    within = Path(os.path.realpath(root)).is_relative_to(place)
    return [name for name in names if within or os.path.dirname(name) not in inside]


def _told(found: Sequence[str], left: list[str], out: Path) -> list[str]:
    """
    Raises:
        ValueError: Nothing is left.
    """
    if not left:
        raise ValueError(f"all {len(found)} images lie in --out {shown(out)}, as outputs; give another --out.")
    if len(left) < len(found):
        said = f"{len(found) - len(left)} of the files found lie in --out {shown(out)}: outputs are no images to fill."
        print(f"lit-inpaint: {said}", file=sys.stderr)
    return left


def _place(file: Path) -> str:
    """The same for all ways to a file, which may itself be a link."""
    return os.path.join(os.path.realpath(file.parent), file.name)


def _partners(
    names: Sequence[str], given: Path, what: str, pairing: Literal["name", "order"], out: Path, images: Collection[str]
) -> dict[str, tuple[Path | None, str | None]]:
    """The mask or guide of each image, or the reason why it has none. A single file is used for all.

    Args:
        images: Files that are no masks: real paths.
    """
    if not given.is_dir():
        return dict.fromkeys(names, (given, None))
    found = _not_written(find_images(given, what=f"{what}s"), given, out)
    files = [file for file in found if os.path.realpath(given / file) not in images]
    if pairing == "order":
        files = sorted(masks_beside(files)) or files
        if len(files) != len(names):
            count = f"{len(files)} {what}s for {len(names)} images"
            raise ValueError(f"{shown(given)} holds {count}; --pairing order needs as many of each.")
        return {name: (given / file, None) for name, file in zip(names, files, strict=True)}
    partners: dict[str, tuple[Path | None, str | None]] = {}
    for name, own in pair_by_name(names, files).items():
        itself = f" If the {what} is in its alpha channel, {_ALPHA}" if len(files) < len(found) else ""
        problem = None if own else f"{shown(given)} holds no {what} for {shown(name)}.{itself}"
        if len(own) > 1:
            problem = (
                f"{shown(given)} holds {len(own)} {what}s for {shown(name)}: {', '.join(map(shown, own))}. Keep one."
            )
        partners[name] = (given / own[0] if len(own) == 1 else None, problem)
    return partners
