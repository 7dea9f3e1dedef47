"""The Gradio page: a photograph, the hole and guide lines in, completions side by side out."""

import base64
import io
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before the import: nothing is sent anywhere
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr
import numpy as np
from PIL import Image
from starlette.middleware import Middleware

from datamodules.reading import read_image
from experiments.app.folder import KEPT, used
from experiments.app.guard import LATER, Guard
from experiments.app.worker import Task, Worker, small
from experiments.files.write import write_png
from experiments.inpaint.large import TILE
from experiments.web import is_loopback
from masks.files import read_mask, resize_mask, write_mask

MOST_DRAWN = 20_000_000  # characters of a painted layer
EDITOR = """
<div class="bar">
  <button type="button" data-tool="brush">brush</button><button type="button" data-tool="rectangle">rectangle</button>
  <button type="button" data-tool="eraser">eraser</button>
  <label>size <input class="size" type="range" min="2" max="120" value="24"></label>
  <span>on</span><button type="button" data-layer="hole">hole</button>
  <button type="button" data-layer="lines">guide lines</button>
  <button type="button" data-do="undo">undo</button><button type="button" data-do="clear">clear</button>
</div>
<div class="stage"><canvas class="photo"></canvas><canvas class="hole"></canvas><canvas class="lines"></canvas></div>
"""
CSS = """
#editor .bar { display: flex; flex-wrap: wrap; gap: 6px; align-items: center; margin-bottom: 6px }
#editor .bar button { padding: 3px 9px; border: 1px solid #8886; border-radius: 5px }
#editor .bar button[aria-pressed=true] { background: #ff3b6b; color: white }
#editor .stage { position: relative; width: 100%; min-height: 120px; background: #8882; touch-action: none;
  cursor: crosshair }
#editor .stage canvas { position: absolute; inset: 0; width: 100%; height: 100% }
#editor .stage .hole { opacity: .6 }
"""
READ = "(...given) => { given[1] = litEditor.read('hole'); given[2] = litEditor.read('lines'); return given; }"


@dataclass
class Session:
    """What one browser tab has loaded. ``uploaded`` is a mask file's hole at full size."""

    folder: str
    image: str | None = None
    height: int = 0
    width: int = 0
    shown: tuple[int, int] = (0, 0)  # height, width of the preview
    uploaded: str | None = None
    results: dict[str, dict[str, str]] = field(default_factory=dict)


def said(error: Exception) -> str:
    """A message without the page's own folder in it."""
    text = " ".join(str(error).split())
    return text.replace(f"{tempfile.gettempdir()}{os.sep}", "")


class Page:
    """The handlers, and the server once it is started."""

    def __init__(self, methods: dict[str, str], folder: str, device: str, total: int = 2000 * 2**20) -> None:
        """``total``: bytes that the folder may hold."""
        self.methods, self.folder, self.device, self.total = methods, folder, device, total
        self.worker = Worker()
        self.server: gr.Blocks
        self.url = ""
        self.ended = threading.Event()

    # ---- handlers ------------------------------------------------------------------------------------------------

    def load(self, file: str | None) -> tuple[Session | None, Any, str]:
        if file is None:
            return None, None, "Load a photograph."
        try:
            pixels = read_image(file)
        except ValueError as error:
            return None, None, named(error, file)
        session = Session(tempfile.mkdtemp(dir=self.folder), file, *pixels.shape[:2])
        preview = small(pixels)
        session.shown = (preview.shape[0], preview.shape[1])
        shown = {"image": data_url(preview, "JPEG"), "width": preview.shape[1], "height": preview.shape[0]}
        return session, shown, f"{session.width}x{session.height}: paint the hole, or load a mask."

    def load_mask(
        self, session: Session | None, file: str | None, white: str, alpha: str = "refused"
    ) -> tuple[Any, str]:
        if session is None or file is None:
            return None, "Load a photograph first." if session is None else "No mask."
        try:
            side: Any = alpha if alpha in ("opaque", "transparent") else None
            hole = read_mask(file, white="known" if white == "known" else "hole", alpha=side)
        except ValueError as error:
            return None, named(error, file)
        if hole.shape != (session.height, session.width):
            return None, (
                f"The mask is {hole.shape[1]}x{hole.shape[0]}, the photograph {session.width}x{session.height}; they "
                "must have one size. Resize the mask with nearest neighbour."
            )
        session.uploaded = str(Path(session.folder) / "uploaded.png")
        write_mask(hole, session.uploaded)
        shown = resize_mask(hole, *session.shown) * np.uint8(255)
        return {"hole": data_url(shown, "PNG")}, f"The mask covers {hole.mean():.1%}; it can be edited."

    def hole(self, session: Session, drawn: str) -> np.ndarray:
        """The painted hole at the size of the photograph; where an uploaded mask was not edited, its own pixels."""
        painted = resize_mask(layer(drawn, session.shown), session.height, session.width)
        if session.uploaded is None:
            return painted
        uploaded = read_mask(session.uploaded)
        unedited = resize_mask(resize_mask(uploaded, *session.shown), session.height, session.width) == painted
        return np.where(unedited, uploaded, painted)

    def mask_file(self, session: Session | None, drawn: str, lines: str) -> tuple[Any, str]:
        if session is None:
            return None, "Load a photograph first."
        try:
            hole = self.hole(session, drawn)
        except ValueError as error:
            return None, said(error)
        file = str(Path(session.folder) / "mask.png")
        write_mask(hole, file)
        return gr.update(value=file, visible=True), f"The mask covers {hole.mean():.1%}."

    def run(
        self, session: Session | None, drawn: str, lines: str, chosen: list[str], seed: float, samples: float,
        tile: float, request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:  # fmt: skip
        """Lines of progress, then pictures, as they come."""
        keep = gr.skip()
        if session is None or session.image is None:
            yield "Load a photograph first.", keep, keep, keep, keep
            return
        try:
            task = self.task(session, drawn, lines, chosen, int(seed), int(samples), int(tile))
        except (ValueError, TypeError) as error:
            yield said(error), keep, keep, keep, keep
            return
        session.results, lines_said, errors = {}, "", []
        yield "begins", [], [], gr.update(choices=[], value=None), gr.update(choices=[], value=None)
        finished: list[str] = []
        for message in self.worker.run(task, str(request.session_hash)):
            if message is None:
                yield lines_said or "begins", keep, keep, keep, keep
                continue
            lines_said = message.get("said", lines_said)
            if "error" in message:
                errors.append(message["error"])
            if "file" in message:
                finished.append(message["said"])
                session.results[message["label"]] = message
                names = ["input", *session.results]
                yield (
                    message["said"],
                    [(m["preview"], name) for name, m in session.results.items()],
                    [m["file"] for m in session.results.values()],
                    gr.update(choices=names, value=names[1] if len(names) > 2 else names[0]),
                    gr.update(choices=names, value=names[-1]),
                )
        yield "\n".join([*errors, *finished]) or "nothing to do", keep, keep, keep, keep

    def task(
        self, session: Session, drawn: str, lines: str, chosen: list[str], seed: int, samples: int, tile: int
    ) -> Task:
        if not chosen:
            raise ValueError("Choose a method.")
        if not 1 <= samples <= 16 or (tile != 0 and tile < 64) or tile > 8192:
            raise ValueError("samples is 1 to 16, the window 0 (whole image) or 64 to 8192 pixels.")
        if used(Path(self.folder)) > self.total:
            raise ValueError(f"The page is full: {self.total // 2**20} MB of photographs and results. {LATER}")
        hole = self.hole(session, drawn)
        if not hole.any():
            raise ValueError("Paint the hole first.")
        folder = Path(tempfile.mkdtemp(dir=session.folder))
        write_mask(hole, folder / "hole.png")
        guide, sketch = layer(lines, session.shown), None
        if guide.any():
            sketch = str(folder / "lines.png")
            write_mask(resize_mask(guide, session.height, session.width), sketch)
        methods = {label: self.methods[label] for label in chosen}
        image = str(session.image)
        return Task(image, str(folder / "hole.png"), sketch, str(folder), methods, self.device, seed, samples, tile)

    def cancel(self, request: gr.Request) -> str:
        return "cancelled" if self.worker.cancel(str(request.session_hash)) else "nothing of yours is running"

    def compare(self, session: Session | None, left: str | None, right: str | None) -> Any:
        if session is None or not left or not right:
            return None
        files = []
        for name in (left, right):
            if name == "input":
                file = Path(session.folder) / "input.preview.png"
                if not file.is_file():
                    write_png(small(read_image(str(session.image))), file.parent, file.name)
                files.append(str(file))
            elif name in session.results:
                files.append(session.results[name]["preview"])
        return tuple(files) if len(files) == 2 else None

    # ---- the page -------------------------------------------------------------------------------------------------

    def blocks(self) -> gr.Blocks:
        blocks = gr.Blocks(title="lit-inpaint", analytics_enabled=False, delete_cache=(3600, KEPT))
        with blocks:
            session, show = gr.State(None), gr.JSON(visible=False)
            drawn, lines = gr.Textbox(visible=False), gr.Textbox(visible=False)
            with gr.Row():
                with gr.Column(scale=3):
                    photo = gr.File(label="photograph", type="filepath", height=110, elem_id="photo")
                    gr.HTML(EDITOR, elem_id="editor")
                    with gr.Row():
                        mask = gr.File(label="mask of its size", type="filepath", height=110, elem_id="mask")
                        white = gr.Radio(["hole", "known"], value="hole", label="white in the mask file is")
                        sides = ["refused", "opaque", "transparent"]
                        alpha = gr.Radio(sides, value="refused", label="of an alpha channel, the hole is")
                    take = gr.Button("make mask file", size="sm")
                    mask_out = gr.File(label="painted mask", interactive=False, visible=False, elem_id="mask_out")
                with gr.Column(scale=2):
                    names = list(self.methods)
                    chosen = gr.CheckboxGroup(names, value=names[:1], label="methods", elem_id="methods")
                    with gr.Row():
                        seed = gr.Number(0, label="seed", precision=0, min_width=90)
                        samples = gr.Number(1, label="samples", precision=0, minimum=1, maximum=16, min_width=90)
                        tile = gr.Number(TILE, label="window, pixels", precision=0, minimum=0, min_width=90)
                    with gr.Row():
                        go = gr.Button("complete", variant="primary", elem_id="go")
                        stop = gr.Button("cancel", elem_id="stop")
                    status = gr.Textbox("Load a photograph.", label="what happens", interactive=False, elem_id="status")
                    gallery = gr.Gallery(label="completions", columns=2, height=230, elem_id="gallery")
                    with gr.Row():
                        left = gr.Dropdown([], label="left", min_width=90)
                        right = gr.Dropdown([], label="right", min_width=90)
                    slider = gr.ImageSlider(label="left and right", interactive=False, elem_id="slider")
                    files = gr.File(label="download", file_count="multiple", interactive=False, elem_id="files")
            told: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
            draw = "(given) => { litEditor.show(given); return []; }"
            photo.change(self.load, photo, [session, show, status], **told).then(None, show, None, js=draw)
            uploaded = [session, mask, white, alpha]
            mask.change(self.load_mask, uploaded, [show, status], **told).then(None, show, None, js=draw)
            painted = [session, drawn, lines]
            take.click(self.mask_file, painted, [mask_out, status], js=READ, **told)
            settings = [chosen, seed, samples, tile]
            out = [status, gallery, files, left, right]
            go.click(self.run, [*painted, *settings], out, js=READ, concurrency_limit=1, **told)
            stop.click(self.cancel, None, status, queue=False, **told)
            for menu in (left, right):
                menu.change(self.compare, [session, left, right], slider, **told)
        return blocks

    def wait(self) -> None:
        self.ended.wait()

    def close(self) -> None:
        self.worker.close()
        self.server.close(verbose=False)
        self.ended.set()


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
) -> Page:
    """Start the server in threads of this process. Everything it writes lies below ``folder``."""
    os.environ["GRADIO_TEMP_DIR"] = folder
    limit, total = max_upload_mb * 2**20, max_total_mb * 2**20
    page = Page(methods, folder, device, total)
    page.worker.start()
    page.server = page.blocks()
    page.server.queue(max_size=queue, default_concurrency_limit=4)
    sans, mono = ["ui-sans-serif", "system-ui", "sans-serif"], ["ui-monospace", "monospace"]
    fonts: dict[str, Any] = {"font": sans, "font_mono": mono}
    guard = Middleware(Guard, folder=Path(folder), most=limit, total=total, local=is_loopback(host))
    _, page.url, _ = page.server.launch(
        server_name=host, server_port=port, share=False, inbrowser=False, prevent_thread_lock=True, quiet=True,
        auth=("lit", password) if password else None, max_file_size=limit, allowed_paths=[folder],
        enable_monitoring=False, run_history=False, footer_links=[], ssr_mode=False, max_threads=16,
        app_kwargs={"middleware": [guard]},
        theme=gr.themes.Default(**fonts), css=CSS,
        head=f"<script>{(Path(__file__).parent / 'editor.js').read_text(encoding='utf-8')}</script>",
    )  # fmt: skip
    return page


def named(error: Exception, file: str) -> str:
    """An error about an uploaded file, by its name alone."""
    return " ".join(str(error).split()).replace(file, Path(file).name)


def data_url(pixels: np.ndarray, kind: str) -> str:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, quality=90)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(content.getvalue()).decode()}"


def layer(drawn: str, shape: tuple[int, int]) -> np.ndarray:
    """A painted layer, (H, W) of 0 and 1; nothing is trusted that a browser sends.

    Raises:
        ValueError: It is no PNG of the preview's size.
    """
    if not drawn:
        return np.zeros(shape, np.uint8)
    start = "data:image/png;base64,"
    if not isinstance(drawn, str) or not drawn.startswith(start) or len(drawn) > MOST_DRAWN:
        raise ValueError("the painted layer is no PNG that this page made; load the photograph again.")
    try:
        image = Image.open(io.BytesIO(base64.b64decode(drawn[len(start) :], validate=True)), formats=["PNG"])
        if image.size != shape[::-1]:
            raise ValueError(f"it is {image.size[0]}x{image.size[1]}, not {shape[1]}x{shape[0]}")
        return (np.asarray(image.convert("L")) > 127).astype(np.uint8)
    except Exception as error:
        raise ValueError(f"the painted layer cannot be read ({error}); load the photograph again.") from error
