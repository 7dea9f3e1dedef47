"""lit-inpaint prepare: check a data set's folder and write the lists of its splits."""

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import datamodules
from datamodules.published import PublishedData
from datamodules.reading import UnreadableImageError, read_image
from experiments.train.options import OTHER, SAMPLE, prepare
from masks.atomic import whole
from masks.regular import read_text


def published() -> dict[str, type[PublishedData]]:
    """The data sets with named splits, by name."""
    classes = {name: getattr(datamodules, name) for name in datamodules.__all__}
    return {name: cls for name, cls in classes.items() if issubclass(cls, PublishedData)}


def main(argv: list[str]) -> int:
    """Write ROOT/splits/SPLIT/{train,val,test}.txt, or raise a ValueError that says what is missing."""
    sets = published()
    about = [f"{name}: {cls.WHERE}" for name, cls in sets.items()]
    about += [
        f"{name} --split {split}: {named.source}" for name, cls in sets.items() for split, named in cls.SPLITS.items()
    ]
    args = prepare(list(sets), about).parse_args(argv)

    if args.name not in sets:
        raise ValueError(f"there is no data set {args.name!r} to prepare; there are {', '.join(sets)}. {OTHER}")
    cls = sets[args.name]
    split = args.split or next(iter(cls.SPLITS))
    if split not in cls.SPLITS:
        raise ValueError(f"{args.name} has no split {split!r}; there are {', '.join(cls.SPLITS)}.")
    if not args.root.is_dir():
        raise ValueError(f"{args.root}: no such folder. Give the folder that holds {args.name} as --root. {cls.WHERE}")
    if args.lists and not args.lists.is_dir():
        raise ValueError(f"{args.lists}: no such folder. Give the folder with the authors' lists as --lists.")
    parts = cls.make_lists(args.root, split, args.lists)
    wrong = [
        f"{part} has {len(names):,} of {cls.SPLITS[split].counts[part]:,} images"
        for part, names in parts.items()
        if len(names) != cls.SPLITS[split].counts[part]
    ]
    if wrong:
        raise ValueError(f"{args.root} is incomplete for {args.name}: {'; '.join(wrong)}. {cls.WHERE} {OTHER}")
    sizes: Counter[str] = Counter()
    for names in parts.values():
        sizes += _read(args.root, names, args.read_all)
    out = args.out or args.root / "splits" / split
    _write(out, parts, f"{args.name}, split {split}: {cls.SPLITS[split].source}")

    counts = ", ".join(f"{part} {len(names):,}" for part, names in parts.items())
    print(f"{args.name}, split {split}: {counts} images")
    print(
        f"read: {sum(sizes.values()):,} images, of {', '.join(f'{size} ({n:,})' for size, n in sizes.most_common(3))}"
    )
    print(f"lists: {out}")
    option = f", lists: {out}" if args.out else ""
    print(f"use:   data: {{class_path: {args.name}, init_args: {{root: {args.root}, split: {split}{option}}}}}")
    return 0


def _read(root: Path, names: Sequence[str], read_all: bool) -> Counter[str]:
    """Sizes of the images; all unreadable ones are reported."""
    step = 1 if read_all else max(1, len(names) // SAMPLE)
    sizes: Counter[str] = Counter()
    bad: list[str] = []
    for name in names[::step]:
        try:
            height, width = read_image(root / name).shape[:2]
            sizes[f"{width}x{height}"] += 1
        except UnreadableImageError as error:
            bad.append(str(error))
    if bad:
        for line in bad[:20]:
            print(line, file=sys.stderr)
        raise ValueError(
            f"{len(bad)} of {len(names[::step]):,} images that were read cannot be used; the first: {bad[0]}"
        )
    return sizes


def _write(out: Path, parts: dict[str, list[str]], title: str) -> None:
    """Write all three lists or none. Existing lists with other content are never replaced."""
    texts = {part: f"# {title}\n" + "".join(f"{name}\n" for name in names) for part, names in parts.items()}
    for part, text in texts.items():
        if (file := out / f"{part}.txt").is_file() and read_text(file) != text:
            raise ValueError(f"{file} exists and names other images; move it away or give another --out.")
    with ExitStack() as renames:  # at its end, all three
        for part, text in texts.items():
            beside = renames.enter_context(whole(out / f"{part}.txt"))
            beside.write_text(text, encoding="utf-8", errors="surrogateescape")
