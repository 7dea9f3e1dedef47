"""`make mutations`: is each planted fault of mutations.toml caught by the test that is named beside it?

A process that has torch and Lightning in memory, but none of our packages, is forked for every entry: the fork plants
the fault in a copy of the tracked files and runs the test. Before that all tests must pass without a fault.
``python tests/mutations.py WORD ...`` takes only the entries that contain one of the words.
"""

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
WORKERS, TIME_LIMIT = 2, 600  # seconds after which a test hangs
PRELOAD = ["torch", "lightning.pytorch", "torchmetrics", "torchvision", "jsonargparse", "omegaconf", "albumentations"]
PRELOAD += ["scipy.sparse.linalg", "skimage.restoration", "numba", "wandb", "lpips", "PIL.Image"]
SURVIVED, CAUGHT, NOT_RUN = "SURVIVED", "caught", "NOT RUN"


class Mutation(NamedTuple):
    """``test`` must fail once ``old``, which stands exactly once in ``file``, has become ``new``."""

    file: str
    old: str
    new: str
    test: str

    def text_with_fault(self, root: Path) -> str:
        text = (root / self.file).read_text(encoding="utf-8")
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self.file} has {count} times {self.old!r}; expected once: correct mutations.toml.")
        return text.replace(self.old, self.new)


def read() -> list[Mutation]:
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    return [Mutation(**entry) for entry in tomllib.loads(text)["mutation"]]


def run(tree: Path, tests: list[str], mutation: Mutation | None) -> None:
    """The fork: plant the fault and run the tests; exit with 0 (all passed), 1 (one failed) or 2 (not all ran)."""
    if mutation:
        shutil.copy2(tree / mutation.file, tree / "original")
        (tree / mutation.file).write_text(mutation.text_with_fault(tree), encoding="utf-8")
        sys.dont_write_bytecode = True  # it would outlive the fault
    log = os.open(tree / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1), os.dup2(log, 2)
    os.chdir(tree)
    sys.path[:] = [str(tree)] + [p for p in sys.path if Path(p).resolve() != ROOT]
    os.environ |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}  # of the processes that tests start
    counts: Counter[str] = Counter()

    class Outcomes:
        def pytest_runtest_logreport(self, report: Any) -> None:
            counts[report.outcome] += report.when == "call" or report.outcome != "passed"

    code = pytest.main(["-p", "no:cacheprovider", f"--timeout={TIME_LIMIT}", *tests], plugins=[Outcomes()])
    sys.stdout.flush()
    os._exit(1 if counts["failed"] else 2 if code or counts["skipped"] or not counts["passed"] else 0)


def results(jobs: list[tuple[list[str], Mutation | None]], trees: list[Path]) -> Iterator[tuple[Any, str, str]]:
    """Mutation, verdict and output of each job, in the order in which they end; one job a tree at a time."""
    waiting, free, running = jobs[::-1], list(trees), dict[Any, Any]()
    while waiting or running:
        while waiting and free:
            tests, mutation = waiting.pop()
            process = get_context("fork").Process(target=run, args=(tree := free.pop(), tests, mutation))
            process.start()
            running[process.sentinel] = process, tree, mutation
        for sentinel in connection.wait(list(running)):
            process, tree, mutation = running.pop(sentinel)
            process.join()
            if mutation:
                shutil.copy2(tree / "original", tree / mutation.file)
            free.append(tree)
            verdict = {0: SURVIVED, 1: CAUGHT}.get(process.exitcode, NOT_RUN)
            yield mutation, verdict, (tree / "log.txt").read_text(errors="replace")


def main(words: list[str]) -> int:
    mutations = [m for m in read() if not words or any(word in repr(m) for word in words)]
    for mutation in mutations:
        mutation.text_with_fault(ROOT)  # an entry that is out of date ends this here
    for name in PRELOAD:
        importlib.import_module(name)
    tests, found = sorted({m.test for m in mutations}), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="mutations-") as temporary:
        trees = [Path(temporary) / str(n) for n in range(min(WORKERS, len(tests)))]
        for name in subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0")[:-1]:
            for tree in trees:
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, tree / name)
        print(f"{len(tests)} tests without a fault", flush=True)
        for _, verdict, log in results([(tests[n :: len(trees)], None) for n in range(len(trees))], trees):
            if verdict != SURVIVED:
                print(f"{log[-3000:]}\nNot all of them ran and passed, so nothing can be said about the faults.")
                return 1
        start = time.monotonic()
        for done, (mutation, verdict, _) in enumerate(results([([m.test], m) for m in mutations], trees), 1):
            found[verdict] += 1
            left = (time.monotonic() - start) / done * (len(mutations) - done)
            print(f"{verdict:8}  {mutation.file}: {mutation.old.strip()[:60]!r} ({left:.0f} s left)", flush=True)
    print(f"{dict(found)} of {len(mutations)}")
    return 0 if found.keys() == {CAUGHT} else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
