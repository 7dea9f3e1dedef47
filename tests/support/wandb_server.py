"""A stand-in for W&B's server on loopback: it answers the queries of the installed client in its wire format.

W&B's own server cannot be reached from a test. What is replayed has the fields that the client (0.31) asks for; the
client itself, its service process and its paging are the real ones.
"""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PAGE = 2  # runs in one answer, so that three runs take two


@contextmanager
def wandb_server(runs: list[dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """(address, names of the queries so far). ``runs``: {"name", "id", "config", "history": [row, ...]} each."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.path != "/graphql":  # the client's own telemetry
                return self._send(404, {})
            request = json.loads(gzip.decompress(raw) if self.headers.get("content-encoding") == "gzip" else raw)
            name = request["query"].split("query", 1)[1].split("(")[0].split("{")[0].strip()
            asked.append(name)
            return self._send(200, {"data": answer(name, request.get("variables") or {})})

        def _send(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    def answer(name: str, variables: dict[str, Any]) -> dict[str, Any]:
        if name in {"Viewer", "GetDefaultEntity"}:
            return {"viewer": {"id": "VXNlcjox", "username": "ann", "email": "ann@example.org", "entity": "lab",
                               "flags": "{}", "teams": {"edges": []}}}  # fmt: skip
        if name == "Runs":
            start = int(variables.get("cursor") or 0)
            page = runs[start : start + PAGE]
            edges = [{"node": node(run), "cursor": str(start + i + 1)} for i, run in enumerate(page)]
            more = start + PAGE < len(runs)
            found = {"edges": edges, "pageInfo": {"endCursor": str(start + PAGE), "hasNextPage": more}}
            return {"project": {"internalId": "7", "runCount": len(runs), "readOnly": False, "runs": found}}
        asked_for = {variables.get(key) for key in ("name", "runName", "run")}
        run = next(run for run in runs if run["id"] in asked_for)
        if name == "RunParquetHistory":
            kept = {"parquetHistory": {"parquetUrls": [], "liveData": run["history"]}}
        elif name == "HistoryPage":
            kept = {"history": [json.dumps(row) for row in run["history"]]}
        elif name == "RunHistoryKeys":
            kept = {"historyKeys": {"lastStep": run["history"][-1]["_step"], "keys": {}}}
        else:
            kept = node(run)
        return {"project": {"internalId": "7", "run": kept}}

    def node(run: dict[str, Any]) -> dict[str, Any]:
        config = {key: {"value": value, "desc": None} for key, value in run["config"].items()}
        return {
            "id": run["id"], "projectId": "7", "name": run["id"], "displayName": run["name"], "state": "finished",
            "tags": [], "sweepName": None, "group": None, "jobType": None, "commit": None, "readOnly": False,
            "createdAt": "2026-11-01T00:00:00Z", "heartbeatAt": "2026-11-01T01:00:00Z", "description": "",
            "notes": None, "historyLineCount": len(run["history"]), "user": {"name": "ann", "username": "ann"},
            "config": json.dumps(config | {"_wandb": {"value": {}}}), "systemMetrics": "{}", "summaryMetrics": "{}",
            "historyKeys": {"lastStep": run["history"][-1]["_step"], "keys": {}},
        }  # fmt: skip

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
