"""The Gradio page: a photograph, the hole and guide lines in, completions side by side out."""

import os
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before the import: nothing is sent anywhere
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr
from starlette.middleware import Middleware

from experiments.app.guard import Guard
from experiments.app.handlers import Page
from experiments.app.layout import COLOURS, CSS, blocks
from experiments.web import is_loopback

__all__ = ["Page", "serve"]


def serve(
    methods: dict[str, str],
    folder: str,
    device: str = "cpu",
    host: str = "127.0.0.1",
    port: int | None = None,
    password: str | None = None,
    max_upload_mb: int = 50,
    max_total_mb: int = 2000,
    queue: int = 8,
    prompted: bool = False,
) -> Page:
    """Start the server in threads of this process. Everything it writes lies below ``folder``.

    Args:
        prompted: Whether to ask for a prompt.
    """
    os.environ["GRADIO_TEMP_DIR"] = folder
    limit, total = max_upload_mb * 2**20, max_total_mb * 2**20
    page = Page(methods, folder, device, total, prompted)
    page.worker.start()
    page.server = blocks(page)
    page.server.queue(max_size=queue, default_concurrency_limit=4)
    sans, mono = ["ui-sans-serif", "system-ui", "sans-serif"], ["ui-monospace", "monospace"]
    fonts: dict[str, Any] = {"font": sans, "font_mono": mono}
    guard = Middleware(Guard, folder=Path(folder), most=limit, total=total, local=is_loopback(host))
    _, page.url, _ = page.server.launch(
        server_name=host, server_port=port, share=False, inbrowser=False, prevent_thread_lock=True, quiet=True,
        auth=("lit", password) if password else None, max_file_size=limit, allowed_paths=[folder],
        enable_monitoring=False, run_history=False, footer_links=[], ssr_mode=False, max_threads=16,
        app_kwargs={"middleware": [guard]},
        theme=gr.themes.Default(**fonts).set(**COLOURS), css=CSS,
        head=f"<script>{(Path(__file__).parent / 'editor.js').read_text(encoding='utf-8')}</script>",
    )  # fmt: skip
    return page
