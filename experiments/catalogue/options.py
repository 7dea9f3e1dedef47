"""The options of `methods`, without what it runs on."""

from lit_inpaint.options import Parser, count
from masks.size import parse_size


def methods() -> Parser:
    p = Parser(
        prog="lit-inpaint methods",
        description="List all methods, oldest first, show one in full, or measure the memory of its training step.",
        epilog="Example: lit-inpaint methods AOTGAN --memory --size 256 style_weight=0 perceptual_weight=0",
    )
    p.add_argument("name", nargs="?", help="class name of a method or one of its stages")
    p.add_argument("arguments", nargs="*", metavar="KEY=VALUE", help="arguments of the class, for --memory")
    p.add_argument("--json", action="store_true", help="for programs")
    p.add_argument("--memory", action="store_true", help="parameters, optimiser state, measured peak per image")
    p.add_argument("--size", type=parse_size, default=256, help="of the images, for --memory: 256 (default), or 48x80")
    p.add_argument("--batch-size", type=count, default=2, help="batch size; twice the size is measured as well (2)")
    return p
