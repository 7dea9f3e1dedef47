"""Runs the parts, each in a process of its own, and merges what they find.

Apart from __main__, whose functions multiprocessing does not find in a new process.
"""

import gc
import hashlib
import importlib
import json
import logging
import multiprocessing
import os
import subprocess
import threading
import time
import traceback
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.gpu.support import Skipped
from benchmarks.utilisation import ROWS
from masks.atomic import whole

LIMIT = 480.0  # seconds of a part
ROOT = Path(__file__).parents[2]
# What is right before what is fast; the module that measures each.
PARTS = {
    name: f"benchmarks.gpu.{name}"
    for name in ("compare", "bf16", "ddp", "patchmatch", "attention", "repaint", "backbones", "loader", "compiled")
} | {f"speed/{row.method}": "benchmarks.gpu.speed" for row in ROWS}


def commit() -> str:
    """The commit, with a hash of the sources where they differ from it or there is no repository."""

    def git(*words: str) -> str | None:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        head, changed = git("rev-parse", "--short=12", "HEAD"), git("status", "--porcelain", "--", "*.py")
    except OSError:  # there is no git
        head = changed = None
    if head and not changed:
        return head
    sources = hashlib.sha256()
    for folder in ("benchmarks", "datamodules", "experiments", "lit_inpaint", "masks", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            sources.update(path.read_bytes())
    return f"{head or 'no commit'}, sources {sources.hexdigest()[:12]}"


def machine(device: str) -> dict[str, Any]:
    """Facts about the machine, from a process of its own: this one never touches the GPU, which may be exclusive."""
    import torch

    facts: dict[str, Any] = {"torch": torch.__version__, "processor": torch.backends.cpu.get_cpu_capability()}
    if device == "cpu":
        return facts | {"device": "cpu"}
    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        raise RuntimeError(f"torch {torch.__version__} ({built}) finds no GPU. --device cpu runs everything small.")
    properties = torch.cuda.get_device_properties(0)
    nccl = ".".join(map(str, torch.cuda.nccl.version())) if torch.distributed.is_nccl_available() else None
    return facts | {
        "device": properties.name, "capability": f"{properties.major}.{properties.minor}",
        "memory_gib": round(properties.total_memory / 2**30, 1), "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(), "nccl": nccl, "gpus": torch.cuda.device_count(),
    }  # fmt: skip


def die_with_parent() -> None:
    """End this process when the one that started it ends, however that was: nothing may keep the GPU busy."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def serve(module: str, part: str, device: str, done: list[str], last: list[str], connection: Connection) -> None:
    """The process of a part: a message a finished item. ``done`` is left out, ``last`` (failed before) comes last."""
    die_with_parent()
    if "fork" in multiprocessing.get_all_start_methods():
        multiprocessing.set_start_method("fork", force=True)  # of a loader's workers, as in any run on Linux
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    if module == "machine":
        try:
            connection.send(machine(device))
        except RuntimeError as error:
            connection.send(str(error))
        return
    try:
        measured = importlib.import_module(module)
        names = measured.items(part, device)
    except Exception as error:  # a package that is not installed, most likely
        traceback.print_exc()
        connection.send([part])
        connection.send(("failed", part, said(error)))
        return
    todo = sorted((name for name in names if name not in done), key=lambda name: name in last)
    connection.send(todo)
    for name in todo:
        begun = time.perf_counter()
        connection.send(("begun", name, None))
        try:
            found = measured.run(name, part, device)
            kind, value = "ran", found | {"seconds": round(time.perf_counter() - begun, 2)}
        except Skipped as missing:
            kind, value = "skipped", str(missing)
        except Exception as error:
            traceback.print_exc()
            kind, value = "failed", said(error)
            if type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error):
                connection.send((kind, name, value))
                os._exit(1)  # the context is broken for good: the rest needs a fresh process
        connection.send((kind, name, value))
        gc.collect()  # a Trainer and its method hold each other, and their memory on the GPU


def said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"


class Results:
    """The merged JSON, written after every change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
        self.content.setdefault("parts", {})

    def part(self, name: str, key: dict[str, str]) -> dict[str, Any]:
        """What the file has of a part, or an empty record if that is of another commit, torch or device."""
        found = self.content["parts"].get(name)
        if not found or found["key"] != key:
            found = {"key": key, "ran": {}, "skipped": {}, "failed": {}, "left": []}
            self.content["parts"][name] = found
        return found

    def write(self) -> None:
        with whole(self.path) as part:
            part.write_text(json.dumps(self.content, indent=1, allow_nan=False) + "\n")


class Runner:
    """Runs parts one after the other, each within ``limit`` seconds."""

    def __init__(self, results: Results, device: str, parts: dict[str, str], limit: float = LIMIT) -> None:
        self.results, self.device, self.parts, self.limit = results, device, parts, limit
        # A server that has imported everything saves seconds per part; CUDA does not survive a fork.
        self.context: Any = multiprocessing.get_context("spawn" if device == "cuda" else "forkserver")
        if device != "cuda":
            self.context.set_forkserver_preload(list(dict.fromkeys(parts.values())))

    def start(self, *arguments: Any) -> tuple[Any, Connection]:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=serve, args=(*arguments, theirs))
        process.start()
        theirs.close()
        return process, ours

    def machine(self) -> dict[str, Any]:
        process, connection = self.start("machine", "", self.device, [], [])
        try:
            facts = connection.recv()
        except EOFError:
            facts = f"the process that looks for the GPU ended with exit code {process.exitcode}"
        process.join()
        if isinstance(facts, str):
            raise SystemExit(facts)
        return facts

    def run(self, name: str, key: dict[str, str], title: str) -> dict[str, Any]:
        """One part; its record. A process that dies is replaced for the items that it did not reach."""
        record, deadline = self.results.part(name, key), time.monotonic() + self.limit
        last, record["failed"], record["skipped"] = list(record["failed"]), {}, {}
        while True:
            done = [*record["ran"], *record["skipped"], *record["failed"]]
            process, connection = self.start(self.parts[name], name, self.device, done, last)
            fault = self._follow(process, connection, record, deadline, title)
            process.join()
            self.results.write()
            if not record["left"] or fault == "time":
                return record

    def _follow(self, process: Any, connection: Connection, record: Any, deadline: float, title: str) -> str | None:
        """Take messages until the process ends; "time" if that was at the part's limit."""
        current, begun, spent, total = None, time.monotonic(), 0.0, 0
        record["left"] = ["its process"]  # until it says what there is to do
        while True:
            if not connection.poll(max(deadline - time.monotonic(), 0)):
                process.kill()
                if current and (not spent or time.monotonic() - begun >= self.limit / 2):
                    record["failed"][current] = f"stopped: not done when the part's {self.limit:.0f} s were over"
                    record["left"].remove(current)
                return "time"
            try:
                message = connection.recv()
            except (EOFError, ConnectionResetError):
                process.join()
                # Between two items it has ended by itself, done or with a broken context.
                if guilty := current or (record["left"][0] if not total and record["left"] else None):
                    record["failed"][guilty] = f"its process ended with exit code {process.exitcode}"
                    record["left"].remove(guilty)
                return None
            if isinstance(message, list):
                record["left"], total = message, len(message)
                if not message:
                    print(f"{title}: nothing is left to do", flush=True)
                continue
            kind, name, value = message
            if kind == "begun":
                current, begun = name, time.monotonic()
                continue
            record[kind][name], current = value, None
            record["left"].remove(name)
            spent += time.monotonic() - begun
            number, count = total - len(record["left"]), len(record["left"])
            told = f"{kind} in {time.monotonic() - begun:.1f} s" if kind == "ran" else f"{kind}: {value}"
            rest = f"about {spent / number * count:.0f} s left, {deadline - time.monotonic():.0f} s allowed"
            print(f"{title}, {number} of {total}: {name}: {told} ({rest})", flush=True)
            self.results.write()


def run(out: Path, device: str, names: list[str], parts: dict[str, str], limit: float = LIMIT) -> int:
    """The exit code: 1 if something failed or ran out of time."""
    results = Results(out)
    runner = Runner(results, device, parts, limit)
    facts = runner.machine()
    key = {"commit": commit(), "torch": facts["torch"], "device": facts["device"]}
    results.content["machine"] = facts
    print(f"{facts} at {key['commit']}", flush=True)
    wrong = []
    for number, name in enumerate(names, 1):
        record = runner.run(name, key, f"{name} (part {number} of {len(names)})")
        wrong += [f"{name}: {item}: {error}" for item, error in record["failed"].items()]
        if record["left"]:
            wrong.append(f"{name}: no time for {', '.join(record['left'])}; the same command resumes")
    counts = {kind: sum(len(results.content["parts"][n][kind]) for n in names) for kind in ("ran", "skipped", "failed")}
    print(f"{out}: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    for name in names:
        for item, why in results.content["parts"][name]["skipped"].items():
            print(f"skipped: {name}: {item}: {why}")
    for line in wrong:
        print(f"FAILED: {line}")
    return 1 if wrong else 0
