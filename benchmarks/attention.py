"""Contextual attention beside the published PyTorch forms, in alternation: CPU time, memory, and whether it is equal.

    python -m benchmarks.attention --public DIR [--device cuda]

DIR holds checkouts of nipponjo/deepfillv2-pytorch and daa233/generative-inpainting-pytorch. Two images of features of
64x64 under the same hole, as in DeepFill at 256 px, one thread, float32. The memory of a form is what a fresh process
grows by when it runs it once and gives back at once what it frees. Their layers take one mask per batch, ours one per
image. On a GPU time is wall time between synchronisations, memory that of torch's allocator, and products are full
float32 (no TF32).
"""

import argparse
import ctypes
import importlib
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from benchmarks.published import MissingCheckoutError, checkout
from benchmarks.utilisation import in_a_fresh_process, now
from lit_inpaint.layers.contextual_attention import contextual_attention
from lit_inpaint.memory import resident_peak

Form = Callable[[Tensor, Tensor], Tensor]
Sampling = Literal["align_corners", "every_second"]
Norm = Literal["floor", "added"]
# A file of each program by which its checkout is found; how it samples and normalises.
PUBLISHED: dict[str, tuple[str, str, Sampling, Norm]] = {
    "nipponjo": ("nipponjo/deepfillv2-pytorch", "configs/train-places.yaml", "every_second", "floor"),
    "daa233": ("daa233/generative-inpainting-pytorch", "utils/tools.py", "every_second", "added"),
}


def published(name: str, public: Path, device: str) -> Form:
    repository, file, *_ = PUBLISHED[name]
    checkout(public, repository, file)
    networks = importlib.import_module("model.networks")
    layer = networks.ContextualAttention(ksize=3, stride=1, rate=2, fuse_k=3, softmax_scale=10, fuse=True).to(device)
    layer.use_cuda = device != "cpu"  # daa233's makes tensors where this says

    def form(features: Tensor, mask: Tensor) -> Tensor:
        out = layer(features, features, mask)
        return out[0] if isinstance(out, tuple) else out

    return form


def ours(name: str) -> Form:
    *_, sampling, norm = PUBLISHED[name]
    return lambda features, mask: contextual_attention(
        features, features, mask[..., ::4, ::4], sampling=sampling, norm=norm
    )


def inputs(channels: int, side: int, device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(2, 1, 4 * side, 4 * side)  # of the image, which the published layers sample themselves
    mask[..., side : 3 * side, side : 3 * side] = 1
    return torch.randn(2, channels, side, side, generator=generator).to(device), mask.to(device)


def run(form: Form, channels: int, backward: bool, device: str, side: int = 64) -> tuple[float, Tensor]:
    """Seconds, and the output or the gradient."""
    torch.backends.cudnn.allow_tf32 = False
    features, mask = inputs(channels, side, device)
    features.requires_grad_(backward)
    start = now(device)
    with torch.set_grad_enabled(backward):
        out = form(features, mask)
    if backward:
        out.square().sum().backward()
    seconds = now(device) - start
    return seconds, features.grad if features.grad is not None else out


def growth(which: str, name: str, public: Path, channels: int, backward: bool, device: str) -> float:
    """MiB, in a fresh process."""
    torch.set_num_threads(1)
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").mallopt(-3, 1 << 16)  # M_MMAP_THRESHOLD, which glibc else raises as it goes
    form = published(name, public, device) if which == "published" else ours(name)
    run(form, 8, backward, device, side=16)  # code and thread pools
    before = resident_peak() if device == "cpu" else torch.cuda.memory_allocated()
    run(form, channels, backward, device)
    return ((resident_peak() if device == "cpu" else torch.cuda.max_memory_allocated()) - before) / 2**20


def compare(name: str, public: Path, channels: int, repeats: int, device: str) -> list[tuple[float, float, float]]:
    """Forward, then with backward: seconds of theirs and ours, and the largest difference beside the largest value."""
    torch.set_num_threads(1)
    theirs, mine, found = published(name, public, device), ours(name), []
    for backward in (False, True):
        pairs = [[run(form, channels, backward, device) for form in (theirs, mine)] for _ in range(repeats + 1)][1:]
        (_, expected), (_, got) = pairs[0]
        difference = float((expected - got).abs().max() / expected.abs().max())
        found.append((*(statistics.median(p[side][0] for p in pairs) for side in (0, 1)), difference))
    return found


def ratios(public: Path, repeats: int, device: str = "cpu") -> dict[str, float]:
    """Print one line a form and width; theirs / ours by name."""
    found = {}
    print("| published form | channels | pass | published ms, MiB | ours ms, MiB | theirs / ours | difference |")
    print("|---|---|---|---|---|---|---|")
    for name in PUBLISHED:
        for channels in (96, 192):
            try:
                results = in_a_fresh_process(compare, name, public, channels, repeats, device)
            except MissingCheckoutError as error:
                print(f"| {name} | not measured: {error} |")
                break
            for kind, (theirs, mine, difference) in zip(("forward", "with backward"), results, strict=True):
                backward = kind == "with backward"
                memory = [
                    in_a_fresh_process(growth, which, name, public, channels, backward, device)
                    for which in ("published", "ours")
                ]
                found[f"{name}, {channels} channels, {kind}"] = theirs / mine
                print(
                    f"| {name} | {channels} | {kind} | {1000 * theirs:.0f}, {memory[0]:.0f} | {1000 * mine:.0f}, "
                    f"{memory[1]:.0f} | **{theirs / mine:.1f}** | {difference:.1e} |",
                    flush=True,
                )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--public", type=Path, required=True, help="folder with checkouts of the published code")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    a = parser.parse_args()
    ratios(a.public, a.repeats, a.device)


if __name__ == "__main__":
    main()
