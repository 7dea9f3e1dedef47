"""torch.compile of the networks that evaluation uses: a step has the gradients of the uncompiled one; seconds, breaks.

inductor on a GPU; aot_eager on the CPU, where inductor takes minutes (tests/lit_inpaint/test_compile.py).
"""

import shutil
import sysconfig
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch._dynamo.utils import counters

from benchmarks.gpu.support import STEPS, Skipped, bounded, difference, exact, gradients
from lit_inpaint import methods
from lit_inpaint.callbacks import Compile
from lit_inpaint.classes import stage_classes
from lit_inpaint.stage import Stage

TOLERANCE = 1e-3
SMALL = ("ContextEncoder", "ICTTransformer", "PartialConv")


def items(part: str, device: str) -> list[str]:
    def suited(name: str) -> bool:
        cls: type[Stage] | None = getattr(methods, name, None) or stage_classes().get(name)
        return cls is not None and any(network not in cls.uncompiled for network in cls.averaged)

    return [name for name in STEPS if suited(name) and (device == "cuda" or name in SMALL)]


def require_compilers(device: str) -> None:
    """Triton compiles its launcher with the C compiler of the machine and Python's headers."""
    if device == "cpu":
        return
    missing = []
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        missing.append("a C compiler (gcc)")
    if not (header := Path(sysconfig.get_paths()["include"]) / "Python.h").is_file():
        missing.append(f"Python's headers ({header})")
    if find_spec("triton") is None:
        missing.append("the package triton")
    if missing:
        raise Skipped(f"inductor needs {', '.join(missing)}")


def run(item: str, part: str, device: str) -> dict[str, Any]:
    require_compilers(device)
    backend = "inductor" if device == "cuda" else "aot_eager"
    with exact(device):
        expected = gradients(item, device, [])
        torch._dynamo.reset()
        counters.clear()
        begun = time.perf_counter()
        found = gradients(item, device, [Compile(backend=backend)])
    taken = time.perf_counter() - begun
    if not counters["stats"]["unique_graphs"]:
        raise AssertionError("nothing was compiled")
    return {
        "backend": backend,
        "s_to_compile_and_step": round(taken, 1),
        "graph_breaks": sum(counters["graph_break"].values()),
        "difference": bounded("relative difference of the gradients", difference(found, expected), TOLERANCE),
    }
