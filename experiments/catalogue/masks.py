"""lit-inpaint masks: write fixed sets, show distributions, measure folders. Imports no torch."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from PIL import Image, ImageDraw

from experiments.files.find import INSTALLED, find_yaml
from experiments.files.read import read_yaml, said_by
from experiments.files.variables import expanded
from experiments.files.write import write_text
from lit_inpaint import plugins
from lit_inpaint.options import Parser, count
from masks.area import BUCKETS, bucket
from masks.atomic import whole
from masks.build import build, find_class, laws
from masks.files import read_mask
from masks.finding import find_images
from masks.fixed import RECIPE, FixedSet
from masks.generator import Mask, MaskGenerator
from masks.nearest import nearest
from masks.size import parse_size, sides

# Hole shares (low, high] of Liu et al. 2018, and what lies outside.
_MASK = (
    "what `fit` takes: a class (LaMaThick, package.module.Class), a class with arguments "
    "('{class_path: ..., init_args: {...}}'), or a YAML of these, installed ones by name (lama_thick_512)"
)


def main(argv: list[str]) -> int:
    """Run one of the three commands and return the exit status. User errors raise ValueError."""
    plugins.load("masks")
    arguments = _parser().parse_args(argv)
    return int(arguments.command(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="lit-inpaint masks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="write | show | measure")

    write = commands.add_parser("write", help="write a fixed set of masks with its recipe", description=_write.__doc__)
    write.add_argument("mask", help=f"{_MASK}; or the {RECIPE} of a set")
    write.add_argument("--out", type=Path, required=True, help="new folder; an existing one is never overwritten")
    write.add_argument("--seed", type=int, help="default: 0, or the recipe's")
    write.add_argument("--count", type=int, help="default: 100, or the recipe's")
    write.add_argument(
        "--size", type=parse_size, help="pixels, 256 or 321x481 (height x width); default: 256, or the recipe's"
    )
    write.set_defaults(command=_write)

    show = commands.add_parser("show", help="show masks in one picture", description=_show.__doc__)
    show.add_argument("mask", help=f"{_MASK}; or a folder of mask files")
    show.add_argument("--out", type=Path, required=True, help="PNG to write")
    show.add_argument("--seed", type=int, default=0)
    show.add_argument("--count", type=count, default=24)
    show.add_argument("--size", type=parse_size, default=256, help="pixels, 256 or 321x481; folders keep their own")
    show.add_argument("--columns", type=count, default=8)
    show.add_argument("--tile", type=count, default=128, help="longer side of a mask in the picture")
    _add_reading(show)
    show.set_defaults(command=_show)

    measure = commands.add_parser("measure", help="sort mask files by hole area", description=_measure.__doc__)
    measure.add_argument("folder", type=Path)
    measure.add_argument("--lists", type=Path, help="new folder for one file list per bucket")
    measure.add_argument(
        "--border",
        type=float,
        default=50 / 512,
        help="a hole closer to the border than this fraction of the shorter side touches it; default "
        "50 pixels of 512, as Liu et al. 2018",
    )
    _add_reading(measure)
    measure.set_defaults(command=_measure)
    return parser


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--white",
        "--mask-white",
        choices=("hole", "known"),
        default="hole",
        help="meaning of white pixels in mask files",
    )
    parser.add_argument(
        "--threshold",
        "--mask-threshold",
        type=int,
        help="grey value from which a pixel counts as white; without it, grey is rejected",
    )
    parser.add_argument(
        "--alpha",
        "--mask-alpha",
        choices=("opaque", "transparent"),
        help="side of an alpha channel that is the hole; without it, such files are rejected",
    )


def recipe_of(mask: str) -> dict[str, Any]:
    """The configuration behind a class, a YAML of a mask or a recipe, as a recipe that may lack its numbers."""
    if mask.lstrip().startswith("{"):
        try:
            return {"mask": yaml.safe_load(mask)}
        except yaml.YAMLError as error:
            raise ValueError(f"{mask!r} is not YAML. Give {_MASK}.") from error
    if not mask.endswith((".yaml", ".yml")) and mask not in (names := _yaml_names()):
        if "." not in mask and mask not in laws():
            raise ValueError(f"{mask!r} is not a mask generator. {nearest(mask, [*laws(), *names])}")
        find_class(mask)
        return {"mask": mask}
    path = find_yaml(mask, "masks")
    config = expanded(read_yaml(path), path)
    if not {"class_path", "mask"} & set(config):
        raise ValueError(f"{path} contains neither class_path nor mask. Give {_MASK}, or the {RECIPE} of a set.")
    return config if "mask" in config else {"mask": config}


def _said_by(mask: str) -> AbstractContextManager[None]:
    """Errors about the content of a YAML name it."""
    is_file = mask.endswith((".yaml", ".yml")) or mask in _yaml_names()
    return said_by(find_yaml(mask, "masks")) if is_file else nullcontext()


def _yaml_names() -> list[str]:
    """Installed masks without their suffix, as `lama_thick_512` and `masks/lama_thick_512`."""
    stems = sorted(path.stem for path in (INSTALLED / "masks").glob("*.yaml"))
    return [*stems, *(f"masks/{stem}" for stem in stems)]


def _write(arguments: argparse.Namespace) -> int:
    """Draw masks by a seed and write them as 00000.png, ... (white = hole) with set.yaml, from which the same command
    writes the same bits again."""
    given = recipe_of(arguments.mask)
    recipe = {"seed": 0, "count": 100, "height": 256, "width": 256} | given
    asked = {"seed": arguments.seed, "count": arguments.count}
    asked |= dict(zip(("height", "width"), sides(arguments.size) if arguments.size else (None, None), strict=True))
    recipe |= {name: value for name, value in asked.items() if value is not None}
    with _said_by(arguments.mask):
        fixed = FixedSet.from_recipe(recipe)
    digest = fixed.write(arguments.out)
    print(f"{fixed.count} masks of {fixed.generator}, {fixed.height}x{fixed.width}, seed {fixed.seed}: {arguments.out}")
    print(f"SHA-256 of the masks: {digest}")
    if "sha256" in given and fixed.recipe() == {name: given[name] for name in fixed.recipe()}:
        if digest != given["sha256"]:
            print(f"These are not the masks of {arguments.mask}, whose sha256 is {given['sha256']}.", file=sys.stderr)
            return 1
        print(f"The same as in {arguments.mask}.")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    """Draw a contact sheet, holes white, the hole share under each mask and the mean over all in the last line."""
    if arguments.out.exists():
        raise ValueError(f"{arguments.out} exists. Choose another name.")
    if arguments.out.suffix.lower() != ".png":
        raise ValueError(f"--out {arguments.out} is a PNG; let its name end in .png.")
    shown: Iterable[Mask]
    if os.path.isdir(arguments.mask):
        names = find_images(arguments.mask, what="masks")[: arguments.count]
        shown = (mask for _, mask in _read(Path(arguments.mask), names, arguments))
    else:
        with _said_by(arguments.mask):
            generator = build(recipe_of(arguments.mask)["mask"])
        height, width = sides(arguments.size)
        shown = draw_masks(generator, arguments.count, height, width, arguments.seed)
    sheet = contact_sheet(shown, arguments.columns, arguments.tile)
    with whole(arguments.out, overwrite=False) as part:
        sheet.save(part, optimize=True)
    print(arguments.out)
    return 0


def draw_masks(generator: MaskGenerator, count: int, height: int, width: int, seed: int = 0) -> Iterator[Mask]:
    """The first masks of an evaluation with this seed."""
    return iter(FixedSet(generator, seed, count, height, width))


def contact_sheet(drawn: Iterable[Mask], columns: int = 8, tile: int = 128) -> Image.Image:
    """One picture: masks shrunk to ``tile`` pixels, holes white, hole shares in per cent below each."""
    tiles, shares = [], []
    for mask in drawn:
        shares.append(float(mask.mean()))
        factor = tile / max(mask.shape)
        size = (max(1, round(mask.shape[1] * factor)), max(1, round(mask.shape[0] * factor)))
        tiles.append(cv2.resize(mask * np.uint8(255), size, interpolation=cv2.INTER_AREA if factor < 1 else 0))
    if not tiles:
        raise ValueError("no masks to show; give a count of at least 1.")
    columns = max(1, min(columns, len(tiles)))
    rows = -(-len(tiles) // columns)
    cell_width, cell_height = tile + 4, tile + 16
    sheet = Image.new("L", (columns * cell_width, rows * cell_height + 14), 96)
    draw = ImageDraw.Draw(sheet)
    for place, (picture, share) in enumerate(zip(tiles, shares, strict=True)):
        left, top = place % columns * cell_width + 2, place // columns * cell_height + 2
        sheet.paste(Image.fromarray(picture), (left, top))
        draw.text((left + 1, top + tile + 1), f"{share:.1%}", 255)
    spread = f"{min(shares):.1%} to {max(shares):.1%}"
    draw.text((3, rows * cell_height), f"{len(shares)} masks, hole {np.mean(shares):.1%} on average, {spread}", 255)
    # 16 greys are enough, and a quarter of the file.
    return sheet.quantize(16)


def _measure(arguments: argparse.Namespace) -> int:
    """Count mask files by hole area (the buckets of Liu et al. 2018) and by contact with the border, and write one file
    list per bucket for MaskFolder's argument ``names``."""
    if arguments.lists and arguments.lists.exists():
        raise ValueError(f"{arguments.lists} exists; lists are never overwritten. Choose another folder.")
    names = find_images(arguments.folder, what="masks")
    found: dict[tuple[int, bool], list[str]] = {}
    shares = []
    for name, mask in _read(arguments.folder, names, arguments):
        shares.append(float(mask.mean()))
        found.setdefault((bucket(shares[-1]), touches_border(mask, arguments.border)), []).append(name)
    print(f"{'hole share':<14}{'clear':>8}{'touching':>10}{'all':>8}")
    for index, (low, high) in enumerate(BUCKETS):
        clear, touching = (len(found.get((index, touches), [])) for touches in (False, True))
        print(f"{_label(low, high):<14}{clear:>8}{touching:>10}{clear + touching:>8}")
    print(f"{len(shares)} masks, hole {np.mean(shares):.1%} on average, {min(shares):.1%} to {max(shares):.1%}")
    empty, full = sum(share == 0 for share in shares), sum(share == 1 for share in shares)
    if empty or full:
        print(f"{empty} have no hole, {full} consist of hole only.")
    if np.median(shares) > 0.6:
        other = "known" if arguments.white == "hole" else "hole"
        print(f"Most of the area is hole in most files; if that is the part to keep, pass --white {other}.")
    if arguments.lists:
        _write_lists(arguments.lists, found)
    return 0


def _write_lists(folder: Path, found: dict[tuple[int, bool], list[str]]) -> None:
    """Write all at once: a kill leaves no folder that blocks the next call."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.part-", dir=folder.parent) as beside:
        part = Path(beside) / folder.name
        part.mkdir()
        for (index, touches), listed in sorted(found.items()):
            low, high = BUCKETS[index]
            name = f"hole_{low * 100:02.0f}_{high * 100:02.0f}_{'border' if touches else 'clear'}.txt"
            write_text(part / name, "\n".join(listed) + "\n")
            print(f"{folder / name}: {len(listed)}")
        part.rename(folder)


def _read(folder: Path, names: Iterable[str], arguments: argparse.Namespace) -> Iterator[tuple[str, Mask]]:
    for name in names:
        yield name, read_mask(folder / name, arguments.white, arguments.threshold, arguments.alpha)


def touches_border(mask: Mask, border: float) -> bool:
    """Whether a hole pixel is closer to a side than ``border``, a fraction of the shorter side; at least 1 pixel."""
    margin = max(1, round(border * min(mask.shape)))
    return int(mask.sum()) > int(mask[margin:-margin, margin:-margin].sum())


def _label(low: float, high: float) -> str:
    return f"{'(' if low else '['}{low:g}, {high:g}]"
