"""A painter of soft shapes that gives every processor the same bits.

Only +, -, *, /, square roots and floors of float64 are used, which IEEE 754 rounds correctly, in one order, without
fused operations. A picture is a list of layers, each a curved and tapered superellipse with an anti-aliased edge.

Each layer is painted in several short loops over the pixels of its box, because the compiler turns a loop without
branches into vector instructions. That changes no bit: a pixel still sees the same operations in the same order.
"""

import numpy as np
from numpy.typing import NDArray

from masks.compiled import compiled

_Array = NDArray[np.float64]
_Frame = tuple[float, float, float, float]

_FIELDS = (
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
_AT = {name: place for place, name in enumerate(_FIELDS)}
_RED, _HEAD, _KEEP = _AT["red"], _AT["head"], _AT["keep"]
_PLAIN = [1.0 if name in ("cos", "alpha") else 0.0 for name in _FIELDS]
_KEPT = 8


def shape(
    x: float, y: float, rx: float, ry: float, colour: tuple[float, float, float] = (0, 0, 0), **more: float
) -> list[float]:
    """One row of ``paint``: an opaque, hard, flat, upright ellipse by default."""
    row = _PLAIN.copy()
    row[:4] = x, y, rx, ry
    row[_RED : _RED + 3] = colour
    for name, value in more.items():
        row[_AT[name]] = value
    return row


@compiled
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


@compiled
def _noise(a: float, b: float, key: int) -> float:
    """Value noise: smooth between the numbers of the four cells around (a, b)."""
    i, j = np.floor(a), np.floor(b)
    u, v = a - i, b - j
    u, v = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v)
    left, top = int(i), int(j)
    upper = _hash(left, top, key) * (1.0 - u) + _hash(left + 1, top, key) * u
    lower = _hash(left, top + 1, key) * (1.0 - u) + _hash(left + 1, top + 1, key) * u
    return upper * (1.0 - v) + lower * v


@compiled
def _radius(u: float, v: float, square: float) -> float:
    """Distance from the centre in units of the half axes: 1 on the outline."""
    if square == 1.0:
        return np.sqrt(np.sqrt(u * u * u * u + v * v * v * v))
    return np.sqrt(u * u + v * v)


@compiled
def _edge(distance: float, soft: float) -> float:
    """Coverage at a signed distance from an edge that is ``soft`` wide."""
    t = min(1.0, max(0.0, 0.5 - distance / soft))
    return t * t * (3.0 - 2.0 * t)


@compiled
def _lit(u: float, v: float, light: tuple[float, float, float]) -> float:
    """Light that falls on a ball of radius one at (u, v)."""
    inward = np.sqrt(max(0.0, 1.0 - u * u - v * v))
    return max(0.0, u * light[0] + v * light[1] + inward * light[2])


@compiled
def _pixels(centre: float, reach: float, size: int) -> tuple[int, int]:
    """First pixel within ``reach`` of ``centre`` along one axis, and the one after the last."""
    pixel = 2.0 / size
    first = max(0, int(np.floor((centre - reach + 1.0) / pixel)))
    after = min(size, int(np.floor((centre + reach + 1.0) / pixel)) + 1)
    return first, max(first, after)


@compiled
def _box(layer: _Array, soft: float, frame: _Frame, size: int) -> tuple[float, float, int, int, int, int]:
    """Where a layer's centre is seen, and the left, right, top and bottom of the pixels that it may cover."""
    x, y, rx, ry, cos, sin, taper, bend = layer[:8]
    wide, high = rx * (1.0 + abs(taper)) + soft, ry + abs(bend) + soft
    reach_x = abs(cos) * wide + abs(sin) * high
    reach_y = abs(sin) * wide + abs(cos) * high
    if layer[_HEAD] == 1.0:
        head_x, head_y, head_cos, head_sin = frame
        dx, dy = x - head_x, y - head_y
        x, y = head_x + dx * head_cos - dy * head_sin, head_y + dx * head_sin + dy * head_cos
        reach_x, reach_y = (
            abs(head_cos) * reach_x + abs(head_sin) * reach_y,
            abs(head_sin) * reach_x + abs(head_cos) * reach_y,
        )
    left, right = _pixels(x, reach_x, size)
    top, bottom = _pixels(y, reach_y, size)
    return x, y, left, right, top, bottom


@compiled
def _clip(cover: _Array, layer: _Array, kept: _Array, left: int, right: int, top: int, bottom: int) -> None:
    """Keep the cover of a layer for later ones, and leave of it what lies inside or outside of kept ones."""
    keep, inside, outside = layer[_KEEP:]
    if keep > 0.0:
        kept[int(keep) - 1] = 0.0
    k = 0
    for row in range(top, bottom):
        for column in range(left, right):
            if inside > 0.0:
                cover[k] *= kept[int(inside) - 1, row, column]
            if outside > 0.0:
                cover[k] *= 1.0 - kept[int(outside) - 1, row, column]
            if keep > 0.0:
                kept[int(keep) - 1, row, column] = cover[k]
            k += 1


@compiled
def _paint_layer(image: _Array, layer: _Array, kept: _Array, frame: _Frame, light: tuple[float, float, float]) -> None:
    (_, _, rx, ry, cos, sin, taper, bend, square, ring, soft, red, green, blue, alpha, shade,
     grain, along, across, key, head, _, _, _) = layer  # fmt: skip
    colour = red, green, blue
    size = image.shape[1]
    pixel = 2.0 / size
    soft, thin = max(soft, 1.4 * pixel), min(rx, ry)
    x, y, left, right, top, bottom = _box(layer, soft, frame, size)
    head_cos, head_sin = (frame[2], frame[3]) if head == 1.0 else (1.0, 0.0)
    width, count = right - left, (right - left) * (bottom - top)
    a, b, u, v = np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    cover, tone = np.empty(count), np.ones(count)
    for row in range(top, bottom):
        for column in range(left, right):
            k = (row - top) * width + column - left
            dx, dy = (column + 0.5) * pixel - 1.0 - x, (row + 0.5) * pixel - 1.0 - y
            dx, dy = dx * head_cos + dy * head_sin, dy * head_cos - dx * head_sin
            a[k], b[k] = dx * cos + dy * sin, dy * cos - dx * sin
    for k in range(count):
        b[k] += bend * (a[k] / rx) * (a[k] / rx)
        v[k] = b[k] / ry
        u[k] = a[k] / (rx * max(0.1, 1.0 - taper * max(-1.0, min(1.0, v[k]))))
        radius = _radius(u[k], v[k], square)
        cover[k] = _edge((radius - 1.0) * thin, soft)
        if ring > 0.0:
            cover[k] *= 1.0 - _edge((radius - ring) * thin, soft)
    _clip(cover, layer, kept, left, right, top, bottom)
    for k in range(count):
        if grain > 0.0 and cover[k] > 0.0:
            tone[k] += grain * _noise(a[k] * across, b[k] * along, int(key))
        if shade > 0.0:
            tone[k] += shade * (_lit(u[k], v[k], light) - 0.75)
    for channel in range(3):
        for row in range(top, bottom):
            for column in range(left, right):
                k = (row - top) * width + column - left
                level = min(255.0, colour[channel] * tone[k])
                image[channel, row, column] += cover[k] * alpha * (level - image[channel, row, column])


@compiled
def paint(
    size: int,
    layers: NDArray[np.float64],
    frame: tuple[float, float, float, float],
    light: tuple[float, float, float],
) -> NDArray[np.float64]:
    """Paint ``layers`` over each other, in their order.

    Args:
        size: Side of the picture in pixels.
        layers: (n, len(_FIELDS)).
        frame: Centre of the head and the cosine and sine of its turn.
        light: Direction to the light, of length one; z points at the viewer.

    Returns:
        (3, size, size), levels in 0 .. 255.
    """
    image = np.zeros((3, size, size))
    kept = np.zeros((_KEPT, size, size))
    for n in range(layers.shape[0]):
        _paint_layer(image, layers[n], kept, frame, light)
    return image


@compiled
def develop(image: NDArray[np.float64], words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Add a film's grain, four bits of ``words`` per pixel, and round: (3, size, size) to (size, size, 3)."""
    size = image.shape[1]
    levels = np.empty((size, size, 3), np.uint8)
    for row in range(size):
        for column in range(size):
            place = row * size + column
            four = (words[place >> 4] >> np.uint64(4 * (place & 15))) & np.uint64(15)
            noise = (np.float64(four) - 7.5) * 0.35
            for channel in range(3):
                level = min(255.0, max(0.0, image[channel, row, column] + noise))
                levels[row, column, channel] = np.uint8(np.floor(level + 0.5))
    return levels
