"""Event handlers of the page."""

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from datamodules.reading import read_image
from experiments.app import examples
from experiments.app.folder import KEPT, used
from experiments.app.guard import LATER
from experiments.app.session import Session, data_url, layer, said
from experiments.app.worker import Task, Worker, small
from experiments.files.write import write_png
from masks.files import read_mask, resize_mask, write_mask

WELCOME = "Load a photograph or click an example."


class Page:
    """The handlers, and the server once it has started."""

    def __init__(
        self, methods: dict[str, str], folder: str, device: str, total: int = 2000 * 2**20, prompted: bool = False
    ) -> None:
        """``total``: maximum bytes in the folder; ``prompted``: one of the methods takes words."""
        self.methods, self.folder, self.device, self.total = methods, folder, device, total
        self.prompted = prompted
        self.worker = Worker()
        self.server: gr.Blocks
        self.url = ""
        self.ended = threading.Event()

    def load(self, file: str | None) -> tuple[Session | None, dict[str, object], str]:
        """For a file that is no photograph, no session, an empty picture and the reason."""
        if file is None:
            return None, {"image": ""}, WELCOME
        try:
            pixels = read_image(file)
        except ValueError as error:
            return None, {"image": ""}, said(error)
        session = Session(tempfile.mkdtemp(dir=self.folder), file, *pixels.shape[:2])
        preview = small(pixels)
        session.shown = (preview.shape[0], preview.shape[1])
        shown: dict[str, object] = {
            "image": data_url(preview, "JPEG"),
            "width": preview.shape[1],
            "height": preview.shape[0],
        }
        return session, shown, f"{Path(file).name}, {session.width}x{session.height}: paint the hole, or load a mask."

    def example(self, event: gr.EventData) -> tuple[Session | None, dict[str, object], str]:
        """A drawn face with its hole painted. What the browser asks for is not trusted."""
        try:
            number: object = event.number
        except (AttributeError, TypeError):
            number = None
        if not isinstance(number, int) or not 0 <= number < examples.COUNT:
            return self.load(None)
        file, hole = examples.example(number, self.folder)
        session, shown, _ = self.load(file)
        shown["hole"] = data_url(hole * np.uint8(255), "PNG")
        return session, shown, f"The hole covers {hole.mean():.1%}: press complete, or paint another."

    def load_mask(
        self, session: Session | None, file: str | None, white: str, alpha: str = "refused"
    ) -> tuple[dict[str, str] | None, str]:
        if file is None:
            return None, "No mask file; what is painted stays."
        if session is None:
            return None, "Load a photograph first."
        try:
            side: Any = alpha if alpha in ("opaque", "transparent") else None
            hole = read_mask(file, white="known" if white == "known" else "hole", alpha=side)
        except ValueError as error:
            return None, said(error)
        if hole.shape != (session.height, session.width):
            return None, (
                f"The mask is {hole.shape[1]}x{hole.shape[0]}, the photograph {session.width}x{session.height}; they "
                "must have the same size. Resize the mask with nearest neighbour."
            )
        session.uploaded = str(Path(session.folder) / "uploaded.png")
        write_mask(hole, session.uploaded)
        shown = resize_mask(hole, *session.shown) * np.uint8(255)
        return {"hole": data_url(shown, "PNG")}, f"The mask covers {hole.mean():.1%}; it can be edited."

    def hole(self, session: Session, drawn: str) -> np.ndarray:
        """The painted hole at the photograph's size; unedited parts of an uploaded mask keep their pixels."""
        painted = resize_mask(layer(drawn, session.shown), session.height, session.width)
        if session.uploaded is None:
            return painted
        uploaded = read_mask(session.uploaded)
        unedited = resize_mask(resize_mask(uploaded, *session.shown), session.height, session.width) == painted
        return np.where(unedited, uploaded, painted)

    def mask_file(self, session: Session | None, drawn: str, lines: str) -> tuple[object, str]:
        if session is None:
            return None, "Load a photograph first."
        try:
            hole = self.hole(session, drawn)
        except ValueError as error:
            return None, said(error)
        file = str(Path(session.folder) / f"{session.name}_mask.png")
        write_mask(hole, file)
        return gr.update(value=file, visible=True), f"The mask covers {hole.mean():.1%}."

    def run(
        self, session: Session | None, drawn: str, lines: str, chosen: list[str], seed: float, samples: float,
        tile: float, prompt: str, request: gr.Request,
    ) -> Iterator[tuple[object, ...]]:  # fmt: skip
        """Yield progress lines, then pictures, as they arrive."""
        keep = gr.skip()
        if session is None or session.image is None:
            yield "Load a photograph first.", *[keep] * 5
            return
        try:
            task = self.task(session, drawn, lines, chosen, int(seed), int(samples), int(tile), str(prompt or ""))
        except (ValueError, TypeError) as error:
            yield said(error), *[keep] * 5
            return
        session.results, lines_said, errors = {}, "", []
        hidden = gr.update(visible="hidden", value=None)
        none = gr.update(visible="hidden", choices=[], value=None)
        yield "starting", hidden, hidden, hidden, none, none
        finished: list[str] = []
        for message in self.worker.run(task, str(request.session_hash)):
            if message is None:
                yield lines_said or "starting", *[keep] * 5
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
                    gr.update(value=[(m["preview"], name) for name, m in session.results.items()], visible=True),
                    gr.update(value=[m["file"] for m in session.results.values()], visible=True),
                    gr.update(visible=True),
                    gr.update(choices=names, value=names[1] if len(names) > 2 else names[0], visible=True),
                    gr.update(choices=names, value=names[-1], visible=True),
                )
        yield "\n".join([*errors, *finished]) or "nothing to do", *[keep] * 5

    def task(
        self, session: Session, drawn: str, lines: str, chosen: list[str], seed: int, samples: int, tile: int,
        prompt: str = "",
    ) -> Task:  # fmt: skip
        if not chosen:
            raise ValueError("Choose a method.")
        if not 1 <= samples <= 16 or (tile != 0 and tile < 64) or tile > 8192:
            raise ValueError("samples is 1 to 16, the window 0 (whole image) or 64 to 8192 pixels.")
        if used(Path(self.folder)) > self.total:
            raise ValueError(f"The page is full: {self.total // 2**20} MB of photographs and results. {LATER}")
        if not Path(str(session.image)).is_file():
            raise ValueError(f"The photograph was deleted: files are kept for {KEPT // 3600} hours. Load it again.")
        hole = self.hole(session, drawn)
        if not hole.any():
            raise ValueError("Paint the hole first.")
        folder = Path(tempfile.mkdtemp(dir=session.folder))
        write_mask(hole, folder / "hole.png")
        painted, guide = layer(lines, session.shown), None
        if painted.any():
            guide = str(folder / "lines.png")
            write_mask(resize_mask(painted, session.height, session.width), guide)
        methods = {label: self.methods[label] for label in chosen}
        files = str(session.image), str(folder / "hole.png"), guide, str(folder)
        return Task(*files, methods, self.device, seed, samples, tile, prompt.strip(), session.name)

    def cancel(self, request: gr.Request) -> str:
        return "cancelled" if self.worker.cancel(str(request.session_hash)) else "you have no active run"

    def compare(self, session: Session | None, left: str | None, right: str | None) -> tuple[str, ...] | None:
        if session is None or not left or not right:
            return None
        files = []
        for name in (left, right):
            if name == "input":
                file = Path(session.folder) / "input.preview.png"
                if not file.is_file() and Path(str(session.image)).is_file():
                    write_png(small(read_image(str(session.image))), file.parent, file.name)
                files.append(str(file))
            elif name in session.results:
                files.append(session.results[name]["preview"])
        return tuple(files) if len(files) == 2 and all(map(os.path.isfile, files)) else None

    def wait(self) -> None:
        self.ended.wait()

    def close(self) -> None:
        self.worker.close()
        self.server.close(verbose=False)
        self.ended.set()
