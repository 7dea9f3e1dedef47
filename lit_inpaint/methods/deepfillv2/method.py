"""DeepFill v2: gated convolution, contextual attention, SN-PatchGAN."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_inpaint.discriminators import SNPatchGAN
from lit_inpaint.losses.hinge import hinge_critic, hinge_generator
from lit_inpaint.methods.deepfillv2.networks import Generator, Variant
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch, composite


class DeepFillV2(InpaintingModule):
    """Free-Form Image Inpainting with Gated Convolution (Yu et al. 2019), as its official code trains it.

    One batch is one step of the critic and then one of the generator, on the same images and masks, with one forward
    pass of the generator for both. The official code draws a fresh batch for each of the two steps, so its N iterations
    are N batches here and N updates of either network, while it reads 2 N batches of images.

    In bf16-mixed the convolutions run in bfloat16; contextual attention, spectral norm, the last convolution of either
    stage with its tanh, and all losses stay in float32.

    Args:
        width: Channels of the first convolution of the generator before gating (48 in the paper).
        critic_width: Channels of the first convolution of the critic.
        sketch: Whether the networks take a channel of lines that say what the hole should hold.
        variant: Whose program the generator computes: see :class:`Generator`. Imported weights set it.
        learning_rate: Of both Adams.
        betas: Of both Adams. The released code has (0.5, 0.999).
        adversarial_weight: Of the hinge term beside the two L1 terms, whose weights are 1.
        optimisation: ``accumulate``, ``clip_norm``, ``non_finite`` of :class:`InpaintingModule`.
    """

    year: ClassVar[int] = 2019
    paper: ClassVar[str] = "Yu et al., Free-Form Image Inpainting with Gated Convolution, ICCV 2019"
    imports: ClassVar[tuple[str, ...]] = ("tensorflow", "nipponjo_tf", "nipponjo")
    multiple = 8

    def __init__(
        self,
        width: int = 48,
        critic_width: int = 64,
        sketch: bool = False,
        variant: Variant = "official",
        learning_rate: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        adversarial_weight: float = 1.0,
        **optimisation: Any,
    ) -> None:
        super().__init__(**optimisation)
        self.save_hyperparameters()
        self.learning_rate, self.betas, self.adversarial_weight = learning_rate, betas, adversarial_weight
        self.generator = Generator(width, sketch, variant)
        self.discriminator = SNPatchGAN(5 if sketch else 4, critic_width, symmetric=variant == "nipponjo")

    def fill(
        self,
        erased: Tensor,
        mask: Tensor,
        *,
        generators: Sequence[torch.Generator] | None = None,
        sketch: Tensor | None = None,
    ) -> Tensor:
        """The refined image. ``sketch``: (B, 1, H, W), 1 on a line, for a model with ``sketch=True``."""
        return self.generator(erased, mask, sketch)[1]

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [
            torch.optim.Adam(self.generator.parameters(), self.learning_rate, self.betas),
            torch.optim.Adam(self.discriminator.parameters(), self.learning_rate, self.betas),
        ]

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        image, mask = batch.image, batch.mask
        optimizer_g, optimizer_d = self.optimizers()  # type: ignore[attr-defined]
        coarse, refined = self.generator(image * (1 - mask), mask)
        completed = composite(refined, image, mask)

        with self.optimise(optimizer_d) as minimise:
            real, fake = self.discriminator(self._judged(torch.cat([image, completed.detach()]), mask)).chunk(2)
            critic = hinge_critic(real, fake)
            minimise(critic)

        with self.optimise(optimizer_g) as minimise:
            l1_coarse = F.l1_loss(coarse, image)  # over the whole image, of the raw outputs
            l1_refined = F.l1_loss(refined, image)
            adversarial = hinge_generator(self.discriminator(self._judged(completed, mask)))
            generator = l1_coarse + l1_refined + self.adversarial_weight * adversarial
            minimise(generator)

        self.log_dict(
            {
                "train/critic": critic,
                "train/l1_coarse": l1_coarse,
                "train/l1_refined": l1_refined,
                "train/adversarial": adversarial,
                "train/generator": generator,
            },
            batch_size=len(image),
        )

    @staticmethod
    def _judged(images: Tensor, mask: Tensor) -> Tensor:
        """What the critic sees: images, once or twice as many as masks, and the mask of each."""
        return torch.cat([images, mask.repeat(len(images) // len(mask), 1, 1, 1)], dim=1)
