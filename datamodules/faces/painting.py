"""A painter of soft shapes that gives every processor the same bits.

Only +, -, *, /, square roots and floors of float64 are used, which IEEE 754 rounds correctly, in one order, without
fused operations. A picture is a list of layers, each a curved and tapered superellipse with an anti-aliased edge.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

FIELDS = (
    "x", "y", "rx", "ry",  # centre and half axes; the picture is [-1, 1] x [-1, 1], y down
    "cos", "sin",  # turn of the shape itself
    "taper",  # the half width at the top is rx (1 + taper), at the bottom rx (1 - taper)
    "bend",  # how far its ends lie above its middle
    "square",  # 0: ellipse; 1: superellipse of exponent 4
    "ring",  # share of the radius that is left open; 0: filled
    "soft",  # width of the edge; at least one pixel
    "red", "green", "blue", "alpha",
    "shade",  # how much the light models it as a ball
    "grain", "along", "across",  # strength of a value noise, and its cells per unit in both directions
    "key",  # of the noise
    "head",  # 1: in the frame of the head, which is turned about its centre
    "keep",  # the coverage is kept under this number, from 1; 0: not
    "inside", "outside",  # only inside, only outside of a coverage that was kept; 0: everywhere
)  # fmt: skip
_AT = {name: place for place, name in enumerate(FIELDS)}
_RED = _AT["red"]
_PLAIN = [1.0 if name in ("cos", "alpha") else 0.0 for name in FIELDS]
KEPT = 8


def shape(
    x: float, y: float, rx: float, ry: float, colour: tuple[float, float, float] = (0, 0, 0), **more: float
) -> list[float]:
    """One row of ``paint``: an opaque, hard, flat, upright ellipse unless told otherwise."""
    row = _PLAIN.copy()
    row[:4] = x, y, rx, ry
    row[_RED : _RED + 3] = colour
    for name, value in more.items():
        row[_AT[name]] = value
    return row


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # a read-only install and a read-only home: numba finds no place for its cache
        return numba.njit(error_model="numpy")(function)


@_compiled
def _hash(i: int, j: int, key: int) -> float:
    """A number in [-1, 1) that belongs to a cell of the noise."""
    n = (
        np.uint32(i) * np.uint32(374761393)
        + np.uint32(j) * np.uint32(668265263)
        + np.uint32(key) * np.uint32(2246822519)
    )
    n = np.uint32((n ^ (n >> np.uint32(13))) * np.uint32(1274126177))
    n = np.uint32((n ^ (n >> np.uint32(16))) * np.uint32(2654435761))
    return np.float64(n >> np.uint32(8)) / 8388608.0 - 1.0


@_compiled
def _noise(a: float, b: float, key: int) -> float:
    """Value noise: smooth between the numbers of the four cells around (a, b)."""
    i, j = np.floor(a), np.floor(b)
    u, v = a - i, b - j
    u, v = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v)
    left, top = int(i), int(j)
    upper = _hash(left, top, key) * (1.0 - u) + _hash(left + 1, top, key) * u
    lower = _hash(left, top + 1, key) * (1.0 - u) + _hash(left + 1, top + 1, key) * u
    return upper * (1.0 - v) + lower * v


@_compiled
def _edge(distance: float, soft: float) -> float:
    """Coverage at a signed distance from an edge that is ``soft`` wide."""
    t = min(1.0, max(0.0, 0.5 - distance / soft))
    return t * t * (3.0 - 2.0 * t)


@_compiled
def paint(
    image: NDArray[np.float64],
    layers: NDArray[np.float64],
    kept: NDArray[np.float64],
    frame: tuple[float, float, float, float],
    light: tuple[float, float, float],
) -> None:
    """Paint ``layers`` in their order onto ``image``, in place.

    Args:
        image: (size, size, 3), levels in 0 .. 255.
        layers: (n, len(FIELDS)).
        kept: (KEPT, size, size), zeros: the coverages that layers keep for others.
        frame: Centre of the head and the cosine and sine of its turn.
        light: Direction to the light, of length one; z points at the viewer.
    """
    size = image.shape[0]
    pixel = 2.0 / size
    for n in range(layers.shape[0]):
        (x, y, rx, ry, cos, sin, taper, bend, square, ring, soft, red, green, blue, alpha, shade,
         grain, along, across, key, head, keep, inside, outside) = layers[n]  # fmt: skip
        soft = max(soft, 1.4 * pixel)
        thin = min(rx, ry)
        # The box of the shape, in the picture: a circle around it holds it however it is turned.
        wide, high = rx * (1.0 + abs(taper)) + soft, ry + abs(bend) + soft
        reach_x = abs(cos) * wide + abs(sin) * high
        reach_y = abs(sin) * wide + abs(cos) * high
        px, py = x, y
        if head == 1.0:
            px = frame[0] + (x - frame[0]) * frame[2] - (y - frame[1]) * frame[3]
            py = frame[1] + (x - frame[0]) * frame[3] + (y - frame[1]) * frame[2]
            reach_x, reach_y = (
                abs(frame[2]) * reach_x + abs(frame[3]) * reach_y,
                abs(frame[3]) * reach_x + abs(frame[2]) * reach_y,
            )
        left = max(0, int(np.floor((px - reach_x + 1.0) / pixel)))
        right = min(size, int(np.floor((px + reach_x + 1.0) / pixel)) + 1)
        top = max(0, int(np.floor((py - reach_y + 1.0) / pixel)))
        bottom = min(size, int(np.floor((py + reach_y + 1.0) / pixel)) + 1)
        if keep > 0.0:
            kept[int(keep) - 1] = 0.0
        for row in range(top, bottom):
            for column in range(left, right):
                dx, dy = (column + 0.5) * pixel - 1.0 - px, (row + 0.5) * pixel - 1.0 - py
                if head == 1.0:
                    dx, dy = dx * frame[2] + dy * frame[3], dy * frame[2] - dx * frame[3]
                a, b = dx * cos + dy * sin, dy * cos - dx * sin
                b += bend * (a / rx) * (a / rx)
                v = b / ry
                u = a / (rx * max(0.1, 1.0 - taper * max(-1.0, min(1.0, v))))
                d = np.sqrt(u * u + v * v)
                if square == 1.0:
                    d = np.sqrt(np.sqrt(u * u * u * u + v * v * v * v))
                cover = _edge((d - 1.0) * thin, soft)
                if ring > 0.0:
                    cover *= 1.0 - _edge((d - ring) * thin, soft)
                if cover == 0.0:
                    continue
                if inside > 0.0:
                    cover *= kept[int(inside) - 1, row, column]
                if outside > 0.0:
                    cover *= 1.0 - kept[int(outside) - 1, row, column]
                if keep > 0.0:
                    kept[int(keep) - 1, row, column] = cover
                cover *= alpha
                if cover == 0.0:
                    continue
                tone = 1.0
                if grain > 0.0:
                    tone += grain * _noise(a * across, b * along, int(key))
                if shade > 0.0:
                    inward = np.sqrt(max(0.0, 1.0 - u * u - v * v))
                    lit = max(0.0, u * light[0] + v * light[1] + inward * light[2])
                    tone += shade * (lit - 0.75)
                image[row, column, 0] += cover * (min(255.0, red * tone) - image[row, column, 0])
                image[row, column, 1] += cover * (min(255.0, green * tone) - image[row, column, 1])
                image[row, column, 2] += cover * (min(255.0, blue * tone) - image[row, column, 2])
