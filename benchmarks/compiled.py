"""torch.compile, network by network: does it compile, with how many graph breaks, how long that takes, what it gains.

    python -m benchmarks.compiled [METHOD ...]

The networks that :class:`lit_inpaint.callbacks.Compile` would take, on the inputs of their method's first training
batch, one thread, float32. Eager is timed first, then compiled; the gain is eager / compiled of process CPU time, for
a forward pass without gradients and for one with its backward pass. Seconds to compile are of wall time.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.utils import counters

from benchmarks.utilisation import SMALL_DENOISER, Row, in_a_fresh_process, make, random_backbones, steps
from lit_inpaint.callbacks.compile import compile_in_place

ROWS = [
    Row("ContextEncoder", 128, 8), Row("GLCIC", 256), Row("DeepFillV1", 256, cycle=6), Row("PartialConv", 256),
    Row("DeepFillV2", 256), Row("AOTGAN", 256), Row("DSITexture", 256, 1),
    Row("ICTTransformer", 256, 1, arguments={"grid": 24}, note="24x24 tokens"), Row("ICTUpsampler", 256, 1),
    Row("DDPM", 64, 4, arguments=SMALL_DENOISER, note="64 channels"),
]  # fmt: skip


def inputs_of(method: Any, row: Row, name: str) -> tuple[Any, ...]:
    """What the network is first called with in training."""
    seen: list[tuple[Any, ...]] = []
    hook = getattr(method, name).register_forward_pre_hook(lambda _, arguments: seen.append(arguments))
    steps(method, row, row.cycle, [])
    hook.remove()
    return tuple(x.detach() if isinstance(x, Tensor) else x for x in seen[0])


def seconds(run: Callable[[], None]) -> float:
    taken = []
    for _ in range(3):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def measure(row: Row) -> str:
    """A line of the table."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    with random_backbones():
        method = make(row)
        (name,) = (n for n in method.averaged if n not in method.uncompiled)
        arguments = inputs_of(method, row, name)
    network = getattr(method, name).train()

    def forward() -> None:
        with torch.no_grad():
            network(*arguments)

    def both() -> None:
        out = network(*arguments)
        tensors = out if isinstance(out, tuple) else (out,)
        torch.stack(
            [x.float().square().mean() for x in tensors if isinstance(x, Tensor) and x.requires_grad]
        ).sum().backward()

    forward(), both()
    eager = seconds(forward), seconds(both)
    compile_in_place(network)
    counters.clear()
    start = time.perf_counter()
    forward(), both()
    took, breaks = time.perf_counter() - start, sum(counters["graph_break"].values())
    gains = [a / seconds(run) for a, run in zip(eager, (forward, both), strict=True)]
    title = f"{row.method} ({row.note})" if row.note else row.method
    return f"| {title} | {name} | {row.batch} x {row.size} | {gains[0]:.2f} | {gains[1]:.2f} | {breaks} | {took:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", help="only these")
    a = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread, float32")
    print("| method | network | batch x side | gain, forward | gain, with backward | graph breaks | s to compile |")
    print("|---|---|---|---|---|---|---|")
    for row in [row for row in ROWS if not a.methods or row.method in a.methods]:
        try:
            print(in_a_fresh_process(measure, row), flush=True)
        except Exception as error:  # the table says which do not compile
            print(
                f"| {row.method} | does not compile: {type(error).__name__}: {str(error).splitlines()[0]} |", flush=True
            )


if __name__ == "__main__":
    main()
