"""Images of any size: windows around the holes, completed one after the other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masks.convention import from_levels, to_levels
from masks.size import Size, sides

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # top, left, bottom, right; ends excluded

TILE = 1024
SMALLEST = 64  # tile: cores and blends are fractions of it
LEAST = 512  # a window has at least this side where the image has it: context for small holes


class Completer(Protocol):
    """What a window needs of an :class:`lit_inpaint.InpaintingModule`."""

    local: ClassVar[bool]
    fixed_size: Size | None

    @property
    def device(self) -> torch.device: ...

    def draws(self, seed: int, names: Sequence[str], number: int = 0) -> dict[str, Any]: ...

    def __call__(self, image: Tensor, mask: Tensor, **guides: Any) -> Tensor: ...


@dataclass(frozen=True)
class Window:
    """``box`` is the method's input; the hole pixels of ``core`` are kept and known from then on.

    Windows of one ``hole`` (numbered from 1) are blended: within ``blend`` pixels around its core, each completes again
    what the others have filled, and its completion fades out.
    """

    box: Box
    core: Box
    hole: int = 0
    blend: int = 0


def plan(
    hole: Pixels, tile: int = TILE, least: int = LEAST, whole_holes: bool = False, resized: bool = False
) -> list[Window]:
    """Windows of at most ``tile`` pixels per side that cover the hole (H, W); the whole image if it fits, or at 0.

    A hole with its context is one window where it fits, small holes that lie together share one, and a hole that is
    larger than a window is covered by cores of half its side, or with ``whole_holes`` by one window of its own size.
    Where windows are ``resized`` for the network, theirs may be twice the shorter side of the hole: no window of a
    square hole sees a part of it.
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
    pieces: list[tuple[Box, int, int]] = []  # core, tile, number of the hole
    together: dict[tuple[int, int], Box] = {}
    parts = cv2.connectedComponentsWithStats(hole, connectivity=8)[2][1:].tolist()
    for number, (left, top, w, h, _) in enumerate(parts, 1):
        box, wide = (top, left, top + h, left + w), max(tile, 2 * min(w, h)) if resized else tile
        if _side(box) <= tile // 4:
            cell = (top + h // 2) // (tile // 2), (left + w // 2) // (tile // 2)
            other = together.get(cell, box)
            together[cell] = (*map(min, box[:2], other[:2]), *map(max, box[2:], other[2:]))  # type: ignore[assignment]
        elif whole_holes or _side(box) <= wide * 3 // 4:
            pieces.append((box, wide, 0))
        else:
            step = wide // 2
            pieces += [
                ((y, x, min(y + step, box[2]), min(x + step, box[3])), wide, number)
                for y in range(box[0], box[2], step)
                for x in range(box[1], box[3], step)
            ]
    pieces = [*((box, tile, 0) for box in together.values()), *pieces]
    return [_around(box, hole.shape, wide, least, number) for box, wide, number in pieces]


def windows_of(method: Completer, hole: Pixels, tile: int) -> list[Window]:
    """:func:`plan` for a method, whose fixed size is the minimum size of a window; larger ones cost it no memory."""
    fixed = max(sides(method.fixed_size or 1))
    if tile and tile < SMALLEST:
        raise ValueError(f"tile is {tile}; expected at least {SMALLEST}, or 0 for the whole image at once.")
    return plan(hole, tile and max(tile, fixed), max(LEAST, fixed), method.local, method.fixed_size is not None)


def _side(box: Box) -> int:
    return max(box[2] - box[0], box[3] - box[1])


def _around(core: Box, shape: tuple[int, ...], tile: int, least: int, hole: int = 0) -> Window:
    """A window centred on ``core``, with as much context as the core is large, clamped to the image."""
    starts, ends = [], []
    tile = max(tile, _side(core) + tile // 4)  # a whole hole
    for start, end, length in zip(core[:2], core[2:], shape[:2], strict=True):
        inner = end - start
        size = min(length, tile, max(least, 2 * inner, inner + tile // 4))
        first = min(max((start + end - size) // 2, 0), length - size)
        starts.append(first)
        ends.append(first + size)
    return Window((*starts, *ends), core, hole, tile // 8 if hole else 0)  # type: ignore[arg-type]


@torch.no_grad()
def complete(
    method: Completer,
    image: Tensor,
    hole: Pixels,
    name: str,
    number: int = 0,
    seed: int = 0,
    tile: int = TILE,
    guides: Mapping[str, Pixels] | None = None,
    advance: Callable[[int, int], None] = lambda done, windows: None,
) -> Tensor:
    """One completion of (3, H, W) with the hole (H, W), 1 = hole; known pixels come back bit for bit.

    The window with the most known pixels is next, and its filled pixels are known to the others, but for those that
    the next one blends with its own.

    Args:
        image: uint8, or floats in [-1, 1]. The completion is rounded where these are 8 bits.
        name: Keys the random draws of a diverse method, together with ``seed`` and ``number``.
        guides: Those listed in ``guided_by`` of the method, (H, W), 0 or 1.
    """
    result, remaining, levels = image.clone(), hole.copy(), image.dtype == torch.uint8
    filled_by = np.zeros(hole.shape, np.int32)  # the window's hole
    windows = windows_of(method, hole, tile) if hole.any() else []
    count = len(windows)
    while windows:
        order = [1.0 if len(windows) == 1 else -float(remaining[_slices(w.box)][::8, ::8].mean()) for w in windows]
        window = windows.pop(int(np.argmax(order)))
        part, inner = _slices(window.box), _slices(window.core)
        if remaining[inner].any():
            target = result[:, part[0], part[1]]
            shown = target[None].to(method.device)
            weight = _weights(window) * ((remaining[part] == 1) | (filled_by[part] == window.hole) & (window.hole > 0))
            asked = remaining[part] | (weight > 0)
            mask = torch.from_numpy(asked.astype(np.uint8))[None, None].to(method.device).float()
            place = name if count == 1 and window.box == window.core else f"{name}@{window.box[0]},{window.box[1]}"
            drawn = {key: torch.from_numpy(guide[part].copy())[None, None] for key, guide in (guides or {}).items()}
            beside = {key: guide.to(method.device).float() for key, guide in drawn.items()}
            given = from_levels(shown) if levels else shown
            filled = method(given, mask, **beside, **method.draws(seed, [place], number))[0]
            if not bool(filled.isfinite().all()):
                raise ValueError(f"{type(method).__name__} returned non-finite pixels; nothing was written.")
            completed = to_levels(filled).byte() if levels else filled
            kept = (weight == 1) & (remaining[part] == 1)
            mixed = (weight > 0) & (remaining[part] == 0)
            target.copy_(_mixed(target, completed.to(target), np.where(kept | mixed, weight, 0)))
            remaining[part][kept], filled_by[part][kept] = 0, window.hole
        advance(count - len(windows), count)
    return result


def _weights(window: Window) -> NDArray[np.float32]:
    """1 in the core; around it, what it has of the mixture with another window's completion."""
    (top, left, bottom, right), far = window.box, window.blend + 1
    rows, columns = (
        np.clip(1 - np.maximum(np.maximum(start - at, at - end + 1), 0) / far, 0, 1)
        for at, start, end in (
            (np.arange(top, bottom), window.core[0], window.core[2]),
            (np.arange(left, right), window.core[1], window.core[3]),
        )
    )
    return np.outer(rows, columns).astype(np.float32)


def _mixed(before: Tensor, completed: Tensor, weight: NDArray[np.float32]) -> Tensor:
    share = torch.from_numpy(weight).to(before.device)
    mixture = before.float() + share * (completed.float() - before.float())
    mixture = mixture.round().to(before.dtype) if before.dtype == torch.uint8 else mixture.to(before.dtype)
    return torch.where(share == 1, completed, torch.where(share == 0, before, mixture))


def complete_pixels(
    method: Completer,
    pixels: Pixels,
    hole: Pixels,
    name: str,
    number: int = 0,
    seed: int = 0,
    tile: int = TILE,
    guides: Mapping[str, Pixels] | None = None,
    advance: Callable[[int, int], None] = lambda done, windows: None,
) -> Pixels:
    """:func:`complete` for a picture (H, W, C) uint8."""
    image = torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).permute(2, 0, 1)
    return complete(method, image, hole, name, number, seed, tile, guides, advance).permute(1, 2, 0).numpy()


def _slices(box: Box) -> tuple[slice, slice]:
    return slice(box[0], box[2]), slice(box[1], box[3])
