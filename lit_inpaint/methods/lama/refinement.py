"""Feature refinement at inference (Kulshreshtha et al., "Feature Refinement to Improve High Resolution Image
Inpainting", 2022; saicinpainting/evaluation/refinement.py of advimman/lama)."""

import math

import cv2
import torch
from torch import Tensor
from torch.nn import functional as F

from lit_inpaint.methods.lama.networks import Generator

MIN_SIDE, MAX_SCALES, RATE = 512, 3, 0.002


def refine(generator: Generator, image: Tensor, mask: Tensor, steps: int) -> Tensor:
    """Complete a small copy first; then let each larger one agree with it, by descent on the features.

    The features in front of the blocks are moved by Adam so that the output equals the image where it is known and,
    scaled down, the smaller copy's result well inside the hole. Sides below 724 px have one scale, which only looks.
    The program also shrinks images of more than 1.8 million pixels, for want of memory.

    Args:
        image: (B, 3, H, W) in **[0, 1]**, 0 in the hole, of any size: each scale is mirrored to multiples of 8. One
            image after the other is refined.
        mask: (B, 1, H, W), 1 = hole.
        steps: Iterations at each scale; the last one only looks, as in the program (15 there).

    Returns:
        (B, 3, H, W) in [0, 1]; known pixels are the image's.
    """
    scales = min(1 + max(0, round(math.log2(min(image.shape[-2:]) / MIN_SIDE))), MAX_SCALES)
    pairs = zip(image.split(1), mask.split(1), strict=True)
    return torch.cat([_refine_one(generator, *pair, scales, steps) for pair in pairs])


def _refine_one(generator: Generator, image: Tensor, mask: Tensor, scales: int, steps: int) -> Tensor:
    pyramid = [(image, mask)]
    for _ in range(scales - 1):
        smaller = blur_and_halve(pyramid[-1][1])
        pyramid.append((blur_and_halve(pyramid[-1][0]), (smaller >= 1e-8).to(mask.dtype)))
    result: Tensor | None = None
    for x, hole in reversed(pyramid):
        height, width = x.shape[-2:]
        pad = (0, -width % 8, 0, -height % 8)
        mode = "reflect" if pad[1] < width and pad[3] < height else "replicate"
        padded = F.pad(x, pad, mode), F.pad(hole, pad, mode)
        result = _at_scale(generator, *padded, result, (height, width), steps)
        result = result[..., :height, :width]
    assert result is not None
    return result


def _at_scale(
    generator: Generator, image: Tensor, mask: Tensor, below: Tensor | None, size: tuple[int, int], steps: int
) -> Tensor:
    erased = image * (1 - mask)
    with torch.no_grad():
        features = generator.encode(erased, mask)
        if below is None:
            return mask * generator.decode(features) + (1 - mask) * image
    half = below.shape[-2:]
    inside = erode((F.interpolate(mask[..., : size[0], : size[1]], half, mode="bilinear") >= 1 - 1e-8).to(mask.dtype))
    known, inside = (1 - mask).expand_as(image) == 1, inside.expand_as(below) >= 1e-8
    with torch.enable_grad(), torch.inference_mode(False):
        local, global_ = (x.detach().clone().requires_grad_() for x in features)
        optimizer = torch.optim.Adam([local, global_], lr=RATE)
        frozen = [p for p in generator.parameters() if p.requires_grad]
        for p in frozen:
            p.requires_grad_(False)
        try:
            for step in range(steps):
                output = generator.decode((local, global_))
                loss = (output[known] - image[known]).abs().mean()
                if inside.any():  # a hole narrower than the eroding disc has no inside
                    smaller = blur_and_halve(output[..., : size[0], : size[1]])
                    loss = loss + (smaller[inside] - below[inside]).abs().mean()
                if step < steps - 1:
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
        finally:
            for p in frozen:
                p.requires_grad_(True)
    return (mask * output + (1 - mask) * image).detach()


def blur_and_halve(x: Tensor) -> Tensor:
    """Gaussian of 5 pixels and sigma 1 with reflected borders, then bilinear to half the sides."""
    line = torch.exp(-torch.arange(-2.0, 3.0, device=x.device).square() / 2)
    kernel = (torch.outer(line, line) / line.sum() ** 2).to(x.dtype).expand(x.shape[1], 1, 5, 5)
    blurred = F.conv2d(F.pad(x, (2, 2, 2, 2), "reflect"), kernel, groups=x.shape[1])
    return F.interpolate(blurred, (x.shape[-2] // 2, x.shape[-1] // 2), mode="bilinear")


def erode(mask: Tensor) -> Tensor:
    """By a disc of 15 pixels; what lies beyond the border counts as hole."""
    disc = torch.from_numpy(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (15, 15))).to(mask)
    outside = F.conv2d(F.pad(1 - mask, (7, 7, 7, 7)), disc[None, None])
    return (outside < 0.5).to(mask.dtype)
