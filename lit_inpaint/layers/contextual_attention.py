"""Contextual attention (Yu et al., "Generative Image Inpainting with Contextual Attention", CVPR 2018, section 4.1).

Every 3x3 patch of a half-size copy of the features is compared with every other one, and the 4x4 patches that belong
to the best matches are pasted over each other. Written with patches this is a convolution with 9C taps per pair and a
transposed one with 16C. Both are sums over patch positions that move the query and the key together, that is, sums
along diagonals of a (query, key) matrix. So it is enough to multiply single pixels (C taps per pair to match, 4C to
paste) and to add shifted copies of the matrix, which is what this file does: equal to the official code up to rounding,
for a fifth of its multiplications.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_inpaint.layers.tf_same import resize_nearest


def contextual_attention(
    query: Tensor,
    key: Tensor,
    mask: Tensor,
    softmax_scale: float = 10.0,
    fuse: bool = True,
    sampling: Literal["align_corners", "every_second"] = "align_corners",
    norm: Literal["floor", "added"] = "floor",
    hole: Literal["scored 0", "excluded"] = "scored 0",
    paste: Literal["quarter", "mean"] = "quarter",
) -> Tensor:
    """Rebuild ``query`` from patches of ``key`` that lie outside the hole, as the official code of DeepFill v1 and v2.

    What to keep in mind of that code, all of it kept here because the published weights were trained with it:
    key patches are normalised, query patches are not; a key patch with any hole pixel gets the score 0, not minus
    infinity, so it still takes a share exp(0) of the softmax, and its weight is set to 0 afterwards; pixels beyond the
    border count as known; the pasted sum is divided by 4 everywhere, also at the border, where fewer than 4 patches
    overlap. The one difference: the official code uses the first image's mask for the whole batch.

    Computed in float32 also under autocast: scores of a few hundred go into an exponential.

    Args:
        query: Features to rebuild, (B, C, H, W), H and W even.
        key: Features to copy from, of the same shape; DeepFill passes the same tensor twice.
        mask: 1 in the hole, (B, 1, H, W), each sample its own; or (B, 1, H / 2, W / 2) and then not sampled again.
        softmax_scale: Sharpness of the softmax over patches.
        fuse: Whether neighbouring queries are encouraged to copy from neighbouring keys.
        sampling: Which pixels the half-size copies keep: those of TensorFlow's ``align_corners`` (official), or every
            second one from the first (PyTorch ports).
        norm: What keeps the norm of a key patch from 0: the larger of it and 1e-4 (official), or 1e-4 added to every
            square under the root (daa233's port).
        hole: What becomes of a key patch with a hole pixel: see above (official), or it takes no part in the softmax
            (mmagic). Where no key is known, nothing is pasted; mmagic's program gives NaN there.
        paste: What the pasted sum is divided by: 4 (official), or the number of patches over a pixel (mmagic).

    Returns:
        (B, C, H, W), in the hole and outside.

    Raises:
        ValueError: If H or W is odd, or shapes differ.
    """
    height, width = query.shape[-2:]
    if height % 2 or width % 2:
        raise ValueError(f"features are {height}x{width}; contextual attention needs even sides. Pad the image to 8.")
    sizes = ((height, width), (height // 2, width // 2))
    if key.shape != query.shape or mask.shape not in [(query.shape[0], 1, *size) for size in sizes]:
        raise ValueError(f"query {tuple(query.shape)}, key {tuple(key.shape)}, mask {tuple(mask.shape)} do not match.")
    with torch.autocast(query.device.type, enabled=False):
        dtype = torch.promote_types(query.dtype, torch.float32)
        inputs = query.to(dtype), key.to(dtype), mask.to(dtype)
        attend = partial(
            _attend, softmax_scale=softmax_scale, fused=fuse, sampling=sampling, norm=norm, hole=hole, paste=paste
        )
        if query.device.type != "cpu" or torch.compiler.is_exporting():  # to a graph that takes any number of images
            return attend(*inputs).to(query.dtype)
        # One image after the other stays in the cache and needs a fraction of the memory.
        images = zip(*(x.split(1) for x in inputs), strict=True)
        return torch.cat([attend(q, k, m) for q, k, m in images]).to(query.dtype)


def _attend(
    query: Tensor,
    key: Tensor,
    mask: Tensor,
    softmax_scale: float,
    fused: bool,
    sampling: str,
    norm: str,
    hole: str,
    paste: str,
) -> Tensor:
    batch, channels, height, width = query.shape
    h, w = height // 2, width // 2
    halve = (lambda x: resize_nearest(x, h, w)) if sampling == "align_corners" else (lambda x: x[..., ::2, ::2])
    small_query, small_key = halve(query), halve(key)
    small_mask = mask if mask.shape[-2:] == (h, w) else halve(mask)

    # 3x3 patch products from pixel products, then divided by the norm of the key patch.
    scores = (small_query.flatten(2).mT @ small_key.flatten(2)).view(batch, h, w, h, w)
    scores = _diagonal_sum(_diagonal_sum(scores, 1, 3, (-1, 0, 1)), 2, 4, (-1, 0, 1))
    energy = 9 * F.avg_pool2d(small_key.square().sum(1, keepdim=True), 3, stride=1, padding=1)
    energy = energy.clamp_min(1e-8) if norm == "floor" else energy + 9e-4 * channels  # max(norm, 1e-4), or the port's
    scores = scores * energy.rsqrt().view(batch, 1, 1, h, w)

    if fused:
        scores = fuse(scores)

    known = (F.max_pool2d(small_mask, 3, stride=1, padding=1) == 0).to(scores.dtype).view(batch, 1, h * w)
    scores = scores.reshape(batch, h * w, h * w) * (softmax_scale * known)
    if hole == "excluded":
        scores = scores.masked_fill(known == 0, torch.finfo(scores.dtype).min)
    attention = torch.softmax(scores, dim=2) * known
    attention = attention.view(batch, h, w, h, w)

    # The 4x4 patches of key are pasted with stride 2, so an output pixel of one parity mixes key pixels of that parity.
    pasted = []
    for row in (0, 1):
        by_row = _diagonal_sum(attention, 1, 3, (0, 2 * row - 1))
        for column in (0, 1):
            weights = _diagonal_sum(by_row, 2, 4, (0, 2 * column - 1)).view(batch, h * w, h * w)
            pasted.append(key[..., row::2, column::2].flatten(2) @ weights.mT)
    pixels = torch.stack(pasted, dim=2).view(batch, 4 * channels, h, w)
    pixels = F.pixel_shuffle(pixels, 2)
    if paste == "quarter":
        return pixels / 4
    rows, columns = (torch.full((n,), 2.0, dtype=pixels.dtype, device=pixels.device) for n in (height, width))
    rows[[0, -1]] = columns[[0, -1]] = 1
    return pixels / (rows[:, None] * columns)


def fuse(scores: Tensor) -> Tensor:
    """Encourage neighbouring queries to copy from neighbouring keys; (B, h, w, h, w) as (query, key) in and out.

    An identity kernel over the flat (query, key) matrix, row by row and then column by column; it wraps at row ends.
    """
    batch, h, w = scores.shape[:3]
    rows = _diagonal_sum(scores.reshape(batch, h * w, h * w), 1, 2, (-1, 0, 1)).view(batch, h, w, h, w)
    columns = rows.permute(0, 2, 1, 4, 3).reshape(batch, w * h, w * h)
    return _diagonal_sum(columns, 1, 2, (-1, 0, 1)).view(batch, w, h, w, h).permute(0, 2, 1, 4, 3)


class _DiagonalSum(torch.autograd.Function):
    """A linear map that saves nothing for backward: its transpose is the same sum with the offsets negated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, first: int, second: int, offsets: tuple[int, ...]) -> Tensor:
        ctx.arguments = first, second, tuple(-offset for offset in offsets)
        out: Tensor | None = None
        for offset in sorted(offsets, key=abs):
            if offset == 0:
                out = x.clone()
                continue
            assert out is not None  # 0 is always among the offsets
            to = [max(0, -offset), x.shape[first] - abs(offset)], [max(0, -offset), x.shape[second] - abs(offset)]
            source = x.narrow(first, max(0, offset), to[0][1]).narrow(second, max(0, offset), to[1][1])
            out.narrow(first, *to[0]).narrow(second, *to[1]).add_(source)
        assert out is not None
        return out

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None, None, None]:
        return _diagonal_sum(grad[0], *ctx.arguments), None, None, None


def _diagonal_sum(x: Tensor, first: int, second: int, offsets: Sequence[int]) -> Tensor:
    """Sum of copies of ``x`` that are shifted along two axes together; what lies beyond an end counts as 0.

    ``out[.., i, .., j, ..] = sum over d in offsets of x[.., i + d, .., j + d, ..]`` with i on axis ``first`` and j on
    axis ``second``. ``offsets`` contains 0.

    >>> _diagonal_sum(torch.arange(9.0).view(3, 3), 0, 1, (0, 1))
    tensor([[ 4.,  6.,  2.],
            [10., 12.,  5.],
            [ 6.,  7.,  8.]])
    """
    return _DiagonalSum.apply(x, first, second, tuple(offsets))
