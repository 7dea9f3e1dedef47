"""The soft-mask-guided PatchGAN (SM-PatchGAN) of AOT-GAN: section 3.2 of the paper, src/loss/loss.py of the program."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Variant = Literal["paper", "official", "mmagic"]


def soften(mask: Tensor, taps: int = 71, sigma: float = 10.0) -> Tensor:
    """Gaussian blur of (B, 1, H, W), zeros beyond the border: first the columns, then the rows.

    The official program convolves with all taps x taps weights at once; the Gaussian is a product, so this is the same.
    """
    with torch.autocast(mask.device.type, enabled=False):
        distance = torch.arange(taps, device=mask.device) - taps // 2
        kernel = torch.exp(-(distance**2) / (2 * sigma**2))
        kernel = (kernel / kernel.sum()).to(mask.dtype)
        columns = F.conv2d(mask, kernel.view(1, 1, -1, 1), padding=(taps // 2, 0))
        return F.conv2d(columns, kernel.view(1, 1, 1, -1), padding=(0, taps // 2))


def smgan_discriminator(real: Tensor, fake: Tensor, mask: Tensor, variant: Variant) -> Tensor:
    """Squared distance of the discriminator's maps (B, 1, h, w) to their labels, at the size of ``mask`` (B, 1, H, W).

    ========  ===========  ==========================================
    variant   real         completed
    ========  ===========  ==========================================
    paper     1            1 - softened mask: known is real, the hole is not
    official  0            softened mask
    mmagic    1            softened mask
    ========  ===========  ==========================================
    """
    softened = soften(mask)
    label_real = 0.0 if variant == "official" else 1.0
    label_fake = 1 - softened if variant == "paper" else softened
    return (enlarge(real, mask) - label_real).square().mean() + (enlarge(fake, mask) - label_fake).square().mean()


def smgan_generator(fake: Tensor, mask: Tensor, variant: Variant) -> Tensor:
    """Squared distance of the discriminator's map of the completed image to 1.

    Paper: over the hole of each image. The two programs reduce to one number before they multiply by the mask and
    divide by its mean, which leaves the mean over the whole image.
    """
    error = (enlarge(fake, mask) - 1).square()
    if variant == "paper":
        return ((error * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)).mean()
    return error.mean()


def enlarge(logits: Tensor, mask: Tensor) -> Tensor:
    return F.interpolate(logits, mask.shape[-2:], mode="bilinear", align_corners=True)
