"""The options of `prepare`, without what it runs on."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lit_inpaint.options import Parser

SAMPLE = 200  # images that are read in full, evenly spread, unless --read-all
OTHER = "Any other folder, including part of a data set, needs no preparation: use ImageFolder."


def prepare(names: Sequence[str] = (), about: Sequence[str] = ()) -> Parser:
    """``about`` each data set and split; `--help` alone does without."""
    p = Parser(
        prog="lit-inpaint prepare",
        description="Check a data set's folder and write the lists of its splits. Nothing is downloaded.",
        epilog="\n\n".join([*(about or ["`lit-inpaint prepare NAME --help` lists every data set and split."]), OTHER]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("name", metavar="NAME", help=", ".join(names) or "class name of a published data set")
    p.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder that holds the images")
    p.add_argument("--split", help="name of the split, see below (default: the first)")
    p.add_argument("--lists", type=Path, metavar="DIR", help="folder with the authors' lists, if the split needs them")
    p.add_argument("--out", type=Path, metavar="DIR", help="where to write the lists (default: ROOT/splits/SPLIT)")
    p.add_argument("--read-all", action="store_true", help=f"decode all images instead of {SAMPLE} per part")
    return p
