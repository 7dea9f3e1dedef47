"""Iizuka, Simo-Serra, Ishikawa: Globally and Locally Consistent Image Completion, SIGGRAPH 2017."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.optim import Adadelta, Adam, Optimizer

from lit_inpaint.layers.local_crop import crop_at, local_crop, random_corner
from lit_inpaint.layers.sides import check_sides
from lit_inpaint.losses.bce import bce_discriminator, bce_generator, bce_generator_minimax
from lit_inpaint.methods.glcic.blend import blend
from lit_inpaint.methods.glcic.networks import CompletionNetwork, JointDiscriminator
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch, composite, erase, per_channel
from masks.size import Size


class GLCIC(InpaintingModule):
    """A dilated completion network against one discriminator of the whole image and of a crop around the hole.

    Three phases, by batches trained (Algorithm 1): ``completion_steps`` of the completion network alone, then
    ``discriminator_steps`` of the discriminator alone, then both, discriminator first. The phase follows from
    ``trainer.global_step``, so a resumed run is in the right one. The discriminator's real image is cropped where a
    second, independent mask lies: the masks of the batch rolled by one (with one image per batch there is no second
    mask).

    The authors published the network and no training code, so the variants are the paper and two programs:

    ==================  ==========================  ===========================  ===================================
    .                   paper                       otenim                       mmagic
    ==================  ==========================  ===========================  ===================================
    layer               conv, norm, ReLU            conv, ReLU, norm             conv, norm, ReLU
    input               [0, 1] - mean, hole 0       [0, 1], hole = mean          [-1, 1], hole 0
    output              sigmoid                     sigmoid                      clip
    completion loss     MSE in the hole             the same                     L1 over the batch's hole pixels
    discriminator sees  composite in [-1, 1]        raw output in [0, 1]         composite in [-1, 1]
    its crop            centred on the hole         anywhere around the hole     centred on the hole
    crop of the real    around the second mask      anywhere                     around the same mask
    its loss            BCE                         half; phase 3: half of       BCE
    .                                               weight * BCE
    generator's GAN     log(1 - D)                  -log D                       -log D
    generator's loss    completion + weight * GAN   half of that in phase 3      completion + weight * GAN
    adversarial weight  4e-4                        4e-4                         1e-3
    optimiser           ADADELTA                    ADADELTA                     Adam, 4e-4
    gradients left      none                        of the GAN term, see below   none
    ==================  ==========================  ===========================  ===================================

    The MSE is the mean over all elements of the masked squared difference, in [0, 1]; the paper writes the sum. otenim
    clears the discriminator's gradients after its own step only, so those of the generator's -log D enter its next
    one: 95 to 99 % of that gradient in the first steps of phase 3 come from there. The variant does the same; its
    checkpoints of phase 3 hold these gradients. otenim draws one area a batch and the holes inside it; here the mask
    law draws the holes, and each image has an area of its own, of the same law.

    >>> with torch.device("meta"):
    ...     method = GLCIC()
    >>> f"{sum(p.numel() for p in method.generator.parameters()):,}"
    '6,072,131'

    Args:
        completion_steps: T_C of the paper; the first phase.
        discriminator_steps: T_D; the second phase. Of T_train = 500,000 batches the rest is joint.
        size: Side of the training images, or (height, width), for the discriminator. Completion takes any size.
        local_size: Side of the discriminator's crop.
        width: Channels of the first layer of all networks.
        features: What each branch of the discriminator hands on.
        mean: Colour of the training data, (R, G, B) in [0, 1]; Places365 by default.
        adversarial_weight: None for the variant's.
        blend: Post-process by Telea and Poisson blending (off in the published program too). Holes thinner than 7 px
            become Telea's fill.
    """

    year: ClassVar[int] = 2017
    paper: ClassVar[str] = (
        "Iizuka, Simo-Serra, Ishikawa. Globally and Locally Consistent Image Completion. ACM Transactions on Graphics "
        "(SIGGRAPH) 2017"
    )
    imports: ClassVar[tuple[str, ...]] = ("torch7", "otenim", "mmagic")
    settings: ClassVar[tuple[str, ...]] = ("completion_steps", "discriminator_steps")
    exports: ClassVar[tuple[str, ...]] = ("otenim", "mmagic")
    multiple = 4

    def __init__(
        self,
        completion_steps: int = 90_000,
        discriminator_steps: int = 10_000,
        size: Size = 256,
        local_size: int = 128,
        width: int = 64,
        features: int = 1024,
        mean: tuple[float, float, float] = (0.4578, 0.4413, 0.4078),
        adversarial_weight: float | None = None,
        blend: bool = False,
        variant: Literal["paper", "otenim", "mmagic"] = "paper",
        **optimisation: Any,
    ) -> None:
        super().__init__(**optimisation)
        self.save_hyperparameters()
        self.completion_steps, self.discriminator_steps = completion_steps, discriminator_steps
        self.size, self.local_size = size, local_size
        self.mean, self.blend, self.variant = tuple(mean), blend, variant
        default_weight = 1e-3 if variant == "mmagic" else 4e-4
        self.adversarial_weight = default_weight if adversarial_weight is None else adversarial_weight
        order: Literal["norm_relu", "relu_norm"] = "relu_norm" if variant == "otenim" else "norm_relu"
        self.generator = CompletionNetwork(width, order)
        self.discriminator = JointDiscriminator(size, local_size, width, features, order)

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        if self.variant == "mmagic":
            return self.generator(erased, mask).clamp(-1, 1)
        mean = per_channel(self.mean, erased)
        image = (erased + 1) / 2
        image = erase(image, mask, mean) if self.variant == "otenim" else erase(image - mean, mask)
        return self.generator(image, mask).sigmoid() * 2 - 1

    def complete_unchecked(self, image: Tensor, mask: Tensor, **guides: Any) -> Tensor:
        inpainted = super().complete_unchecked(image, mask, **guides)
        return blend(inpainted, mask) if self.blend and len(inpainted[0]) == 3 else inpainted

    @property
    def changes_after(self) -> tuple[int, ...]:
        return self.completion_steps, self.completion_steps + self.discriminator_steps

    @property
    def phase(self) -> int:
        """Phase of the batch in progress: 1 trains the completion network, 2 the discriminator, 3 both."""
        return 1 + sum(self.trainer.global_step > last for last in self.changes_after)

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        image, mask = batch.image, batch.mask
        check_sides(image, "the global discriminator", exactly=self.size)  # not when its phase begins
        phase = self.phase
        optimizer_c, optimizer_d = self.optimizers()  # type: ignore[attr-defined]
        with torch.set_grad_enabled(phase != 2):
            prediction = self.predict(image, mask)
        otenim = self.variant == "otenim"

        losses = {"phase": torch.tensor(float(phase))}
        if phase >= 2:
            fake, real = self._judged(prediction, image, mask)
            with self.optimise(optimizer_d) as minimise:
                of_fake, of_real = self.discriminator(*(x.detach() for x in fake)), self.discriminator(*real)
                share = (self.adversarial_weight if phase == 3 else 1) / 2 if otenim else 1
                losses["discriminator_loss"] = share * bce_discriminator(of_real, of_fake)
                self.note_margin(of_real, of_fake)
                minimise(losses["discriminator_loss"])

        if phase != 2:
            with self.optimise(optimizer_c, leaving=self.discriminator if otenim else None) as minimise:
                losses["generator_loss"] = losses["completion"] = self._completion(prediction, image, mask)
                if phase == 3:
                    adversarial_loss = bce_generator_minimax if self.variant == "paper" else bce_generator
                    losses["adversarial"] = adversarial_loss(self.discriminator(*fake))
                    joint_loss = losses["completion"] + self.adversarial_weight * losses["adversarial"]
                    losses["generator_loss"] = joint_loss / 2 if otenim else joint_loss
                minimise(losses["generator_loss"], **losses)
        for name, value in losses.items():
            self.log(f"train/{name}", value, prog_bar=name == "completion", batch_size=len(image))

    def _judged(self, prediction: Tensor, image: Tensor, mask: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """What the discriminator sees: a whole image and its crop, fake and real."""
        size = self.local_size
        if self.variant == "otenim":
            fake, real = (prediction + 1) / 2, (image + 1) / 2
            around, anywhere = random_corner(mask, size), random_corner(torch.zeros_like(mask), size)
            return (fake, crop_at(fake, around, size)), (real, crop_at(real, anywhere, size))
        fake, other_mask = composite(prediction, image, mask), mask if self.variant == "mmagic" else mask.roll(1, 0)
        return (fake, local_crop(fake, mask, size)), (image, local_crop(image, other_mask, size))

    def _completion(self, prediction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
        if self.variant == "mmagic":  # in [-1, 1], over all holes of the batch
            return ((prediction - image).abs() * mask).sum() / (3 * mask.sum()).clamp(min=1)
        return (((prediction - image) / 2).square() * mask).mean()

    def configure_optimizers(self) -> list[Optimizer]:
        networks = self.generator, self.discriminator
        if self.variant == "mmagic":
            return [Adam(network.parameters(), lr=4e-4, fused=True) for network in networks]
        return [Adadelta(network.parameters()) for network in networks]
