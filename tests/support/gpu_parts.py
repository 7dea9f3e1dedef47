"""Parts for the tests of benchmarks.gpu.runner: one works, one fails, one dies, one hangs, one misses something."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.support import Skipped


def items(part: str, device: str) -> list[str]:
    return part.split("+")


def run(item: str, part: str, device: str) -> dict[str, Any]:
    with open("log", "a") as log:
        log.write(f"{item} {os.getpid()}\n")
    if item == "fails":
        raise ValueError("images are 3x3\nand more")
    if item == "misses":
        raise Skipped("photographs: no folder holes20")
    if item == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "breaks":
        raise RuntimeError("CUDA error: device-side assert triggered")
    if item == "hangs" and not Path("quick").exists():
        time.sleep(600)
    return {"value": 1}
