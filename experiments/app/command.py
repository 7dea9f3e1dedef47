"""``lit-inpaint app``: what its arguments are; the page is :mod:`experiments.app.page`."""

import argparse
import ipaddress
import os
import tempfile

from lit_inpaint.load import method_classes


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="lit-inpaint app",
        description="A page on this machine: load a photograph, paint the hole, draw guide lines, compare methods.",
        epilog="Needs gradio: pip install 'lit-inpaint[app]'.",
    )
    p.add_argument("--methods", nargs="+", metavar="M", help="class names and checkpoints to choose from; all classics")
    p.add_argument("--host", default="127.0.0.1", help="this machine alone unless told; 0.0.0.0 is every network")
    p.add_argument("--port", type=int, help="the first free one from 7860 on")
    p.add_argument("--password", help="asked for at the page (user 'lit'); LIT_INPAINT_PASSWORD does not show in ps")
    p.add_argument("--max-upload-mb", type=int, default=50, help="larger uploads are refused while they come in")
    p.add_argument("--queue", type=int, default=8, help="runs that may wait; one runs at a time")
    p.add_argument("--device", default=None, help="cpu, cuda, ...")
    return p


def main(argv: list[str]) -> int:
    a = parser().parse_args(argv)
    password = a.password or os.environ.get("LIT_INPAINT_PASSWORD")
    if not is_loopback(a.host) and not password:
        raise ValueError(f"--host {a.host} opens the page to other machines; give --password as well.")
    try:
        import gradio  # noqa: F401
    except ImportError:
        raise ValueError("the page needs gradio: pip install 'lit-inpaint[app]'.") from None
    import torch

    device = a.device or ("cuda" if torch.cuda.is_available() else "cpu")
    methods = offered(a.methods, device)
    from experiments.app.page import serve

    with tempfile.TemporaryDirectory(prefix="lit-inpaint-app-") as folder:
        page = serve(methods, folder, device, a.host, a.port, password, a.max_upload_mb, a.queue)
        print(f"lit-inpaint: {page.url} (Ctrl-C ends it)", flush=True)
        try:
            page.wait()
        finally:
            page.close()
    return 0


def is_loopback(host: str) -> bool:
    """
    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def offered(given: list[str] | None, device: str) -> dict[str, str]:
    """{label: what load_method takes}; every checkpoint is loaded once, so that a broken one is told now."""
    from experiments.benchmark import label_methods
    from lit_inpaint.load import load_method

    classes = method_classes()
    names = given or [n for n, c in classes.items() if not (c.trainable or c.imports or c.stages)]
    labels = {label: method for method, label in label_methods(names, "ema").items()}
    for method in labels.values():
        load_method(method, device=device)
    return labels
