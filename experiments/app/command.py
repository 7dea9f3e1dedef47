"""``lit-inpaint app``: the arguments; the page is :mod:`experiments.app.page`."""

import os
import socket
import sys
from collections.abc import Iterator

from experiments.app import options
from experiments.app.folder import finish, own_folder
from experiments.files.find import find_method
from experiments.web import is_loopback
from lit_inpaint import zoo
from lit_inpaint.classes import method_classes
from lit_inpaint.options import loading


def main(argv: list[str]) -> int:
    a = options.app().parse_args(argv)
    password = a.password or os.environ.get("LIT_INPAINT_PASSWORD")
    if not is_loopback(a.host) and not password:
        raise ValueError(f"--host {a.host} opens the page to other machines; give --password as well.")
    if not 1 <= a.max_upload_mb <= a.max_total_mb:
        raise ValueError(
            f"--max-upload-mb is {a.max_upload_mb} and --max-total-mb {a.max_total_mb}; expected 1 or more, and "
            "max-upload-mb at most max-total-mb."
        )
    if a.queue < 1:
        raise ValueError(f"--queue is {a.queue}; expected 1 or more runs that may wait.")
    if a.port is not None:
        _check_port(a.port)
    with loading("the page"):
        try:
            import gradio  # noqa: F401
        except ImportError:
            raise ValueError("the page needs gradio: pip install 'lit-inpaint[app]'.") from None
        import torch

        device = a.device or ("cuda" if torch.cuda.is_available() else "cpu")
        methods, prompted = offered(a.methods, device)
        from experiments.app.page import serve

    with own_folder() as folder:
        limits = a.max_upload_mb, a.max_total_mb
        page = serve(methods, str(folder), device, a.host, a.port, password, *limits, a.queue, prompted)
        print(f"lit-inpaint: {page.url} (press Ctrl-C to stop)", flush=True)
        try:
            page.wait()
        finally:
            finish()
            page.close()
    return 0


def _check_port(port: int) -> None:
    """Before the page loads: gradio names its own variable and argument of a port that is taken."""
    if not 1 <= port <= 65535:
        raise ValueError(f"--port is {port}; expected 1 to 65535.")
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            raise ValueError(f"port {port}: {error.strerror}. Give another --port, or none for a free one.") from error


def offered(given: list[str] | None, device: str) -> tuple[dict[str, str], bool]:
    """{label: what load_method takes}, and whether one takes words; every checkpoint is loaded once, so that a broken
    one is reported now. A damaged entry of the zoo that nobody asked for is told and left out."""
    from lit_inpaint.labels import label_methods
    from lit_inpaint.load import load_method

    classes = method_classes()
    ready = [n for n, c in classes.items() if not (c.trainable or c.imports or c.stages or c.needed)]
    names = [*map(find_method, given)] if given else [*ready, *_of_zoo()]
    labels = {label: method for method, label in label_methods(names, "ema").items()}
    prompted = [load_method(method, device=device).prompted for method in labels.values()]
    return labels, any(prompted)


def _of_zoo() -> Iterator[str]:
    for name, card in zoo.cards():
        if isinstance(card, str):
            print(f"lit-inpaint: {card}", file=sys.stderr)
        else:
            yield f"{zoo.PREFIX}{name}"
