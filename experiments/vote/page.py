"""The rater's page: forms, pictures and one script for the arrow keys; local access only."""

import html
import re
import sqlite3
import sys
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

from PIL import Image

from experiments.vote.store import Store
from experiments.vote.study import Study
from experiments.web import refusal

_MOST = 4096  # bytes of a form
_STYLE, _SCRIPT = (Path(__file__).with_name(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    f"frame-ancestors 'none'; script-src 'sha256-{b64encode(sha256(_SCRIPT.encode()).digest()).decode()}'"
)
_WELCOME = """<div class=say><h1>Which looks more real?</h1><p>You will see an image with a hole and two completions of
it. Choose the one that looks more real<span class=keys>, by a click or with <kbd>←</kbd> and <kbd>→</kbd></span>.
An answer cannot be changed; you may close the page and continue later in this
browser.</p><form method=post action=/begin><p><label>Your name
<input name=name maxlength=60 autofocus></label> <button>Begin</button></p></form></div>"""


def serve(study: Study, store: Store, port: int, pairs: int | None = None) -> ThreadingHTTPServer:
    """A server that has bound its port on 127.0.0.1; ``serve_forever`` runs it. Port 0 is any free one."""

    class Handler(_RaterPage):
        pass

    Handler.study, Handler.store, Handler.pairs = study, store, pairs
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise ValueError(f"port {port}: {error.strerror}. Give another --port; --port 0 is any free one.") from error


def _sharp(width: int, height: int) -> str:
    """Show pixels as squares wherever page.css enlarges: smoothing would hide the blur of a completion."""
    beside = f"(min-width:calc({2 * width}px + 5rem)) and (min-height:calc({height}px + 13rem))"
    stacked = f"(orientation:portrait) and (min-width:calc({width}px + 3rem)) and "
    stacked += f"(min-height:calc({2 * height}px + 16.2rem))"
    return (
        f"<style>@media (orientation:landscape) and {beside},{stacked}{{.two img{{image-rendering:pixelated}}}}</style>"
    )


class _RaterPage(BaseHTTPRequestHandler):
    study: Study
    store: Store
    pairs: int | None
    timeout = 30

    def do_GET(self) -> None:
        self._answered(self._get)

    def do_POST(self) -> None:
        self._answered(self._post)

    def _answered(self, request: Callable[[], None]) -> None:
        """A picture or the answers may be gone, or the disk full: the rater learns that, and so does the terminal."""
        try:
            request()
        except (ConnectionError, TimeoutError):
            raise
        except (OSError, sqlite3.Error) as error:
            print(f"lit-inpaint: {self.path}: {error}", file=sys.stderr, flush=True)
            self._say(500, "This did not work: a file cannot be read or written. Tell who runs the study; then reload.")

    def _get(self) -> None:
        if why := self._refusal():
            self._say(403, why)
        elif self.path == "/":
            self._vote()
        elif match := re.fullmatch(r"/picture/(\d{1,9})/(left|right|input)", self.path):
            self._picture(int(match[1]), match[2])
        else:
            self._say(404, "There is no such page.")

    def _post(self) -> None:
        length = self.headers.get("Content-Length", "")
        if why := self._refusal():
            self.close_connection = True
            self._say(403, why)
            return
        if not length.isdigit() or int(length) > _MOST:
            self.close_connection = True
            self._say(413, f"A form has at most {_MOST} bytes.")
            return
        form = {k: v[0] for k, v in parse_qs(self.rfile.read(int(length)).decode("utf-8", "replace")).items()}
        if self.path == "/begin":
            token = self.store.begin(form.get("name", "").strip()[:60], self.study, self.pairs)
            # Pages on other ports share this browser's cookies: each study has one of its own.
            self._go_on(f"rater-{token[:8]}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000")
        elif self.path == "/answer" and re.fullmatch(
            r"[0-9]+ (left|right)", f"{form.get('position')} {form.get('choice')}"
        ):
            if self.store.answer(self._token(), int(form["position"][:9]), form["choice"] == "left"):
                self._go_on()
            else:
                self._say(404, "You were not asked this question.")
        else:
            self._say(400, "This form is not from this page.")

    # ---- pages -----------------------------------------------------------------------------------------------------

    def _vote(self) -> None:
        token = self._token()
        if not self.store.known(token):
            self._say(200, _WELCOME, markup=True)
        elif (found := self.store.question(token)) is None:
            self._say(200, "That was all. Thank you!")
        else:
            position, (answered, count), question = found
            page = self._pair(position, answered, count, question.image)
            self._say(200, page, f"{answered + 1} of {count}: ", markup=True)

    def _pair(self, position: int, answered: int, count: int, image: str) -> str:
        with Image.open(self.study.picture(image, self.study.reference)) as picture:
            width, height = picture.size
        buttons = "".join(
            f"<form method=post action=/answer><input type=hidden name=position value={position}>"
            f"<button name=choice value={side}><img alt='{side} completion' src=/picture/{position}/{side} "
            f"width={width} height={height}><kbd class=keys>{key}</kbd> this one</button></form>"
            for side, key in (("left", "←"), ("right", "→"))
        )
        return (
            f"{_sharp(width, height)}<header><div><h1>Which looks more real?</h1><progress max={count} "
            f"value={answered} aria-label='answered pairs'></progress>{answered + 1} of {count}</div><p class=input>"
            f"<img alt='' src=/picture/{position}/input>with its hole</p></header>"
            f"<div class=two style='--wide:{width}px;--shape:{width / height:.4f}'>{buttons}</div>"
        )

    def _picture(self, position: int, side: str) -> None:
        found = self.store.question(self._token(), position)
        if found is None:
            self._say(404, "You were not asked this question.")
            return
        question = found[2]
        label = question.rival if question.left == (side == "left") else self.study.reference
        file = self.study.picture(question.image, None if side == "input" else label)
        self._send(200, file.read_bytes(), "image/png")

    # ---- the protocol ----------------------------------------------------------------------------------------------

    def _refusal(self) -> str | None:
        return refusal(self.headers.get("Host"), self.headers.get("Origin"), local=True)

    def _token(self) -> str:
        """This study's token among those of all studies in this browser; earlier versions called it ``rater``."""
        tokens = re.findall(r"\brater(?:-[\w-]+)?=([\w-]+)", self.headers.get("Cookie", ""))
        return next(filter(self.store.known, tokens), "")

    def _go_on(self, cookie: str | None = None) -> None:
        self.send_response(303)
        self.send_header("Location", "/")
        self.send_header("Content-Length", "0")
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()

    def _say(self, status: int, text: str, title: str = "", markup: bool = False) -> None:
        body = text if markup else f"<div class=say><h1>{html.escape(text)}</h1></div>"
        head = (
            "<meta charset=utf-8><meta name=viewport content='width=device-width'><link rel=icon href=data:,>"
            f"<title>{title}Which looks more real?</title><style>{_STYLE}</style><script>{_SCRIPT}</script>"
        )
        page = f"<!doctype html><html lang=en><head>{head}</head><body><main>{body}</main></body></html>"
        self._send(status, page.encode(), "text/html; charset=utf-8")

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass
