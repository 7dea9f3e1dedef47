"""How long the commands take to start: CPU seconds of the process, the modules it imports, and those that take longest.

    python -m benchmarks.start [--before COMMIT] [--runs 3]

Each command runs to its end in fresh processes with one thread; the fastest run counts. Those that train or evaluate
are given a file that is missing: their time is that of the imports. --before measures a commit as well, checked out in
a temporary folder.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = (
    "--help",
    "--version",
    "fit --help",
    "inpaint --help",
    "doctor",
    "methods",
    "inpaint --method Telea --image photo.png --mask mask.png --out filled.png --overwrite",
    "inpaint --method Harmonic --image photo.png --mask mask.png --out filled.png --overwrite",
    "benchmark missing.yaml --methods Telea",
    "compare missing",
    "sweep missing.yaml",
    "fit --config missing.yaml",
)


def seconds(words: list[str], folder: Path, runs: int) -> float:
    """CPU seconds of the fastest run, children included."""
    taken = []
    for _ in range(runs):
        child = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        used = os.wait4(child.pid, 0)[2]
        taken.append(used.ru_utime + used.ru_stime)
    return min(taken)


def imported(words: list[str], folder: Path) -> tuple[int, str]:
    """The number of modules, and the three packages that take longest, from -X importtime."""
    done = subprocess.run([words[0], "-X", "importtime", *words[1:]], cwd=folder, capture_output=True, text=True)
    lines = re.findall(r"import time: +(\d+) \| +\d+ \| +(\S+)", done.stderr)
    packages: Counter[str] = Counter()
    for microseconds, name in lines:
        packages[name.split(".")[0]] += int(microseconds)
    longest = ", ".join(f"{name} {time / 1e6:.1f}" for name, time in packages.most_common(3) if time >= 50_000)
    return len(lines), longest


def table(program: Path, runs: int, folder: Path) -> dict[str, tuple[float, int, str]]:
    os.environ.update({"PYTHONPATH": str(program), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"})
    found = {}
    for command in COMMANDS:
        words = [sys.executable, "-m", "experiments", *command.split()]
        found[command] = (seconds(words, folder, runs), *imported(words, folder))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", help="a commit to compare with")
    parser.add_argument("--runs", type=int, default=3)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hole = np.zeros((256, 256), np.uint8)
        hole[80:120, 80:130] = 255
        photo = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
        cv2.imwrite(str(folder / "mask.png"), hole)
        cv2.imwrite(str(folder / "photo.png"), photo)
        before: dict[str, tuple[float, int, str]] = {}
        if a.before:
            other = folder / "before"
            subprocess.run(["git", "-C", ROOT, "worktree", "add", "--detach", other, a.before], check=True)
            try:
                before = table(other, a.runs, folder)
            finally:
                subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", other], check=True)
        now = table(ROOT, a.runs, folder)
    print("| `lit-inpaint ...` | before: CPU s | modules | now: CPU s | modules | longest imports, s |")
    print("|---|---|---|---|---|---|")
    for command, (time, count, longest) in now.items():
        earlier = f"{before[command][0]:.1f} | {before[command][1]}" if before else " | "
        print(f"| `{command.partition(' --image')[0]}` | {earlier} | {time:.1f} | {count} | {longest} |")


if __name__ == "__main__":
    main()
