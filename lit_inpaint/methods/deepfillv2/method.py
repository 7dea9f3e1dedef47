"""DeepFill v2: gated convolution, contextual attention, SN-PatchGAN."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_inpaint.discriminators import SNPatchGAN
from lit_inpaint.layers.tf_same import Padding
from lit_inpaint.losses.hinge import hinge_discriminator, hinge_generator
from lit_inpaint.methods.deepfillv2.hed import hed_edges
from lit_inpaint.methods.deepfillv2.networks import Generator, Variant
from lit_inpaint.methods.deepfillv2.sketch import canny_edges
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch, composite, erase


class DeepFillV2(InpaintingModule):
    """Free-Form Image Inpainting with Gated Convolution (Yu et al. 2019), as its official code trains it.

    One batch is one step of the discriminator and then one of the generator, on the same images and masks, with one
    forward pass of the generator for both. The official code draws a fresh batch for each of the two steps, so its N
    iterations are N batches here and N updates of either network, while it reads 2 N batches of images.

    In bf16-mixed the convolutions run in bfloat16; contextual attention, spectral norm, the last convolution of either
    stage with its tanh, and all losses stay in float32.

    >>> with torch.device("meta"):
    ...     method = DeepFillV2()
    >>> f"{sum(p.numel() for p in method.generator.parameters()):,}"
    '4,052,478'

    Args:
        width: Channels of the first convolution of the generator before gating (48 in the paper).
        discriminator_width: Channels of the first convolution of the discriminator.
        sketch: Whether the networks take a channel of lines that say what the hole should hold. Trained with edges
            of the true image inside the hole.
        sketch_drop: Share of the training images whose lines are left out, so that one model works with and without
            a sketch. The official code drops none and has a model for either.
        canny: Thresholds of these edges, which are Canny's.
        hed: File of the weights of HED, whose edges the paper takes; None for Canny's.
        variant: Whose program the generator computes: see :class:`Generator`. Imported weights set it. The training
            step is the official one nevertheless: mmagic's has L1 over hole and known pixels, each over the batch.
        learning_rate: Learning rate of both Adams.
        betas: Betas of both Adams. The released code has (0.5, 0.999).
        adversarial_weight: Weight of the hinge term; the two L1 terms have weight 1.
        channels: 3, or 1 for grey images: no loss or layer asks for three.
        optimisation: ``accumulate``, ``clip_norm``, ``non_finite``, ``optimizers``, ``schedules`` of :class:`Stage`.
    """

    year: ClassVar[int] = 2019
    paper: ClassVar[str] = "Yu et al., Free-Form Image Inpainting with Gated Convolution, ICCV 2019"
    imports: ClassVar[tuple[str, ...]] = ("tensorflow", "nipponjo_tf", "nipponjo", "mmagic")
    guides: ClassVar[dict[str, str]] = {"sketch": "white lines that the hole follows, for a model with sketch=True"}
    settings: ClassVar[tuple[str, ...]] = ("sketch_drop", "canny", "hed")
    exports: ClassVar[tuple[str, ...]] = ("tensorflow", "nipponjo_tf", "nipponjo", "mmagic")
    multiple = 8

    def __init__(
        self,
        width: int = 48,
        discriminator_width: int = 64,
        sketch: bool = False,
        sketch_drop: float = 0.5,
        canny: tuple[int, int] = (100, 200),
        hed: str | None = None,
        variant: Variant = "official",
        learning_rate: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        adversarial_weight: float = 1.0,
        channels: Literal[1, 3] = 3,
        **optimisation: Any,
    ) -> None:
        super().__init__(**optimisation)
        self.save_hyperparameters()
        self.learning_rate, self.betas, self.adversarial_weight = learning_rate, betas, adversarial_weight
        self.sketch, self.sketch_drop, self.canny, self.hed = sketch, sketch_drop, canny, hed
        self.channels = channels
        self.generator = Generator(width, sketch, variant, channels)
        padding: Padding = "symmetric" if variant == "nipponjo" else "same"
        self.discriminator = SNPatchGAN(channels + (2 if sketch else 1), discriminator_width, padding)

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

    @property
    def guided_by(self) -> tuple[str, ...]:
        return ("sketch",) if self.sketch else ()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [
            torch.optim.Adam(self.generator.parameters(), self.learning_rate, self.betas, fused=True),
            torch.optim.Adam(self.discriminator.parameters(), self.learning_rate, self.betas, fused=True),
        ]

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        image, mask = batch.image, batch.mask
        optimizer_g, optimizer_d = self.optimizers()  # type: ignore[attr-defined]
        sketch = self._lines(image, mask) if self.sketch else None
        coarse, refined = self.generator(erase(image, mask), mask, sketch)
        completed = composite(refined, image, mask)

        with self.optimise(optimizer_d) as minimise:
            judged = torch.cat([self._judged(x, mask, sketch) for x in (image, completed.detach())])
            real, fake = self.discriminator(judged).chunk(2)
            discriminator_loss = hinge_discriminator(real, fake)
            self.note_margin(real, fake)
            minimise(discriminator_loss)

        with self.optimise(optimizer_g) as minimise:
            l1_coarse = F.l1_loss(coarse, image)  # over the whole image, of the raw outputs
            l1_refined = F.l1_loss(refined, image)
            adversarial = hinge_generator(self.discriminator(self._judged(completed, mask, sketch)))
            generator_loss = l1_coarse + l1_refined + self.adversarial_weight * adversarial
            minimise(generator_loss, l1_coarse=l1_coarse, l1_refined=l1_refined, adversarial=adversarial)

        self.log_dict(
            {
                "train/discriminator_loss": discriminator_loss,
                "train/l1_coarse": l1_coarse,
                "train/l1_refined": l1_refined,
                "train/adversarial": adversarial,
                "train/generator_loss": generator_loss,
            },
            batch_size=len(image),
        )

    @staticmethod
    def _judged(image: Tensor, mask: Tensor, sketch: Tensor | None) -> Tensor:
        """What the discriminator sees: an image and its mask, and the lines where the networks are guided."""
        return torch.cat([image, mask] if sketch is None else [image, mask, sketch], dim=1)

    def _lines(self, image: Tensor, mask: Tensor) -> Tensor:
        """Edges of the true image inside the hole, none for a random share of the images."""
        shown = torch.rand(len(image), 1, 1, 1, device=image.device) >= self.sketch_drop
        edges = canny_edges(image, self.canny) if self.hed is None else hed_edges(image, self.hed)
        return edges * mask * shown
