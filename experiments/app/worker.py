"""A separate process that completes images, so that a slow method can be killed and its memory freed."""

import multiprocessing
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datamodules.reading import read_image
from experiments.app.session import said
from experiments.files.write import write_png
from experiments.inpaint.large import refuse_too_large
from experiments.inpaint.original import kept
from lit_inpaint.calls import counted
from lit_inpaint.load import load_method
from lit_inpaint.method import Method, moved_by
from lit_inpaint.pictures import grey
from lit_inpaint.windows import TILE, complete_pixels, windows_of
from masks.files import read_mask

PREVIEW = 1280  # pixels of the longer side of what the page shows


@dataclass(frozen=True)
class Task:
    """Input and output files of one run."""

    image: str
    hole: str
    lines: str | None
    folder: str
    methods: dict[str, str]  # label: what load_method takes
    device: str = "cpu"
    seed: int = 0
    samples: int = 1
    tile: int = TILE
    prompt: str = ""
    name: str = "completion"  # what the files of the completions begin with


Message = dict[str, Any]  # "said": a line; or "label", "file", "preview": one completion; or "error"


class Worker:
    """One process for all runs, one at a time; started on demand and restarted after a cancel."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["experiments.app.worker"])
        self._process: Any = None
        self._turn = threading.Lock()
        self._ending = threading.Lock()  # a run does not end, and the next begin, while it is cancelled
        self.owner: str | None = None

    def run(self, task: Task, owner: str) -> Iterator[Message | None]:
        """Messages of a run; None while there is nothing new. Ends early with an "error" if the process is killed."""
        with self._turn:
            self.owner = owner
            try:
                yield from self._run(task)
            finally:
                with self._ending:
                    self.owner = None

    def start(self) -> None:
        """Done before the first run, which would wait for the imports of the process."""
        if self._process is None or not self._process.is_alive():
            self._pipe, other = self._context.Pipe()
            self._process = self._context.Process(target=_serve_tasks, args=(other,), daemon=True)
            self._process.start()
            other.close()

    def _run(self, task: Task) -> Iterator[Message | None]:
        self.start()
        process, finished = self._process, False
        try:
            self._pipe.send(task)
            while not finished:
                if not self._pipe.poll(0.2):
                    yield None
                    continue
                message = self._pipe.recv()
                finished = message is None
                if not finished:
                    yield message
        except (EOFError, OSError):
            self._kill()
            finished = True
            killed = (
                "cancelled"
                if getattr(process, "cancelled", False)
                else "the process ended unexpectedly; it may have run out of memory"
            )
            yield {"error": killed}
        finally:
            if not finished:  # the client is gone
                self._kill()

    def _kill(self) -> None:
        """Killed is not yet dead: the next run would take a process that is still alive for one that serves it."""
        if (process := self._process) is not None:
            process.kill()
            process.join()
            self._process = None

    def cancel(self, owner: str) -> bool:
        """Cancel the active run of ``owner``; False if they have none."""
        with self._ending:
            if self.owner != owner or self._process is None:
                return False
            self._process.cancelled = True
            self._kill()
            return True

    def close(self) -> None:
        if (process := self._process) is not None:
            process.kill()
            process.join(5)  # what it was writing is written or not


def _serve_tasks(pipe: Connection) -> None:
    """The loop of the process: tasks in, messages out, None after each task."""
    loaded: dict[str, Method] = {}
    while True:
        try:
            task: Task = pipe.recv()
        except EOFError:
            return
        for label, method in task.methods.items():
            try:
                if method not in loaded:
                    pipe.send({"said": f"{label}: loading"})
                    loaded[method] = load_method(method, device=task.device)
                for message in completions(task, label, loaded[method], pipe):
                    pipe.send(message)
            except Exception as error:
                pipe.send({"error": f"{label}: {said(getattr(error, 'reason', None) or error)}"})
        pipe.send(None)


def completions(task: Task, label: str, method: Method, pipe: Connection) -> Iterator[Message]:
    """Every completion of one method: a PNG of full size and a small one for the page."""
    pixels, hole = read_image(task.image), read_mask(task.hole)
    painted = read_mask(task.lines) if task.lines else None  # one layer, for the first guide that the method takes
    guides = {} if painted is None else dict.fromkeys(method.guided_by[:1], painted)
    memory = refuse_too_large(method, hole, task.tile)
    windows = len(windows_of(method, hole, task.tile))
    how = f"{f', {windows} windows' if windows > 1 else ''}{f', {memory}' if memory else ''}"
    count = task.samples if method.diverse else 1
    begun, calls, told = time.monotonic(), 0, 0.0

    def tell(what: str) -> None:
        nonlocal told
        if time.monotonic() - told > 0.3:
            told = time.monotonic()
            pipe.send({"said": f"{label}{how}: {what}, {told - begun:.0f} s"})

    def called(*_: object) -> None:
        nonlocal calls
        calls += 1
        tell(f"{calls} network calls")

    def advance(done: int, windows: int) -> None:
        tell(f"window {done} of {windows}")

    method.asked = task.prompt or None
    if method.channels == 1:
        pixels = grey(pixels, type(method).__name__, "the photograph")
    options, dropped = kept(Path(task.image), pixels.shape)
    with counted(method, called):
        for number in range(count):
            method.moved = [] if method.moves_known else None
            tell(f"completion {number + 1} of {count}")
            arguments = (Path(task.image).stem, number, task.seed, task.tile, guides, advance)
            result = complete_pixels(method, pixels, hole, *arguments)
            result = result[..., 0] if method.channels == 1 else result
            name = f"{label}{f'-{number}' if count > 1 else ''}"
            file = write_png(result, Path(task.folder), f"{task.name}-{name}.png", **options)
            preview = write_png(small(result), Path(task.folder), f"{task.name}-{name}.preview.png")
            lines = ", guide lines ignored" if task.lines and not guides else ""
            lines += ", prompt ignored" if task.prompt and not method.prompted else ""
            more = "".join(f", {what}" for what in (*dropped, moved_by(method)) if what)
            line = f"{label}{how}: {time.monotonic() - begun:.1f} s{lines}{more}"
            yield {"label": name, "file": str(file), "preview": str(preview), "said": line}


def small(pixels: np.ndarray, side: int = PREVIEW) -> np.ndarray:
    """At most ``side`` pixels on the longer side."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(image)
