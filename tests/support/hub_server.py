"""A stand-in for the Hugging Face Hub on loopback: what the installed client asks of it, in the Hub's wire format.

Repositories with commits and branches, regular files inline, safetensors by Git LFS (batch, PUT, verify) and from a
second host name, as from the Hub's CDN; ranges, ETags, private and gated repositories. ``cuts``, ``lies`` and ``down``
are its faults. The client is the real one.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_" + "t" * 34
LICENSES = {"apache-2.0", "mit", "cc-by-4.0", "cc-by-nc-4.0", "openrail", "other"}


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_lfs(path: str) -> bool:
    return path.endswith((".safetensors", ".bin", ".ckpt", ".pt"))


@dataclass
class Repository:
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def commit(self, files: dict[str, bytes | None], ref: str = "main") -> str:
        """A commit on what is there; None deletes a file."""
        before = self.commits.get(self.refs.get(ref, ""), {})
        content = {path: data for path, data in {**before, **files}.items() if data is not None}
        name = hashlib.sha1(repr((len(self.commits), sorted(content.items()))).encode()).hexdigest()
        self.commits[name], self.refs[ref] = content, name
        return name

    @property
    def head(self) -> dict[str, bytes]:
        return self.commits[self.refs["main"]]


@dataclass
class Hub:
    """
    Args:
        objects: Contents by SHA-256, as uploaded or served.
        asked: (method, path, headers) of every request.
        cuts: After how many bytes the next downloads break off.
        lies: SHA-256 of an object: what is served for it instead, with a length that fits.
        down: Every request is answered with 503.
    """

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    lies: dict[str, bytes] = field(default_factory=dict)
    down: bool = False

    def create(self, name: str, files: dict[str, bytes | None] | None = None, **access: bool) -> Repository:
        repository = self.repositories[name] = Repository(**access)
        repository.commit({".gitattributes": b"*.safetensors filter=lfs\n", **(files or {})})
        return repository


@contextmanager
def hub_server() -> Iterator[Hub]:
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _RefusedError(Exception):
    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        self.status, self.message, self.code = status, message, code


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, *arguments: Any) -> None:
        pass

    # ---- what it answers ---------------------------------------------------------------------------------------------

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path, {k.lower(): v for k, v in self.headers.items()}))
        try:
            if self.hub.down:
                raise _RefusedError(503, "down for maintenance")
            for pattern, answer in _ROUTES.items():
                if found := re.fullmatch(pattern, path):
                    return answer(self, *found.groups())
            raise _RefusedError(404, f"no route {path}")
        except _RefusedError as refused:
            headers = {"X-Error-Message": refused.message} | ({"X-Error-Code": refused.code} if refused.code else {})
            self._send(refused.status, {"error": refused.message}, headers)

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    @property
    def _known(self) -> bool:
        given = self.headers.get("authorization")
        if given not in (None, f"Bearer {TOKEN}"):
            raise _RefusedError(401, "Invalid credentials in Authorization header")
        return given is not None

    def _repository(self, name: str) -> Repository:
        found = self.hub.repositories.get(name)
        if found is None or (found.private and not self._known):
            status = 404 if self._known else 401
            raise _RefusedError(status, "Repository not found", "RepoNotFound")
        return found

    def _files(self, name: str, revision: str | None) -> tuple[str, dict[str, bytes]]:
        repository = self._repository(name)
        commit = repository.refs.get(revision or "main", revision or "")
        if commit not in repository.commits:
            raise _RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit, repository.commits[commit]

    def info(self, name: str, revision: str | None) -> None:
        commit, files = self._files(name, revision)
        siblings = []
        for path, content in files.items():
            entry: dict[str, Any] = {"rfilename": path}
            if "blobs=" in self.path:
                entry |= {"size": len(content), "blobId": git_hash(content)}
                if is_lfs(path):
                    digest = hashlib.sha256(content).hexdigest()
                    entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
            siblings.append(entry)
        self._send(
            200,
            {"id": name, "sha": commit, "private": self._repository(name).private, "siblings": siblings, "tags": []},
        )

    def resolve(self, name: str, revision: str, path: str) -> None:
        if self._repository(name).gated:
            raise _RefusedError(403 if self._known else 401, f"Access to model {name} is restricted.", "GatedRepo")
        commit, files = self._files(name, revision)
        if path not in files:
            raise _RefusedError(404, "Entry not found", "EntryNotFound")
        headers, content = {"X-Repo-Commit": commit}, files[path]
        if not is_lfs(path):
            return self._send(200, content, headers | {"ETag": f'"{git_hash(content)}"'})
        digest = hashlib.sha256(content).hexdigest()
        served = self.hub.lies.get(digest, content)
        self.hub.objects[digest] = content
        cdn = self.hub.url.replace("127.0.0.1", "localhost")
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(served)), "Location": f"{cdn}/cdn/{digest}"}
        return self._send(302, b"", headers | linked)

    def cdn(self, digest: str) -> None:
        content = self.hub.lies.get(digest, self.hub.objects[digest])
        start = int((re.match(r"bytes=(\d+)-", self.headers.get("range", "")) or [0, "0"])[1])
        part = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("content-length", str(len(part)))
        self.send_header("etag", f'"{digest}"')
        if start:
            self.send_header("content-range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET" and self.hub.cuts:
            self.wfile.write(part[: self.hub.cuts.pop(0)])
            self.close_connection = True
        elif self.command == "GET":
            self.wfile.write(part)

    # ---- what it takes -----------------------------------------------------------------------------------------------

    def _write(self) -> None:
        if not self._known:
            raise _RefusedError(401, "Invalid username or password.")

    def create(self) -> None:
        self._write()
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repositories:
            raise _RefusedError(409, "You already created this model repo")
        self.hub.create(name, private=asked.get("visibility") == "private")
        self._send(200, {"url": f"{self.hub.url}/{name}"})

    def validate(self) -> None:
        content = json.loads(self.body)["content"]
        found = yaml.safe_load(content.split("---")[1])
        errors = [] if found.get("license") in LICENSES else [{"message": '"license" must be one of apache-2.0, mit'}]
        self._send(400 if errors else 200, {"errors": errors, "warnings": []})

    def preupload(self, name: str, revision: str) -> None:
        self._write()
        _, files = self._files(name, revision)
        answers = []
        for asked in json.loads(self.body)["files"]:
            path, there = asked["path"], files.get(asked["path"])
            oid = None if there is None else hashlib.sha256(there).hexdigest() if is_lfs(path) else git_hash(there)
            mode = "lfs" if is_lfs(path) else "regular"
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._send(200, {"files": answers})

    def batch(self, name: str) -> None:
        self._write()
        self._repository(name)
        objects = []
        for asked in json.loads(self.body)["objects"]:
            oid = asked["oid"]
            upload = {"href": f"{self.hub.url}/lfs/{oid}"}
            verify = {"href": f"{self.hub.url}/verify/{oid}"}
            actions = {} if oid in self.hub.objects else {"actions": {"upload": upload, "verify": verify}}
            objects.append({"oid": oid, "size": asked["size"], **actions})
        self._send(200, {"transfer": "basic", "objects": objects})

    def put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _RefusedError(400, "the content is not that of its oid")
        self.hub.objects[oid] = self.body
        self._send(200, b"")

    def verify(self, oid: str) -> None:
        self._write()
        assert len(self.hub.objects[oid]) == json.loads(self.body)["size"]
        self._send(200, {})

    def commit(self, name: str, revision: str) -> None:
        self._write()
        repository, files = self._repository(name), dict[str, bytes | None]()
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header" and value.get("parentCommit") not in (None, repository.refs[revision]):
                raise _RefusedError(412, "A commit has happened since. Please refresh and try again.")
            with suppress(KeyError):
                files[value["path"]] = {
                    "file": lambda value: base64.b64decode(value["content"]),
                    "lfsFile": lambda value: self.hub.objects[value["oid"]],
                    "deletedFile": lambda value: None,
                }[item["key"]](value)
        done = repository.commit(files, revision)
        self._send(200, {"success": True, "commitOid": done, "commitUrl": f"{self.hub.url}/{name}/commit/{done}"})


_NAME = r"([\w.-]+/[\w.-]+)"
_ROUTES: dict[str, Any] = {
    f"/api/models/{_NAME}(?:/revision/(.+))?": _Handler.info,
    f"/{_NAME}/resolve/([^/]+)/(.+)": _Handler.resolve,
    r"/cdn/(\w+)": _Handler.cdn,
    "/api/repos/create": _Handler.create,
    "/api/validate-yaml": _Handler.validate,
    f"/api/models/{_NAME}/preupload/(.+)": _Handler.preupload,
    rf"/{_NAME}\.git/info/lfs/objects/batch": _Handler.batch,
    r"/lfs/(\w+)": _Handler.put,
    r"/verify/(\w+)": _Handler.verify,
    f"/api/models/{_NAME}/commit/(.+)": _Handler.commit,
}
