"""Memory that a completion takes, estimated before it begins."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lit_inpaint.calls import networks_of
from lit_inpaint.classical import ClassicalModule
from lit_inpaint.method import Method, parameter_counts
from lit_inpaint.windows import TILE, Pixels, Window, windows_of
from masks.size import sides

_CLASSICAL_BYTES = 1500  # a pixel of a window; Harmonic's sparse factors in a window that is all hole but its border
_LOCAL_BYTES = 250  # Telea: the window in double precision, thrice, and its fronts
_IMAGE_BYTES = 16  # a pixel of the whole image: read, copied, completed and written as 8-bit RGB


def estimate(method: Method, windows: list[Window], height: int, width: int) -> int:
    """Estimated bytes for completing an image, without weights, to about a third: networks are probed on two small
    squares (or at their fixed size), and their peak is extrapolated with the area, attention with its square."""
    area = max(((w.box[2] - w.box[0]) * (w.box[3] - w.box[1]) for w in windows), default=0)
    return int(_IMAGE_BYTES * height * width + _window_bytes(method, area))


def _window_bytes(method: Method, area: int) -> float:
    if (isinstance(method, ClassicalModule) and not networks_of(method)) or not area:
        return (_LOCAL_BYTES if method.local else _CLASSICAL_BYTES) * area
    if method.fixed_size:
        return 1.3 * _probe(method, *sides(method.fixed_size)) + 60 * area
    small, large = _probe(method, 64, 64), _probe(method, 128, 128)
    square = max(0.0, (large / 128**2 - small / 64**2) / (128**2 - 64**2))
    return 1.3 * area * (max(small / 64**2, large / 128**2 - square * 128**2) + square * area)  # a third for workspaces


def refuse_too_large(method: Method, hole: Pixels, tile: int) -> str | None:
    """Estimated memory of a large image, as text; None for windowed images under four megapixels.

    Raises:
        ValueError: It exceeds the available memory.
    """
    height, width = hole.shape
    if height * width < 4_000_000 and (tile or height * width <= TILE**2):
        return None
    needed = estimate(method, windows_of(method, hole, tile), height, width)
    free = available_memory(method.device)
    if free is not None and needed > free:
        smaller = "" if method.fixed_size else f"a --tile under {tile or max(height, width)}, or "
        raise ValueError(
            f"{width}x{height} by {type(method).__name__} takes about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are "
            f"free; give {smaller}a smaller image."
        )
    return f"about {needed / 1e9:.2f} GB"


def available_memory(device: torch.device) -> int | None:
    """Free bytes on the device; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    return None


class _EnoughSeen(Exception):
    pass


class _PeakOfTensors(TorchDispatchMode):
    """The largest sum of the bytes of all tensors that were alive at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive: WeakValueDictionary[int, torch.UntypedStorage] = WeakValueDictionary()
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: object, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.alive[id(storage)] = storage
        self.peak = max(self.peak, sum(storage.nbytes() for storage in list(self.alive.values())))
        return out


@torch.no_grad()
def _probe(method: Method, height: int, width: int) -> int:
    """Peak of the tensors of one completion, in which each network runs twice on inputs of one shape."""
    image, mask = torch.zeros(1, method.channels, height, width, device=method.device), torch.zeros(1, 1, height, width)
    mask[..., height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 1
    networks = networks_of(method)
    own = [vars(network).get("forward") for network in networks]  # where somebody has put one over the class's
    for network in networks:
        network.forward = _twice(network.forward, alone=len(parameter_counts(method)) == 1)  # no decoder comes after
    try:
        with _PeakOfTensors() as tensors, suppress(_EnoughSeen):
            method(image, mask.to(method.device), **Method.draws(method, 0, ["probe"]))  # its own may look the name up
    finally:
        for network, before in zip(networks, own, strict=True):
            del network.forward
            if before is not None:
                network.forward = before
    return int(tensors.peak)


def _twice(forward: Callable[..., object], alone: bool) -> Callable[..., object]:
    """From the third call with inputs of one shape on, the output of the second, for what comes after; nothing comes
    after the calls of a network that is ``alone``, so its third call ends the probe."""
    outputs: dict[tuple[torch.Size, ...], list[object]] = {}

    def call(*inputs: object, **named: object) -> object:
        shapes = tuple(x.shape for x in tree_leaves((inputs, named)) if isinstance(x, torch.Tensor))
        made = outputs.setdefault(shapes, [])
        if len(made) < 2:
            made[:] = [None] * len(made) + [forward(*inputs, **named)]
        elif alone:
            raise _EnoughSeen
        return made[-1]

    return call
