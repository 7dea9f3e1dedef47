"""The options of `compare` and `figure`, without what they run on."""

import argparse
from pathlib import Path

from lit_inpaint.options import Parser

PICKED = ("best", "median", "worst")  # rows of a figure


def compare() -> Parser:
    p = Parser(
        prog="lit-inpaint compare",
        description="Combine benchmark records and training curves into one page, with Markdown, CSV and LaTeX beside "
        "it. Results of different protocols never share a column.",
    )
    p.add_argument(
        "folders",
        nargs="*",
        type=Path,
        help="output folders of benchmark and run folders of fit, searched at any depth",
    )
    p.add_argument(
        "--out", type=Path, default=Path("compare.html"), help="page to write; the other files share its name"
    )
    p.add_argument(
        "--paper",
        action="store_true",
        help="also write OUT.paper.tex: best bold, second underlined, protocol and hash in the caption",
    )
    p.add_argument("--trainings", type=Path, help=argparse.SUPPRESS)  # what a study says of them
    p.add_argument("--note", action="append", default=[], help="line to show in the page's banner; may be repeated")
    p.add_argument(
        "--wandb", metavar="ENTITY/PROJECT", help="also show the runs of this project, read through the public API"
    )
    p.add_argument("--wandb-workspace", action="store_true", help="also save the charts as a workspace of that project")
    return p


def figure() -> Parser:
    p = Parser(
        prog="lit-inpaint figure",
        description="Draw input, completions and ground truth of some images of a benchmark: FILE.pdf with embedded "
        "fonts, FILE.png, and FILE.tex with the caption.",
        epilog="Needs matplotlib: pip install 'lit-inpaint[figure]'.",
    )
    p.add_argument("folders", nargs="+", type=Path, help="output folders of `lit-inpaint benchmark`")
    p.add_argument("--out", type=Path, default=Path("figure.pdf"), help="the PDF; the other files share its name")
    p.add_argument("--protocol", help="name of the protocol, where the folders hold several")
    p.add_argument("--methods", nargs="+", metavar="LABEL", help="columns, in this order (default: all, best first)")
    p.add_argument(
        "--rows", nargs="+", default=[*PICKED], metavar="IMAGE",
        help="names of images; best, median and worst are those of the first method by the first metric",
    )  # fmt: skip
    p.add_argument("--metric", help="the metric of best, median and worst (default: the table's first)")
    p.add_argument(
        "--zoom", metavar="X,Y,SIDE", help="square of every picture to enlarge, in pixels; `hole`: that with most of it"
    )
    p.add_argument("--width", type=float, default=6.9, help="of the figure, in inches (default: two columns of a page)")
    p.add_argument("--overwrite", action="store_true")
    return p
