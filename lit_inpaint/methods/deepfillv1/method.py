"""Yu, Lin, Yang, Shen, Lu, Huang: Generative Image Inpainting with Contextual Attention, CVPR 2018."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from lit_inpaint.layers.local_crop import local_crop
from lit_inpaint.losses.wasserstein import gradient_penalty, wasserstein_discriminator, wasserstein_generator
from lit_inpaint.methods.deepfillv1.loss import spatial_discount
from lit_inpaint.methods.deepfillv1.networks import Discriminator, Generator, Variant
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch, composite
from masks.size import Size


class DeepFillV1(InpaintingModule):
    """A coarse and a refinement network with contextual attention, against two Wasserstein discriminators.

    One batch trains the discriminators or the generator, never both: ``discriminator_updates`` batches for the
    discriminators, then one for the generator, each with images and masks of its own, as in the official program. One
    of its iterations is therefore ``discriminator_updates + 1`` batches here. The discriminators see the composite, and
    its crop around the hole.

    Numbers are those of the official program; the paper gives none but gamma and lambda. The reconstruction in the hole
    is discounted over the crop around it, raw outputs, rim included; that of known pixels is divided by their share,
    image by image. ``variant="daa233"`` and ``"mmagic"`` are the generator (and daa233's discriminators) as in those
    programs, for their weights; the training step is the official one nevertheless.

    >>> with torch.device("meta"):
    ...     method = DeepFillV1()
    >>> f"{sum(p.numel() for p in method.generator.parameters()):,}"
    '3,601,542'

    Args:
        width: Channels of the generator's first layer.
        discriminator_width: Channels of the discriminators' first layer.
        size: Side of the training images, or (height, width), for the global discriminator. The generator takes any
            size.
        local_size: Side of the local discriminator's crop.
        gamma: Base of the discount.
        discriminator_updates: Discriminator batches before each generator batch.
        penalty_weight: lambda of the gradient penalty, restricted to the hole.
        adversarial_weight, hole_weight, known_weight: Weights of the three generator losses.
        coarse_weight: Weight of the coarse output within the last two.
        learning_rate, betas: Adam's, for both optimisers.
    """

    year: ClassVar[int] = 2018
    paper: ClassVar[str] = (
        "Yu, Lin, Yang, Shen, Lu, Huang. Generative Image Inpainting with Contextual Attention. CVPR 2018"
    )
    imports: ClassVar[tuple[str, ...]] = ("tensorflow", "daa233", "mmagic")
    exports: ClassVar[tuple[str, ...]] = ("daa233", "daa233_converted", "mmagic")
    settings: ClassVar[tuple[str, ...]] = ("gamma", "discriminator_updates")
    uncompiled: ClassVar[dict[str, str]] = dict.fromkeys(
        ("discriminator_global", "discriminator_local"), "its penalty differentiates a gradient"
    )
    multiple = 8

    def __init__(
        self,
        width: int = 32,
        discriminator_width: int = 64,
        size: Size = 256,
        local_size: int = 128,
        variant: Variant = "official",
        gamma: float = 0.9,
        discriminator_updates: int = 5,
        penalty_weight: float = 10.0,
        adversarial_weight: float = 0.001,
        hole_weight: float = 1.2,
        known_weight: float = 1.2,
        coarse_weight: float = 1.2,
        learning_rate: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.9),
        **optimisation: Any,
    ) -> None:
        super().__init__(**optimisation)
        self.save_hyperparameters()
        self.local_size, self.gamma, self.discriminator_updates = local_size, gamma, discriminator_updates
        self.penalty_weight, self.adversarial_weight = penalty_weight, adversarial_weight
        self.hole_weight, self.known_weight, self.coarse_weight = hole_weight, known_weight, coarse_weight
        self.learning_rate, self.betas = learning_rate, (betas[0], betas[1])
        self.generator = Generator(width, variant)
        discriminator: Variant = "daa233" if variant == "daa233" else "official"
        self.discriminator_global = Discriminator(size, discriminator_width, 4, discriminator)
        # The port's local discriminator ends in 4 * discriminator_width channels, the official one in 8.
        self.discriminator_local = Discriminator(
            local_size, discriminator_width, 8 if discriminator == "official" else 4, discriminator
        )

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        return self.generator(erased, mask)[1]

    @property
    def turn(self) -> int:
        return self.discriminator_updates + 1

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        # global_step counts the batch in progress already.
        if (self.trainer.global_step - 1) % self.turn < self.discriminator_updates:
            self._train_discriminators(batch.image, batch.mask)
        else:
            self._train_generator(batch.image, batch.mask)

    def _train_discriminators(self, image: Tensor, mask: Tensor) -> None:
        _, optimizer_d = self.optimizers()  # type: ignore[attr-defined]
        with torch.no_grad():
            completed = composite(self.predict(image, mask), image, mask)
        crop = local_crop(torch.cat([image, completed, mask], 1), mask, self.local_size)
        image_crop, completed_crop, mask_crop = crop.split((3, 3, 1), 1)

        with self.optimise(optimizer_d) as minimise:
            real, fake = self.discriminator_global(torch.cat([image, completed])).chunk(2)
            discriminator_global_loss = wasserstein_discriminator(real, fake)
            self.note_margin(real, fake)
            real, fake = self.discriminator_local(torch.cat([image_crop, completed_crop])).chunk(2)
            discriminator_local_loss = wasserstein_discriminator(real, fake)
            self.note_margin(real, fake)
            penalty_global = gradient_penalty(self.discriminator_global, image, completed, mask)
            penalty_local = gradient_penalty(self.discriminator_local, image_crop, completed_crop, mask_crop)
            wasserstein = discriminator_global_loss + discriminator_local_loss
            penalty = penalty_global + penalty_local
            discriminator_loss = wasserstein + self.penalty_weight * penalty
            minimise(discriminator_loss, wasserstein=wasserstein, penalty=penalty)
        self.log_dict(
            {
                "train/discriminator_global_loss": discriminator_global_loss,
                "train/discriminator_local_loss": discriminator_local_loss,
                "train/penalty": penalty,
                "train/discriminator_loss": discriminator_loss,
            },
            batch_size=len(image),
        )

    def _train_generator(self, image: Tensor, mask: Tensor) -> None:
        optimizer_g, _ = self.optimizers()  # type: ignore[attr-defined]
        with self.optimise(optimizer_g) as minimise:
            coarse, refined = self.generator(image * (1 - mask), mask)
            completed = composite(refined, image, mask)
            discount = spatial_discount(self.local_size, self.gamma).to(image)
            known = 1 - mask

            def hole(output: Tensor) -> Tensor:
                return (local_crop((output - image).abs(), mask, self.local_size) * discount).mean()

            def rest(output: Tensor) -> Tensor:
                share = known.mean((1, 2, 3)).clamp(min=1 / known[0].numel())
                return (((output - image).abs() * known).mean((1, 2, 3)) / share).mean()

            losses = {
                "hole": self.coarse_weight * hole(coarse) + hole(refined),
                "known": self.coarse_weight * rest(coarse) + rest(refined),
                "adversarial": wasserstein_generator(self.discriminator_global(completed))
                + wasserstein_generator(self.discriminator_local(local_crop(completed, mask, self.local_size))),
            }
            generator_loss = (
                self.hole_weight * losses["hole"]
                + self.known_weight * losses["known"]
                + self.adversarial_weight * losses["adversarial"]
            )
            minimise(generator_loss, **losses)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, batch_size=len(image))
        self.log("train/generator_loss", generator_loss, prog_bar=True, batch_size=len(image))

    def configure_optimizers(self) -> list[Optimizer]:
        discriminators = [*self.discriminator_global.parameters(), *self.discriminator_local.parameters()]
        parameters = self.generator.parameters(), discriminators
        return [Adam(each, self.learning_rate, self.betas, fused=True) for each in parameters]
