"""The two terms of Bertalmio, Sapiro, Caselles and Ballester 2000, twice: in torch, to be read beside the paper and for
GPUs, and compiled by numba for the CPU, some twenty times as fast. A test holds one against the other in float64.

Intensities lie in [0, 1]. Transport is quadratic in the intensity, so the paper's dt = 0.1 belongs to this range; at
0..255 the same dt diverges. x is the row and y the column, as in the paper. At the border of the image the last pixel
is repeated.
"""

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from masks.compiled import compiled

_EPSILON = 1e-8  # beside the squared gradient, where it divides


def neighbours(image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The pixels above, below, left and right of each pixel of (B, C, H, W)."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    return padded[..., :-2, 1:-1], padded[..., 2:, 1:-1], padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]


def transport_term(image: Tensor) -> Tensor:
    """I_t = beta |grad I|: the smoothness L carried along the isophotes (equations 6-11)."""
    above, below, left, right = neighbours(image)
    x_b, x_f, y_b, y_f = image - above, below - image, image - left, right - image
    laplacian = (x_f - x_b) + (y_f - y_b)
    above, below, left, right = neighbours(laplacian)
    change_x, change_y = below - above, right - left
    i_x, i_y = (x_b + x_f) / 2, (y_b + y_f) / 2
    beta = (change_y * i_x - change_x * i_y) / (i_x**2 + i_y**2 + _EPSILON).sqrt()

    def norm(x_1: Tensor, x_2: Tensor, y_1: Tensor, y_2: Tensor) -> Tensor:
        squares = x_1.clamp(max=0) ** 2 + x_2.clamp(min=0) ** 2 + y_1.clamp(max=0) ** 2 + y_2.clamp(min=0) ** 2
        return squares.sqrt()

    return beta * torch.where(beta > 0, norm(x_b, x_f, y_b, y_f), norm(x_f, x_b, y_f, y_b))  # slope-limited


def diffusion_term(image: Tensor) -> Tensor:
    """kappa |grad I|: the isophotes move by their curvature (equation 12, without g)."""
    above, below, left, right = neighbours(image)
    i_x, i_y = (below - above) / 2, (right - left) / 2
    i_xx, i_yy = below + above - 2 * image, right + left - 2 * image
    _, _, left_of, right_of = neighbours(i_x)
    i_xy = (right_of - left_of) / 2
    return (i_xx * i_y**2 - 2 * i_x * i_y * i_xy + i_yy * i_x**2) / (i_x**2 + i_y**2 + _EPSILON)


def torch_round(image: Tensor, hole: Tensor, weight: Tensor, transports: int, diffusions: int, dt: float) -> Tensor:
    """``transports`` steps of the transport in the hole, then ``diffusions`` of the diffusion, each of dt.

    Args:
        image: (B, C, H, W) in [0, 1].
        hole: (B, 1, H, W), 1 in the hole.
        weight: (B, 1, H, W), the paper's g: 1 in the hole, falling to 0 around it.
    """
    for _ in range(transports):
        image = torch.where(hole == 1, image + dt * transport_term(image), image)
    for _ in range(diffusions):
        image = image + dt * weight * diffusion_term(image)
    return image


def runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(row, start, end) of horizontal runs that cover ``mask`` in whole blocks of 16 columns: as wide as a vector."""
    width = mask.shape[1]
    blocks = np.pad(mask, ((0, 0), (0, -width % 16))).reshape(len(mask), -1, 16).any(2)
    steps = np.diff(np.pad(blocks, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(steps == 1)
    return np.column_stack([rows, starts * 16, np.minimum(np.nonzero(steps == -1)[1] * 16, width)]) + 1


def compiled_round(image: Tensor, hole: Tensor, weight: Tensor, transports: int, diffusions: int, dt: float) -> Tensor:
    """:func:`torch_round` on the CPU, at the cost of the hole and not of the image."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate").numpy()
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
    for planes, inside, g in zip(padded, hole[:, 0].numpy(), weight[:, 0].numpy(), strict=True):
        around = runs(cv2.dilate((inside == 1).astype(np.uint8), cross) == 1)
        masks = np.pad(np.stack([inside, g]), ((0, 0), (1, 1), (1, 1))).astype(planes.dtype)
        constants = np.array([0, 0.5, _EPSILON, dt], planes.dtype)
        _round(planes, masks, around, runs(inside == 1), runs(g > 0), transports, diffusions, constants)
    return torch.from_numpy(padded[..., 1:-1, 1:-1].copy())


@compiled
def _repeat_border(plane: Any) -> None:
    plane[0], plane[-1] = plane[1], plane[-2]
    plane[:, 0], plane[:, -1] = plane[:, 1], plane[:, -2]


@compiled
def _step(image: Any, update: Any, weight: Any, runs: Any, dt: Any) -> None:
    for i in range(len(runs)):
        row, a, b = runs[i]
        c, out, g = image[row, a:b], update[row, a:b], weight[row, a:b]
        for k in range(b - a):
            c[k] += dt * (g[k] * out[k])
    _repeat_border(image)


@compiled
def _around(image: Any, row: Any, a: Any, b: Any) -> Any:
    return image[row - 1, a:b], image[row + 1, a:b], image[row, a - 1 : b - 1], image[row, a + 1 : b + 1]


@compiled
def _round(
    planes: Any, masks: Any, around: Any, inside: Any, ring: Any, transports: Any, diffusions: Any, constants: Any
) -> None:
    """planes (C, H + 2, W + 2) in place. Views of one row and constants of their type let the compiler use vectors."""
    zero, half, epsilon, dt = constants
    laplacian, update = np.zeros_like(planes[0]), np.zeros_like(planes[0])
    for p in range(len(planes)):
        image = planes[p]
        for _ in range(transports):
            for i in range(len(around)):
                row, a, b = around[i]
                c, out = image[row, a:b], laplacian[row, a:b]
                above, below, left, right = _around(image, row, a, b)
                for k in range(b - a):
                    out[k] = ((below[k] - c[k]) - (c[k] - above[k])) + ((right[k] - c[k]) - (c[k] - left[k]))
            _repeat_border(laplacian)
            for i in range(len(inside)):
                row, a, b = inside[i]
                c, out = image[row, a:b], update[row, a:b]
                above, below, left, right = _around(image, row, a, b)
                l_above, l_below, l_left, l_right = _around(laplacian, row, a, b)
                for k in range(b - a):
                    x_b, x_f, y_b, y_f = c[k] - above[k], below[k] - c[k], c[k] - left[k], right[k] - c[k]
                    i_x, i_y = half * (x_b + x_f), half * (y_b + y_f)
                    beta = (l_right[k] - l_left[k]) * i_x - (l_below[k] - l_above[k]) * i_y
                    beta = beta / np.sqrt(i_x * i_x + i_y * i_y + epsilon)
                    # Where beta <= 0, forward and backward differences change places.
                    x_1, x_2 = (x_b, x_f) if beta > zero else (x_f, x_b)
                    y_1, y_2 = (y_b, y_f) if beta > zero else (y_f, y_b)
                    x_1, x_2 = x_1 if x_1 < zero else zero, x_2 if x_2 > zero else zero
                    y_1, y_2 = y_1 if y_1 < zero else zero, y_2 if y_2 > zero else zero
                    out[k] = beta * np.sqrt(x_1 * x_1 + x_2 * x_2 + y_1 * y_1 + y_2 * y_2)
            _step(image, update, masks[0], inside, dt)
        for _ in range(diffusions):
            for i in range(len(ring)):
                row, a, b = ring[i]
                c, out = image[row, a:b], update[row, a:b]
                above, below, left, right = _around(image, row, a, b)
                above_left, above_right = image[row - 1, a - 1 : b - 1], image[row - 1, a + 1 : b + 1]
                below_left, below_right = image[row + 1, a - 1 : b - 1], image[row + 1, a + 1 : b + 1]
                for k in range(b - a):
                    i_x, i_y = half * (below[k] - above[k]), half * (right[k] - left[k])
                    i_xx, i_yy = below[k] + above[k] - c[k] - c[k], right[k] + left[k] - c[k] - c[k]
                    i_xy_2 = half * ((below_right[k] - above_right[k]) - (below_left[k] - above_left[k]))
                    bend = i_xx * i_y * i_y - i_x * i_y * i_xy_2 + i_yy * i_x * i_x
                    out[k] = bend / (i_x * i_x + i_y * i_y + epsilon)
            _step(image, update, masks[1], ring, dt)
