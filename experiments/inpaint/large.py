"""Complete images of any size: windows around the holes, and their memory."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lit_inpaint.calls import networks_of
from lit_inpaint.classical import ClassicalModule
from lit_inpaint.module import InpaintingModule
from masks.convention import from_levels, to_pixels

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # top, left, bottom, right; ends excluded

TILE = 1024
LEAST = 512  # a window has at least this side where the image has it: context for small holes
CLASSICAL_BYTES = 1500  # a pixel of a window; Harmonic's sparse factors in a window that is all hole but its border
IMAGE_BYTES = 16  # a pixel of the whole image: read, copied, completed and written as 8-bit RGB


@dataclass(frozen=True)
class Window:
    """``box`` is the method's input; the hole pixels of ``core`` are kept and known from then on."""

    box: Box
    core: Box


def plan(hole: Pixels, tile: int = TILE, least: int = LEAST) -> list[Window]:
    """Windows of at most ``tile`` pixels per side that cover the hole (H, W); the whole image if it fits, or at 0.

    A hole with its context is one window where it fits, small holes that lie together share one, and a hole that is
    larger than a window is covered by cores of half its side.
    """
    height, width = hole.shape
    whole = (0, 0, height, width)
    if not tile or max(height, width) <= tile:
        return [Window(whole, whole)]
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    if not len(rows):
        return []
    box = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    if _side(box) <= tile * 3 // 4:
        return [_around(box, hole.shape, tile, least)]
    boxes: list[Box] = []
    together: dict[tuple[int, int], Box] = {}
    for left, top, w, h, _ in cv2.connectedComponentsWithStats(hole, connectivity=8)[2][1:].tolist():
        box = (top, left, top + h, left + w)
        if _side(box) <= tile // 4:
            cell = (top + h // 2) // (tile // 2), (left + w // 2) // (tile // 2)
            other = together.get(cell, box)
            together[cell] = (*map(min, box[:2], other[:2]), *map(max, box[2:], other[2:]))  # type: ignore[assignment]
        elif _side(box) <= tile * 3 // 4:
            boxes.append(box)
        else:
            step = tile // 2
            boxes += [
                (y, x, min(y + step, box[2]), min(x + step, box[3]))
                for y in range(box[0], box[2], step)
                for x in range(box[1], box[3], step)
            ]
    return [_around(box, hole.shape, tile, least) for box in [*together.values(), *boxes]]


def windows_of(method: InpaintingModule, hole: Pixels, tile: int) -> list[Window]:
    """:func:`plan` for a method, whose fixed size is the minimum size of a window."""
    return plan(hole, tile, max(LEAST, method.fixed_size or 0))


def _side(box: Box) -> int:
    return max(box[2] - box[0], box[3] - box[1])


def _around(core: Box, shape: tuple[int, ...], tile: int, least: int) -> Window:
    """A window centred on ``core``, with as much context as the core is large, clamped to the image."""
    starts, ends = [], []
    for start, end, length in zip(core[:2], core[2:], shape[:2], strict=True):
        inner = end - start
        size = min(length, tile, max(least, 2 * inner, inner + tile // 4))
        first = min(max((start + end - size) // 2, 0), length - size)
        starts.append(first)
        ends.append(first + size)
    return Window((*starts, *ends), core)  # type: ignore[arg-type]


@torch.no_grad()
def complete(
    method: InpaintingModule,
    pixels: Pixels,
    hole: Pixels,
    name: str,
    number: int = 0,
    seed: int = 0,
    tile: int = TILE,
    guides: Mapping[str, Pixels] | None = None,
    advance: Callable[[int, int], None] = lambda done, windows: None,
) -> Pixels:
    """One completion of (H, W, 3) uint8 with the hole (H, W), 1 = hole; known pixels come back bit for bit.

    The window with the most known pixels is next, and its filled pixels are known to the others.

    Args:
        name: Keys the random draws of a diverse method, together with ``seed`` and ``number``.
        guides: Those listed in ``guided_by`` of the method, (H, W), 0 or 1.
    """
    result, remaining = pixels.copy(), hole.copy()
    windows = windows_of(method, hole, tile) if hole.any() else []
    count = len(windows)
    while windows:
        order = [1.0 if len(windows) == 1 else -float(remaining[_slices(w.box)][::8, ::8].mean()) for w in windows]
        window = windows.pop(int(np.argmax(order)))
        part, inner = _slices(window.box), _slices(window.core)
        if remaining[inner].any():
            image = from_levels(torch.from_numpy(result[part]).permute(2, 0, 1)[None].to(method.device))
            mask = torch.from_numpy(remaining[part].copy())[None, None].to(method.device).float()
            place = name if count == 1 and window.box == window.core else f"{name}@{window.box[0]},{window.box[1]}"
            drawn = {key: torch.from_numpy(guide[part].copy())[None, None] for key, guide in (guides or {}).items()}
            beside = {key: guide.to(method.device).float() for key, guide in drawn.items()}
            filled = method(image, mask, **beside, **method.draws(seed, [place], number))[0]
            if not bool(filled.isfinite().all()):
                raise ValueError(f"{type(method).__name__} returned non-finite pixels; nothing was written.")
            completed = to_pixels(filled)
            kept = np.zeros_like(remaining[part])
            top, left = window.box[:2]
            kept[window.core[0] - top : window.core[2] - top, window.core[1] - left : window.core[3] - left] = 1
            kept = (kept & remaining[part]) == 1
            result[part][kept] = completed[kept]
            remaining[part][kept] = 0
        advance(count - len(windows), count)
    return result


def _slices(box: Box) -> tuple[slice, slice]:
    return slice(box[0], box[2]), slice(box[1], box[3])


# ---- memory ----------------------------------------------------------------------------------------------------------


def estimate(method: InpaintingModule, windows: list[Window], height: int, width: int) -> int:
    """Estimated bytes for completing an image, without weights, to about a third: networks are probed on two small
    squares (or at their fixed size), and their peak is extrapolated with the area, attention with its square."""
    area = max(((w.box[2] - w.box[0]) * (w.box[3] - w.box[1]) for w in windows), default=0)
    return int(IMAGE_BYTES * height * width + _window_bytes(method, area))


def _window_bytes(method: InpaintingModule, area: int) -> float:
    if isinstance(method, ClassicalModule) or not area:
        return CLASSICAL_BYTES * area
    if method.fixed_size:
        return 1.3 * _probe(method, method.fixed_size) + 60 * area
    small, large = _probe(method, 64), _probe(method, 128)
    square = max(0.0, (large / 128**2 - small / 64**2) / (128**2 - 64**2))
    return 1.3 * area * (max(small / 64**2, large / 128**2 - square * 128**2) + square * area)  # a third for workspaces


def refuse_too_large(method: InpaintingModule, hole: Pixels, tile: int) -> str | None:
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
        raise ValueError(
            f"{width}x{height} by {type(method).__name__} takes about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are "
            f"free; give a --tile under {tile or max(height, width)}, or a smaller image."
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
def _probe(method: InpaintingModule, side: int) -> int:
    """Peak of the tensors of one completion of a square, in which each network runs twice on inputs of one shape."""
    image, mask = torch.zeros(1, 3, side, side, device=method.device), torch.zeros(1, 1, side, side)
    mask[..., side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = 1
    networks = networks_of(method)
    own = [vars(network).get("forward") for network in networks]  # where somebody has put one over the class's
    for network in networks:
        network.forward = _twice(network.forward, alone=len(networks) == 1)
    try:
        with _PeakOfTensors() as tensors, suppress(_EnoughSeen):
            method(image, mask.to(method.device), **method.draws(0, ["probe"]))
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
