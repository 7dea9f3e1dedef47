"""MI-GAN: a small U-Net whose released weights fill holes of Places2 photographs at 512x512."""

from collections.abc import Sequence
from typing import ClassVar, NoReturn

import torch
from torch import Tensor

from lit_inpaint.methods.migan.networks import Generator
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch


class MIGAN(InpaintingModule):
    """MI-GAN: A Simple Baseline for Image Inpainting on Mobile Devices (Sargsyan et al. 2023), for evaluation.

    The released generator alone: its training distils Co-Mod-GAN and is not part of this project. A checkpoint comes
    from ``lit-inpaint import-weights MIGAN FILE --out X.ckpt``. The network has one size; other images are cropped
    around the hole or resized, as :meth:`adaptation` says. It always computes in float32.

    >>> with torch.device("meta"):
    ...     method = MIGAN()
    >>> f"{sum(p.numel() for p in method.generator.parameters()):,}"
    '5,893,158'

    Args:
        size: Side of the image: 512 (Places2) or 256 (Places2, FFHQ).
    """

    year: ClassVar[int] = 2023
    paper: ClassVar[str] = (
        "Sargsyan et al., MI-GAN: A Simple Baseline for Image Inpainting on Mobile Devices, ICCV 2023"
    )
    imports: ClassVar[tuple[str, ...]] = ("Picsart MI-GAN",)
    trainable: ClassVar[bool] = False

    def __init__(self, size: int = 512) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.fixed_size = size
        self.generator = Generator(size)

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        with torch.autocast(erased.device.type, enabled=False):
            return self.generator(erased.float(), mask.float())

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> NoReturn:
        raise ValueError("MIGAN is for evaluation only: import its released weights; use test, predict or benchmark.")

    def configure_optimizers(self) -> NoReturn:
        self.training_step(InpaintingBatch(torch.empty(0), torch.empty(0), ""), 0)
