"""The rater's page: only forms and pictures, no script, local access only."""

import html
import re
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from experiments.vote.store import Store
from experiments.vote.study import Study
from experiments.web import refusal

_MOST = 4096  # bytes of a form
_STYLE = """body{font:16px system-ui,sans-serif;margin:1em auto;max-width:1100px;text-align:center}
img{max-width:100%;max-height:60vh;image-rendering:auto}.input img{max-height:24vh}
.two{display:flex;gap:1em}.two form{flex:1}.two button{border:3px solid #8884;background:none;padding:4px;width:100%}
.two button:hover,.two button:focus{border-color:#06c}"""

_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def serve(study: Study, store: Store, port: int, pairs: int | None = None) -> ThreadingHTTPServer:
    """A server that has bound its port on 127.0.0.1; ``serve_forever`` runs it. Port 0 is any free one."""

    class Handler(_RaterPage):
        pass

    Handler.study, Handler.store, Handler.pairs = study, store, pairs
    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


class _RaterPage(BaseHTTPRequestHandler):
    study: Study
    store: Store
    pairs: int | None
    timeout = 30

    def do_GET(self) -> None:
        if why := self._refusal():
            self._say(403, why)
        elif self.path == "/":
            self._vote()
        elif match := re.fullmatch(r"/picture/(\d{1,9})/(left|right|input)", self.path):
            self._picture(int(match[1]), match[2])
        else:
            self._say(404, "There is no such page.")

    def do_POST(self) -> None:
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
            self._go_on(f"rater={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000")
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
            self._say(
                200,
                "<p>You will see an image with a hole and two completions of it. Click the one that looks more real."
                "</p><form method=post action=/begin><input name=name maxlength=60 placeholder='your name' autofocus> "
                "<button>begin</button></form>",
                markup=True,
            )
        elif (found := self.store.question(token)) is None:
            self._say(200, "That was all. Thank you!")
        else:
            position, count, _ = found
            buttons = "".join(
                f"<form method=post action=/answer><input type=hidden name=position value={position}>"
                f"<button name=choice value={side}><img alt='{side} completion' src=/picture/{position}/{side}>"
                "</button></form>"
                for side in ("left", "right")
            )
            self._say(
                200,
                f"<p>{position + 1} of {count}: which looks more real?</p><p class=input><img alt='the image with its "
                f"hole' src=/picture/{position}/input></p><div class=two>{buttons}</div>",
                markup=True,
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
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get("rater")
        except CookieError:
            return ""
        return cookie.value if cookie else ""

    def _go_on(self, cookie: str | None = None) -> None:
        self.send_response(303)
        self.send_header("Location", "/")
        self.send_header("Content-Length", "0")
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()

    def _say(self, status: int, text: str, markup: bool = False) -> None:
        body = text if markup else f"<p>{html.escape(text)}</p>"
        head = "<meta charset=utf-8><link rel=icon href=data:,><title>Which looks more real?</title>"
        page = f"<!doctype html>{head}<style>{_STYLE}</style>{body}"
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
