"""The options of `vote`, without what it runs on."""

from pathlib import Path

from lit_inpaint.options import Parser


def vote() -> Parser:
    p = Parser(
        prog="lit-inpaint vote",
        description="A page on this machine that shows two completions of one image and asks which looks more real. "
        "Answers are in OUT/votes as soon as they are given; the same command resumes.",
        epilog="`lit-inpaint vote OUT --reference M --result` writes the column shown by `lit-inpaint compare OUT`.",
    )
    p.add_argument("out", type=Path, help="output folder of `lit-inpaint benchmark`")
    p.add_argument("--reference", required=True, metavar="LABEL", help="method that all others are compared with")
    p.add_argument(
        "--against", nargs="+", metavar="LABEL", help="methods to compare (default: all others of the protocol)"
    )
    p.add_argument("--protocol", metavar="NAME", help="needed if the folder holds several")
    p.add_argument("--pairs", type=int, help="maximum number of pairs per rater, drawn at random; each is shown twice")
    p.add_argument("--port", type=int, default=7870)
    p.add_argument("--result", action="store_true", help="evaluate the answers so far instead of serving the page")
    return p
