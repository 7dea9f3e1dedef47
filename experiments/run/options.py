"""The options of `runs`, without what it runs on."""

from pathlib import Path

from lit_inpaint.options import Parser

ABOUT = "``lit-inpaint runs DIR``: every run below a folder, its status, and the command that resumes it."


def runs() -> Parser:
    p = Parser(prog="lit-inpaint runs", description=ABOUT)
    p.add_argument("folder", type=Path, nargs="?", default=Path("runs"), help="searched at any depth (default: runs)")
    shown = "key whose best value is shown, or the last if its direction is unknown (default: val/psnr_hole if logged)"
    p.add_argument("--metric", help=shown)
    p.add_argument("--json", action="store_true", help="print a JSON list")
    return p
