"""Limits on requests and security headers on responses, applied before a request is parsed."""

import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from experiments.app.folder import used
from experiments.web import refusal

TRIES, PERIOD = 10, 60.0  # wrong passwords from any address, and seconds
FILES = re.compile(r"/(file|proxy)[=/]|/stream/")
ELSEWHERE = re.compile(r"/file=(/*\w+:|//)|/proxy=", re.IGNORECASE)  # Gradio would fetch these from the network
_OF_A_FILE = "default-src 'none'; sandbox"
_OF_THE_PAGE = (  # Gradio builds its page from inline scripts and makes functions of the `js` of its events
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)


class _TooLarge(Exception):
    pass


class Guard:
    """ASGI. ``most``: bytes per request body; ``total``: bytes in ``folder``; ``local``: see ``refusal``."""

    def __init__(
        self, app: Callable[..., Awaitable[None]], folder: Path, most: int, total: int, local: bool = True
    ) -> None:
        self.app, self.folder, self.most, self.total, self.local = app, folder, most, total, local
        self.coming = 0  # bytes of uploads in progress
        self.wrong: deque[float] = deque()  # times of wrong passwords

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # Gradio's page opens none
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), str(scope["path"])
        send = _with_policy(send, FILES.search(path) is not None)
        if why := refusal(headers.get("host"), headers.get("origin"), self.local):
            await _refuse(send, 403, why)
        elif ELSEWHERE.search(path):
            await _refuse(send, 403, "Only this page's own files are served.")
        elif scope["method"] == "POST" and path.rstrip("/") == "/login":
            await self._login(scope, receive, send)
        elif scope["method"] == "POST" and path.rstrip("/").endswith("/upload"):
            await self._upload(scope, receive, send)
        else:
            await self._limited(scope, receive, send)

    async def _login(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Attempts count before they are checked, so that many at once cannot slip through."""
        now = time.monotonic()
        while self.wrong and now - self.wrong[0] > PERIOD:
            self.wrong.popleft()
        if len(self.wrong) >= TRIES:
            await _refuse(send, 429, f"Too many wrong passwords; wait {PERIOD:.0f} seconds.")
            return
        self.wrong.append(now)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                self.wrong.remove(now)
            await send(message)

        await self._limited(scope, receive, watched)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        stated = Headers(scope=scope).get("content-length", "")
        expected = int(stated) if stated.isdigit() else self.most
        if expected <= self.most and used(self.folder) + self.coming + expected > self.total:
            await _refuse(send, 413, f"The page is full: {self.total // 2**20} MB of photographs and results. {LATER}")
            return
        self.coming += expected
        try:
            await self._limited(scope, receive, send)
        finally:
            self.coming -= expected

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413 to a body of more than ``most`` bytes, by its header or once that many have arrived."""
        stated = Headers(scope=scope).get("content-length", "0")
        if not stated.isdigit() or int(stated) > self.most:
            await _refuse(send, 413, self._too_large)
            return
        come, answered = 0, False

        async def counted() -> Message:
            nonlocal come
            message = await receive()
            come += len(message.get("body", b""))
            if come > self.most:
                raise _TooLarge
            return message

        async def watched(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, counted, watched)
        except _TooLarge:
            if not answered:
                await _refuse(send, 413, self._too_large)

    @property
    def _too_large(self) -> str:
        return f"larger than {self.most // 2**20} MB, the upload limit"


LATER = "They are removed after six hours, or when the page restarts."


def _with_policy(send: Send, of_a_file: bool) -> Send:
    """Serve uploads as inert downloads, should a browser open them; <img> still shows them."""

    async def with_policy(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["content-security-policy"] = _OF_A_FILE if of_a_file else _OF_THE_PAGE
            headers["x-content-type-options"] = "nosniff"
            headers["referrer-policy"] = "same-origin"
            if of_a_file:
                name = headers.get("content-disposition", "").partition(";")[2]
                headers["content-disposition"] = f"attachment;{name}" if name else "attachment"
                headers["cache-control"] = "no-store"
        await send(message)

    return with_policy


async def _refuse(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f'{{"detail": "{text}"}}'.encode()})
