"""Zeng, Fu, Chao, Guo: Aggregated Contextual Transformations for High-Resolution Image Inpainting, TVCG 2022."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from lit_inpaint.discriminators import SpectralPatchGAN
from lit_inpaint.losses.perceptual import VGG19Features, perceptual, style
from lit_inpaint.methods.aotgan.loss import Variant, smgan_discriminator, smgan_generator
from lit_inpaint.methods.aotgan.networks import Generator
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch, composite, erase

_PERCEPTUAL = (1, 6, 11, 20, 29)  # relu1_1, relu2_1, relu3_1, relu4_1, relu5_1
_STYLE = (8, 17, 26, 31)  # relu2_2, relu3_4, relu4_4, relu5_2


class AOTGAN(InpaintingModule):
    """Blocks of dilated convolutions under a gate, against a discriminator trained with a softened mask.

    L1, style and perceptual losses compare the raw output with the truth; the discriminator sees the completed image.
    The networks are the same in all variants, the discriminator's labels are not. The released program labels real
    images 0 and holes 1 and pulls the generator towards 1, so that it is rewarded for looking completed (its issue 2),
    and, as its one backward pass through the discriminator is not cleared, trains the discriminator with the
    generator's adversarial term too.

    ========================  =====================  ==============  =============
    .                         paper                  official        mmagic
    ========================  =====================  ==============  =============
    discriminator, real       1                      0               1
    discriminator, completed  1 - softened mask      softened mask   softened mask
    generator, completed      1, in the hole         1, everywhere   1, everywhere
    Adam's betas              0, 0.9                 0.5, 0.999      0, 0.9
    ========================  =====================  ==============  =============

    The text of the paper was not at hand: its labels are those that the questions on the program cite from it, its
    betas mmagic's. In all variants the generator steps first and the discriminator then judges what it had made before,
    as in the program; mmagic steps the discriminator first. Real and completed images pass the discriminator together,
    so its power iteration advances twice per step, not three times; :class:`Health` gets no margin of it, for its
    labels differ from patch to patch. In bf16-mixed the gates, the last convolution with
    its tanh, spectral norm, Gram matrices and all losses stay in float32.

    >>> with torch.device("meta"):
    ...     method = AOTGAN()
    >>> f"{sum(p.numel() for p in method.generator.parameters()):,}"
    '15,200,835'

    Args:
        width: Channels of the generator's first convolution.
        blocks: AOT blocks.
        rates: Dilations in each block.
        discriminator_width: Channels of the discriminator's first convolution.
        variant: Whose labels and betas.
        learning_rate: Learning rate of both Adams.
        betas: Betas of both Adams; None for the variant's.
        adversarial_weight, style_weight, perceptual_weight: Beside the L1, whose weight is 1. Style and perceptual loss
            need VGG19; both 0 trains without it.
        optimisation: ``accumulate``, ``clip_norm``, ``non_finite``, ``optimizers``, ``schedules`` of :class:`Stage`.
    """

    year: ClassVar[int] = 2021
    paper: ClassVar[str] = (
        "Zeng, Fu, Chao, Guo. Aggregated Contextual Transformations for High-Resolution Image Inpainting. IEEE TVCG "
        "2022, arXiv 2021"
    )
    imports: ClassVar[tuple[str, ...]] = ("official", "mmagic")
    exports: ClassVar[tuple[str, ...]] = ("official",)
    needs: ClassVar[tuple[str, ...]] = ("vgg19",)
    multiple = 4

    def __init__(
        self,
        width: int = 64,
        blocks: int = 8,
        rates: tuple[int, ...] = (1, 2, 4, 8),
        discriminator_width: int = 64,
        variant: Variant = "paper",
        learning_rate: float = 1e-4,
        betas: tuple[float, float] | None = None,
        adversarial_weight: float = 0.01,
        style_weight: float = 250.0,
        perceptual_weight: float = 0.1,
        **optimisation: Any,
    ) -> None:
        super().__init__(**optimisation)
        self.save_hyperparameters()
        self.variant, self.learning_rate = variant, learning_rate
        self.betas = betas or ((0.5, 0.999) if variant == "official" else (0.0, 0.9))
        self.adversarial_weight = adversarial_weight
        self.style_weight, self.perceptual_weight = style_weight, perceptual_weight
        self.generator = Generator(width, blocks, rates)
        self.discriminator = SpectralPatchGAN(3, discriminator_width)
        self.features = VGG19Features(sorted(_PERCEPTUAL + _STYLE))

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        return self.generator(erase(erased, mask, 1.0), mask)

    def on_fit_start(self) -> None:
        if self.style_weight or self.perceptual_weight:
            self.features.require("To train without it, set style_weight and perceptual_weight to 0.")

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        image, mask = batch.image, batch.mask
        optimizer_g, optimizer_d = self.optimizers()  # type: ignore[attr-defined]
        prediction = self.predict(image, mask)
        completed = composite(prediction, image, mask)

        with self.optimise(optimizer_g) as minimise:
            l1 = F.l1_loss(prediction, image)
            adversarial = smgan_generator(self.discriminator(completed), mask, self.variant)
            generator_loss = l1 + self.adversarial_weight * adversarial
            losses = {"l1": l1, "adversarial": adversarial}
            if self.style_weight or self.perceptual_weight:
                losses |= self._of_features(prediction, image)
                generator_loss = generator_loss + self.style_weight * losses["style"]
                generator_loss = generator_loss + self.perceptual_weight * losses["perceptual"]
            minimise(generator_loss, **losses)

        with self.optimise(optimizer_d) as minimise:
            real, fake = self.discriminator(torch.cat([image, completed.detach()])).chunk(2)
            discriminator_loss = smgan_discriminator(real, fake, mask, self.variant)
            if self.variant == "official":  # trainer.py: the gradient of the generator's term is not cleared
                discriminator_loss = discriminator_loss + self.adversarial_weight * smgan_generator(
                    fake, mask, self.variant
                )
            minimise(discriminator_loss)

        self.log_dict({f"train/{name}": loss for name, loss in losses.items()}, batch_size=len(image))
        self.log_dict(
            {"train/generator_loss": generator_loss, "train/discriminator_loss": discriminator_loss},
            batch_size=len(image),
        )

    def _of_features(self, prediction: Tensor, image: Tensor) -> dict[str, Tensor]:
        """Style and perceptual loss from one pass of VGG19 each for the prediction and the truth."""
        with torch.no_grad():
            of_truth = dict(zip(self.features.layers, self.features((image + 1) / 2), strict=True))
        of_output = dict(zip(self.features.layers, self.features((prediction + 1) / 2), strict=True))
        return {
            "style": style([of_output[i] for i in _STYLE], [of_truth[i] for i in _STYLE]),
            "perceptual": perceptual([of_output[i] for i in _PERCEPTUAL], [of_truth[i] for i in _PERCEPTUAL]),
        }

    def configure_optimizers(self) -> list[Optimizer]:
        return [
            Adam(network.parameters(), self.learning_rate, self.betas, fused=True)
            for network in (self.generator, self.discriminator)
        ]
