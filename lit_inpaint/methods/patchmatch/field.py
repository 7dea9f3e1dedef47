"""The nearest-neighbour field of Barnes et al. 2009: random initialisation, propagation, random search.

On the CPU, compiled by numba: each pixel reads what its neighbour has just found (section 3.2), an order that a GPU
cannot keep. The compiled functions take images as (H, 3 W) int16 with 8-bit values (:func:`rows`): a distance is an
exact integer, and a field depends on nothing but its seed. A match is the (row, column) of the centre of a source
patch; the paper's offset is match minus own position.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from masks.compiled import compiled

_FAR = np.iinfo(np.int32).max


@compiled
def draw(state, n):
    """A number in 0 .. n-1; ``state`` (1,) uint64 advances (xorshift64*, so that numba and Python draw the same)."""
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    return np.int64(((x * np.uint64(2685821657736338717)) >> np.uint64(33)) % np.uint64(n))


@compiled
def _patch_distance(target, source, y, x, v, u, radius, best):
    """Sum of squared colour differences of the patch of ``target`` at (y, x) and that of ``source`` at (v, u); where
    the target patch leaves the image, that of the pixels inside, scaled up. _FAR, found early, if above ``best``."""
    height, width = target.shape[0], target.shape[1] // 3
    top, bottom = max(-radius, -y), min(radius, height - 1 - y) + 1
    left, right = max(-radius, -x), min(radius, width - 1 - x) + 1
    whole, inside = (2 * radius + 1) ** 2, (bottom - top) * (right - left)
    limit = best if inside == whole else np.int64(best) * inside // whole
    length, total = 3 * (right - left), np.int32(0)
    for d in range(top, bottom):
        a = target[y + d, 3 * (x + left) : 3 * (x + right)]
        b = source[v + d, 3 * (u + left) : 3 * (u + right)]
        for k in range(length):
            difference = np.int32(a[k]) - np.int32(b[k])
            total += difference * difference
        if total > limit:
            return _FAR
    return total if inside == whole else np.int32(np.int64(total) * whole // inside)


@compiled
def start(target, source, centres, sources, allowed, match, distance, radius, state):
    """Give every centre without an allowed match a random one, and compute all distances."""
    for i in range(len(centres)):
        y, x = centres[i]
        v, u = match[y, x]
        if v < 0 or not allowed[v, u]:
            v, u = sources[draw(state, len(sources))]
            match[y, x, 0], match[y, x, 1] = v, u
        distance[y, x] = _patch_distance(target, source, y, x, v, u, radius, _FAR - 1)


@compiled
def improve(target, source, centres, allowed, match, distance, radius, iteration, state):
    """One iteration in place: forwards from the left and upper neighbour, or backwards from the right and lower one.

    Args:
        centres: (N, 2) target pixels in raster order; ``distance`` is -1 at every other pixel.
        allowed: (H', W') bool, the centres of source patches.
        match: (H, W, 2) int32.
        distance: (H, W) int32, distance of ``match``.
    """
    height, width = target.shape[0], target.shape[1] // 3
    step = 1 if iteration % 2 == 0 else -1
    for i in range(len(centres)):
        y, x = centres[i if step == 1 else len(centres) - 1 - i]
        best, best_v, best_u = distance[y, x], match[y, x, 0], match[y, x, 1]
        for axis in range(2):  # propagation
            ny, nx = (y - step, x) if axis == 0 else (y, x - step)
            if not (0 <= ny < height and 0 <= nx < width) or distance[ny, nx] < 0:
                continue
            v, u = match[ny, nx, 0] + (y - ny), match[ny, nx, 1] + (x - nx)
            if 0 <= v < allowed.shape[0] and 0 <= u < allowed.shape[1] and allowed[v, u]:
                found = _patch_distance(target, source, y, x, v, u, radius, best)
                if found < best:
                    best, best_v, best_u = found, v, u
        reach = max(allowed.shape)  # random search in windows that halve around the best so far
        while reach >= 1 and best > 0:
            low, high = max(best_v - reach, 0), min(best_v + reach, allowed.shape[0] - 1)
            v = low + draw(state, high - low + 1)
            low, high = max(best_u - reach, 0), min(best_u + reach, allowed.shape[1] - 1)
            u = low + draw(state, high - low + 1)
            if allowed[v, u]:
                found = _patch_distance(target, source, y, x, v, u, radius, best)
                if found < best:
                    best, best_v, best_u = found, v, u
            reach //= 2
        distance[y, x], match[y, x, 0], match[y, x, 1] = best, best_v, best_u


@compiled
def vote(image, source, hole, centres, match, weight, radius):
    """Every hole pixel becomes the weighted mean of the source pixels that the patches over it match there.

    Args:
        image: (H, W, 3) float64, changed in the hole only.
        source: (H, W, 3) float64, read at pixels of source patches only.
        weight: (H, W) float64, weight of the patch at each centre.
    """
    height, width = hole.shape
    colour, total = np.zeros((height, width, 3)), np.zeros((height, width))
    for i in range(len(centres)):
        y, x = centres[i]
        v, u, w = match[y, x, 0] - y, match[y, x, 1] - x, weight[y, x]
        for r in range(max(y - radius, 0), min(y + radius + 1, height)):
            for c in range(max(x - radius, 0), min(x + radius + 1, width)):
                if hole[r, c]:
                    total[r, c] += w
                    for k in range(3):
                        colour[r, c, k] += w * source[r + v, c + u, k]
    for r in range(height):
        for c in range(width):
            if hole[r, c]:
                for k in range(3):
                    image[r, c, k] = colour[r, c, k] / total[r, c]


def nearest_neighbour_field(
    target: NDArray[np.uint8], source: NDArray[np.uint8], radius: int = 3, iterations: int = 5, seed: int = 0
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """For every whole patch of ``target`` (H, W, 3) a similar one of ``source``: the algorithm by itself.

    Returns:
        match (H, W, 2), the centre of the source patch, and its squared distance (H, W); both -1 within ``radius``
        of the border.
    """
    whole: NDArray[np.bool_] = np.zeros(target.shape[:2], bool)
    allowed = np.zeros(source.shape[:2], bool)
    for image in (whole, allowed):
        if min(image.shape) <= 2 * radius:
            raise ValueError(f"an image of {image.shape} contains no patch of {2 * radius + 1} pixels; lower radius.")
        image[radius : image.shape[0] - radius, radius : image.shape[1] - radius] = True
    match = np.full((*whole.shape, 2), -1, np.int32)
    distance = np.full(whole.shape, -1, np.int32)
    a, b, centres, state = rows(target), rows(source), np.argwhere(whole), random_state(seed)
    start(a, b, centres, np.argwhere(allowed), allowed, match, distance, radius, state)
    for iteration in range(iterations):
        improve(a, b, centres, allowed, match, distance, radius, iteration, state)
    return match, distance


def rows(image: NDArray[Any]) -> NDArray[np.int16]:
    """(H, W, 3) with values in 0..255, rounded, as (H, 3 W) int16."""
    return np.rint(image).astype(np.int16).reshape(image.shape[0], -1)


def random_state(seed: int) -> NDArray[np.uint64]:
    """A state for :func:`draw`; neighbouring seeds give unrelated streams."""
    return np.random.SeedSequence(seed).generate_state(1, np.uint64) | np.uint64(1)


def draw_field(match: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Colours of a field (H, W, 2): hue is the direction of match minus own position, saturation its length. Pixels
    without a match are white; a patch copied as a whole is one flat area."""
    from skimage.color import hsv2rgb

    rows, columns = np.indices(match.shape[:2])
    down, right = match[..., 0] - rows, match[..., 1] - columns
    length = np.hypot(down, right) * (match[..., 0] >= 0)
    hue = (np.arctan2(down, right) / (2 * np.pi)) % 1
    hsv = np.stack([hue, np.sqrt(length / max(length.max(), 1)), np.ones_like(hue)], -1)
    return np.rint(hsv2rgb(hsv) * 255).astype(np.uint8)
