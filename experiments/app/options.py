"""The options of `app`, without what it runs on."""

from lit_inpaint.options import Parser


def app() -> Parser:
    p = Parser(
        prog="lit-inpaint app",
        description="A local web page to load a photograph, paint the hole, draw guide lines and compare methods.",
        epilog="Needs gradio: pip install 'lit-inpaint[app]'.",
    )
    p.add_argument(
        "--methods",
        nargs="+",
        metavar="M",
        help="class names, checkpoints, YAMLs, hf://user/name and zoo:NAME to choose from (default: all "
        "classical methods and the zoo)",
    )
    p.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only); 0.0.0.0: all networks"
    )
    p.add_argument("--port", type=int, help="default: the first free port from 7860")
    p.add_argument("--password", help="for user 'lit'; unlike this option, LIT_INPAINT_PASSWORD is not visible in ps")
    p.add_argument("--max-upload-mb", type=int, default=50, help="larger uploads are rejected")
    p.add_argument(
        "--max-total-mb",
        type=int,
        default=2000,
        help="limit for all photographs and results, which are kept for 6 hours",
    )
    p.add_argument("--queue", type=int, default=8, help="number of runs that may wait; one runs at a time")
    p.add_argument("--device", default=None, help="cpu, cuda, ...")
    return p
