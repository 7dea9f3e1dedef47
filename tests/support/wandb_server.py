"""A stand-in for W&B's server on loopback: it answers the queries of the installed client in its wire format.

W&B's own server cannot be reached from a test. What is replayed has the fields that the client (0.31) asks for; the
client itself, its service process, its paging and its agent are the real ones. What an online run sends is kept and
can be read back: config, history, summary and files; saved views too. Agents are given the points of a grid in order.
"""

import gzip
import itertools
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

PAGE = 2  # runs in one answer, so that three runs take two
Facts = dict[str, Any]
PROJECT: Facts = {"id": "UHJv", "name": "lit-inpaint", "entity": {"id": "RW50", "name": "lab"}}


@dataclass
class Server:
    """One project. ``runs``: {"name", "id", "config", "history": [row, ...]} each, of online runs "summary" and
    "files" as well; ``asked``: names of the queries so far; ``views``: the variables with which each was saved;
    ``sweeps``: the YAML of each; ``states``: what an agent said of its runs, beat by beat."""

    runs: list[Facts]
    address: str = ""
    asked: list[str] = field(default_factory=list)
    views: list[Facts] = field(default_factory=list)
    sweeps: dict[str, str] = field(default_factory=dict)
    states: list[dict[str, bool]] = field(default_factory=list)
    waiting: list[Facts] = field(default_factory=list)  # commands that no agent has got yet

    def known(self, identifier: str) -> Facts:
        return next(run for run in self.runs if run["id"] == identifier)

    def stream(self, identifier: str, files: Facts) -> Facts:
        """What an online run logs while it trains: lines of its history, and its summary so far."""
        run = self.known(identifier)
        if history := files.get("wandb-history.jsonl"):
            run["history"][history["offset"] :] = map(json.loads, history["content"])
        if summary := files.get("wandb-summary.json"):
            run["summary"] = json.loads(summary["content"][-1])
        return {}

    def begin(self, variables: Facts) -> Facts:
        """Create the run of this id, or update its config."""
        identifier = variables["name"]
        inserted = all(run["id"] != identifier for run in self.runs)
        if inserted:
            empty: Facts = {"config": {}, "history": [], "summary": {}, "files": {}}
            of = {"id": identifier, "name": variables["displayName"], "sweep": variables.get("sweep")}
            self.runs.append(of | empty)
        run, config = self.known(identifier), json.loads(variables["config"] or "{}")
        run["config"] |= {key: item["value"] for key, item in config.items() if key != "_wandb"}
        project = PROJECT | {"name": variables["project"]}
        bucket = {"id": "UnVu", "name": identifier, "displayName": run["name"], "config": "{}", "description": "",
                  "sweepName": run["sweep"], "historyLineCount": 0, "project": project}  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def schedule(self, config: str) -> Facts:
        """Create a sweep with a run for each point of its grid, and the end after the last."""
        identifier, content = f"s{len(self.sweeps)}", yaml.safe_load(config)
        self.sweeps[identifier] = config
        for number, point in enumerate(grid(content["parameters"])):
            arguments = {name: {"value": value} for name, value in point.items()}
            run = {"type": "run", "run_id": f"{identifier}run{number}", "program": content.get("program")}
            self.waiting.append(run | {"args": arguments})
        self.waiting.append({"type": "exit"})
        return {"upsertSweep": {"sweep": {"name": identifier, "project": PROJECT}, "configValidationWarnings": []}}

    def beat(self, states: dict[str, bool]) -> Facts:
        """One command at a time to an agent that has nothing to run."""
        self.states.append(states)
        commands = [self.waiting.pop(0)] if self.waiting and not any(states.values()) else []
        return {"agentHeartbeat": {"agent": {"id": "QWdlbnQx"}, "commands": json.dumps(commands)}}

    def answer(self, name: str, variables: Facts) -> Facts:
        if name in {"Viewer", "GetDefaultEntity"}:
            return {"viewer": {"id": "VXNlcjox", "username": "ann", "email": "ann@example.org", "entity": "lab",
                               "flags": "{}", "teams": {"edges": []}}}  # fmt: skip
        if name == "RunResumeStatus":
            return {"model": {"id": "UHJv", "name": "p", "entity": {"id": "RW50", "name": "lab"}, "bucket": None}}
        if name == "OrganizationCoreWeaveOrganizationID":
            return {"entity": None}
        if name == "UpsertBucket":
            return self.begin(variables)
        if name == "CreateRunFiles":
            url = f"{self.address}/upload/{variables['run']}"
            files = [{"name": file, "uploadUrl": f"{url}/{file}"} for file in variables["files"]]
            return {"createRunFiles": {"runID": "UnVu", "uploadHeaders": [], "files": files}}
        if name == "UpsertSweep":
            return self.schedule(variables["config"])
        if name == "SweepWithRuns":
            config = self.sweeps[variables["sweep"]]
            return {"project": {"sweep": {"name": variables["sweep"], "config": config, "runs": {"edges": []}}}}
        if name == "CreateAgent":
            return {"createAgent": {"agent": {"id": "QWdlbnQx"}}}
        if name == "Heartbeat":
            return self.beat(json.loads(variables["runState"]))
        if name == "UpsertView2":
            self.views.append(variables)
            return {"upsertView": {"view": {"id": "Vmlldzox", "name": variables["name"]}, "inserted": True}}
        return {"project": {"internalId": "7", **self.read(name, variables)}}

    def read(self, name: str, variables: Facts) -> Facts:
        """What the public API asks of a project."""
        if name == "Runs":
            start = int(variables.get("cursor") or 0)
            page = self.runs[start : start + PAGE]
            edges = [{"node": node(run), "cursor": str(start + i + 1)} for i, run in enumerate(page)]
            more = start + PAGE < len(self.runs)
            found = {"edges": edges, "pageInfo": {"endCursor": str(start + PAGE), "hasNextPage": more}}
            return {"runCount": len(self.runs), "readOnly": False, "runs": found}
        asked_for = {variables.get(key) for key in ("name", "runName", "run")}
        run = next(run for run in self.runs if run["id"] in asked_for)
        if name == "RunParquetHistory":
            return {"run": {"parquetHistory": {"parquetUrls": [], "liveData": run["history"]}}}
        if name == "HistoryPage":
            return {"run": {"history": [json.dumps(row) for row in run["history"]]}}
        if name == "RunHistoryKeys":
            return {"run": {"historyKeys": {"lastStep": run["history"][-1]["_step"], "keys": {}}}}
        return {"run": node(run)}


def grid(parameters: Facts) -> Iterator[Facts]:
    """Every combination of values; that of nested parameters is one mapping."""
    choices = [
        [*grid(law["parameters"])] if "parameters" in law else law.get("values", [law.get("value")])
        for law in parameters.values()
    ]
    for point in itertools.product(*choices):
        yield dict(zip(parameters, point, strict=True))


def node(run: Facts) -> Facts:
    config = {key: {"value": value, "desc": None} for key, value in run["config"].items()}
    return {
        "id": run["id"], "projectId": "7", "name": run["id"], "displayName": run["name"], "state": "finished",
        "tags": [], "sweepName": None, "group": None, "jobType": None, "commit": None, "readOnly": False,
        "createdAt": "2026-11-01T00:00:00Z", "heartbeatAt": "2026-11-01T01:00:00Z", "description": "",
        "notes": None, "historyLineCount": len(run["history"]), "user": {"name": "ann", "username": "ann"},
        "config": json.dumps(config | {"_wandb": {"value": {}}}), "systemMetrics": "{}",
        "summaryMetrics": json.dumps(run.get("summary", {})),
        "historyKeys": {"lastStep": run["history"][-1]["_step"], "keys": {}},
    }  # fmt: skip


@contextmanager
def wandb_server(runs: list[Facts]) -> Iterator[Server]:
    """A project with these runs, which online runs join."""
    project = Server(runs)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self._body()
            if self.path.endswith("/file_stream"):
                return self._send(200, project.stream(self.path.split("/")[-2], json.loads(raw)["files"]))
            if self.path != "/graphql":  # the client's own telemetry
                return self._send(404, {})
            request = json.loads(raw)
            found = re.search(r"(?:query|mutation)\s+(\w+)", request["query"])
            name = found[1] if found else ""
            project.asked.append(name)
            return self._send(200, {"data": project.answer(name, request.get("variables") or {})})

        def do_PUT(self) -> None:
            _, _, run, name = self.path.split("/", 3)
            project.known(run)["files"][name] = self._body()
            self._send(200, {})

        def do_GET(self) -> None:
            self._send(200, {})  # is anybody there?

        def _body(self) -> bytes:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            return gzip.decompress(raw) if self.headers.get("content-encoding") == "gzip" else raw

        def _send(self, status: int, content: Facts) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    project.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield project
    finally:
        server.shutdown()
        server.server_close()
