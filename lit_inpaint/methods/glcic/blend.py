"""The optional post-processing of GLCIC (Iizuka et al. 2017, section 3.4; inpaint.lua of the authors)."""

import cv2
import numpy as np
import torch
from torch import Tensor

from masks.convention import composite, from_levels, hole_box, to_pixels


def blend(inpainted: Tensor, mask: Tensor) -> Tensor:
    """Paste the hole into a fast-marching (Telea) fill of the same image by Poisson blending, image by image.

    Both the source and the destination come from what the network saw and made: the true hole is never read. cv2 takes
    the centre of the clone from the bounding box of the mask, so a hole that touches the border would be shifted; such
    an image is padded first. OpenCV takes the network's gradients at three pixels and more from the known ones, so a
    hole thinner than seven is filled by Telea alone, as one whose box has a side of one or two, which the clone cannot
    take.

    Args:
        inpainted: (B, 3, H, W) in [-1, 1], known pixels and the network's hole.
        mask: (B, 1, H, W), 1 = hole.

    Returns:
        (B, 3, H, W), rounded to 8 bits in the hole, untouched elsewhere.
    """
    out = []
    for image, hole in zip(inpainted, mask, strict=True):
        if hole_box(hole) == (0, 0, 0, 0) or bool(hole.all()):
            out.append(image)
            continue
        binary = hole[0].cpu().numpy().astype(np.uint8) * 255
        pixels = cv2.copyMakeBorder(to_pixels(image), 3, 3, 3, 3, cv2.BORDER_REPLICATE)
        # Beyond the border the hole continues for Telea's fill and ends for the clone, which needs a rim.
        smooth = cv2.inpaint(pixels, cv2.copyMakeBorder(binary, 3, 3, 3, 3, cv2.BORDER_REPLICATE), 1, cv2.INPAINT_TELEA)
        binary = cv2.copyMakeBorder(binary, 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=0)
        left, top, width, height = cv2.boundingRect(binary)
        centre, cloned = (left + width // 2, top + height // 2), smooth
        if min(width, height) > 2:
            cloned = cv2.seamlessClone(pixels, smooth, binary, centre, cv2.NORMAL_CLONE)
        blended = from_levels(torch.from_numpy(cloned[3:-3, 3:-3].copy()).permute(2, 0, 1).to(image))
        out.append(composite(blended[None], image[None], hole[None])[0])
    return torch.stack(out)
