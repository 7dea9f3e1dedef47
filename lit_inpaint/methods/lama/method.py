"""Resolution-robust Large Mask Inpainting with Fourier Convolutions (LaMa)."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from lit_inpaint.losses.bce import bce_generator
from lit_inpaint.methods.lama.loss import (
    HighReceptiveFieldFeatures,
    feature_matching,
    masked_bce_discriminator,
    mean_over_hole,
    r1_penalty,
)
from lit_inpaint.methods.lama.networks import Discriminator, Generator
from lit_inpaint.methods.lama.refinement import refine
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch

Variant = Literal["official", "paper"]


class LaMa(InpaintingModule):
    """Fast Fourier convolutions and large training holes (Suvorov et al., WACV 2022).

    The networks work in [0, 1]; every loss sees the raw output, never the composite. A step trains the generator, then
    the discriminator on what the generator makes after its own step, so it runs the generator twice.

    ================  ==============================  =======================
    .                 official                        paper
    ================  ==============================  =======================
    L1                10, on known pixels             none
    perceptual        sum over four stages            mean over them
    ================  ==============================  =======================

    The text of the paper has the two sides of its equation 2 the other way round; the hole is what the discriminator
    calls fake, as in the program. Convolutions run in bfloat16 under bf16-mixed; Fourier units, the image, R1 and all
    losses stay in float32. Batch norm stands in both networks: at least ten images per device, or ``sync_batchnorm``.

    >>> with torch.device("meta"):
    ...     method = LaMa()
    >>> f"{sum(p.numel() for p in method.generator.parameters()):,}"
    '27,048,835'

    Args:
        width: Channels of the generator's first convolution.
        blocks: Residual blocks; 18 is Big LaMa.
        discriminator_width: Channels of the discriminator's first convolution.
        variant: Whose losses.
        segmentation_weights: ``encoder_epoch_20.pth`` of CSAIL's ADE20k program, for the perceptual loss.
        perceptual_weight: Weight of that loss (alpha); 0 trains without the file.
        adversarial_weight: Weight of the generator's adversarial loss (kappa); the discriminator's has weight 1.
        feature_weight: Weight of feature matching (beta).
        gradient_weight: Weight of R1 (gamma), at every step of the discriminator.
        share_forward: Judge the images of the generator's own step, made before its update: one forward pass less, on
            other images than the published program shows its discriminator.
        learning_rate, discriminator_learning_rate: Learning rates of the two Adams.
        clip_norm: Largest norm of the gradient of either network.
        refinement_steps: Adam steps on the features at inference, above 724 px (Kulshreshtha et al. 2022: 15).
        optimisation: ``accumulate``, ``non_finite``, ``optimizers``, ``schedules`` of :class:`Stage`.
    """

    year: ClassVar[int] = 2022
    paper: ClassVar[str] = (
        "Suvorov et al., Resolution-robust Large Mask Inpainting with Fourier Convolutions, WACV 2022"
    )
    imports: ClassVar[tuple[str, ...]] = ("official",)
    settings: ClassVar[tuple[str, ...]] = ("segmentation_weights", "share_forward")
    exports: ClassVar[tuple[str, ...]] = ("official",)
    needs: ClassVar[tuple[str, ...]] = ("resnet50_ade20k",)
    uncompiled: ClassVar[dict[str, str]] = {
        "generator": "the compiler has no complex numbers for its Fourier units",
        "discriminator": "R1 differentiates its gradient",
    }
    multiple = 8

    def __init__(
        self,
        width: int = 64,
        blocks: int = 9,
        discriminator_width: int = 64,
        variant: Variant = "official",
        segmentation_weights: str | None = None,
        perceptual_weight: float = 30.0,
        adversarial_weight: float = 10.0,
        feature_weight: float = 100.0,
        gradient_weight: float = 0.001,
        share_forward: bool = False,
        learning_rate: float = 1e-3,
        discriminator_learning_rate: float = 1e-4,
        clip_norm: float | None = 1.0,
        refinement_steps: int = 0,
        **optimisation: Any,
    ) -> None:
        super().__init__(clip_norm=clip_norm, **optimisation)
        self.save_hyperparameters()
        self.variant, self.share_forward, self.refinement_steps = variant, share_forward, refinement_steps
        if refinement_steps:
            self.multiple = 1  # refine() mirrors each scale itself
        self.perceptual_weight, self.adversarial_weight = perceptual_weight, adversarial_weight
        self.feature_weight, self.gradient_weight = feature_weight, gradient_weight
        self.learning_rate, self.discriminator_learning_rate = learning_rate, discriminator_learning_rate
        self.generator = Generator(width, blocks)
        self.discriminator = Discriminator(discriminator_width)
        self.features = HighReceptiveFieldFeatures(segmentation_weights)

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        image = (erased + 1) / 2 * (1 - mask)
        if self.refinement_steps and not self.training:
            return 2 * refine(self.generator, image, mask, self.refinement_steps) - 1
        return 2 * self.generator(image, mask) - 1

    def pad(self, x: Tensor, right: int, bottom: int) -> Tensor:
        """Mirrored with the border pixel repeated, as in the program's ``pad_tensor_to_modulo`` and its data sets."""
        if right > x.shape[-1] or bottom > x.shape[-2]:
            return super().pad(x, right, bottom)
        x = torch.cat([x, x.flip(-1)[..., :right]], dim=-1)
        return torch.cat([x, x.flip(-2)[..., :bottom, :]], dim=-2)

    def on_fit_start(self) -> None:
        if self.perceptual_weight:
            self.features.require()

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        truth, mask = (batch.image + 1) / 2, batch.mask
        erased = truth * (1 - mask)
        optimizer_g, optimizer_d = self.optimizers()  # type: ignore[attr-defined]

        with self.optimise(optimizer_g) as minimise:
            prediction = self.generator(erased, mask)
            _, of_truth = self.discriminator(truth)
            logits, of_prediction = self.discriminator(prediction)
            losses = {
                "adversarial": bce_generator(logits),
                "feature_matching": feature_matching(of_prediction, of_truth),
            }
            generator_loss = self.adversarial_weight * losses["adversarial"]
            generator_loss = generator_loss + self.feature_weight * losses["feature_matching"]
            if self.variant == "official":
                losses["l1_known"] = ((prediction - truth).abs() * (1 - mask)).mean()
                generator_loss = generator_loss + 10 * losses["l1_known"]
            if self.perceptual_weight:
                losses["perceptual"] = self._perceptual(prediction, truth)
                generator_loss = generator_loss + self.perceptual_weight * losses["perceptual"]
            minimise(generator_loss, **losses)

        with self.optimise(optimizer_d) as minimise:
            if self.share_forward:
                fake = prediction.detach()
            else:
                with torch.no_grad():
                    fake = self.generator(erased, mask)
            with torch.autocast(truth.device.type, enabled=False):  # a gradient of a gradient
                truth.requires_grad_()
                of_real, _ = self.discriminator(truth)
                r1 = r1_penalty(of_real, truth)
            of_fake, _ = self.discriminator(fake)
            discriminator_loss = masked_bce_discriminator(of_real, of_fake, mask)
            self.note_margin(of_real, mean_over_hole(of_fake.detach(), mask))
            minimise(discriminator_loss + self.gradient_weight * r1, discriminator_loss=discriminator_loss, r1=r1)

        self.log_dict({f"train/{name}": loss for name, loss in losses.items()}, batch_size=len(mask))
        self.log_dict(
            {"train/generator_loss": generator_loss, "train/discriminator_loss": discriminator_loss, "train/r1": r1},
            batch_size=len(mask),
        )

    def _perceptual(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """Squared distance in the four stages of a network whose receptive field covers the whole image."""
        with torch.no_grad():
            of_truth = self.features(truth)
        stages = [F.mse_loss(a.float(), b.float()) for a, b in zip(self.features(prediction), of_truth, strict=True)]
        return torch.stack(stages).mean() if self.variant == "paper" else torch.stack(stages).sum()

    def configure_optimizers(self) -> list[Optimizer]:
        return [
            Adam(self.generator.parameters(), self.learning_rate, fused=True),
            Adam(self.discriminator.parameters(), self.discriminator_learning_rate, fused=True),
        ]
