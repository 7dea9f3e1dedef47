"""Pathak, Krähenbühl, Donahue, Darrell, Efros: Context Encoders: Feature Learning by Inpainting, CVPR 2016."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from lit_inpaint.layers.sides import check_sides
from lit_inpaint.losses.bce import bce_discriminator, bce_generator
from lit_inpaint.methods.context_encoder.networks import Discriminator, Generator, convolutions, zero_conv_biases
from lit_inpaint.methods.context_encoder.stale import StaleLoss, by_reference
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch, erase, hole_box, per_channel

# 2 * (117, 104, 123) / 255 - 1 in (R, G, B): Caffe's mean colour in the order in which the authors' program has it.
MEAN_COLOUR = (2 * 117 / 255 - 1, 2 * 104 / 255 - 1, 2 * 123 / 255 - 1)


class ContextEncoder(InpaintingModule):
    """An encoder-decoder that predicts a region from its surroundings, with a masked L2 and an adversarial loss.

    ``region="centre"``: the network predicts the central ``size / 2`` px square of a ``size`` px image in which the
    square less a band of ``overlap`` px on each side is blanked (56 of 128 px by default), and only that is pasted.
    The discriminator sees the raw predicted square, band included, against the real one. ``region="random"``: the
    network predicts the whole image around any hole, and the discriminator sees the whole raw prediction against the
    whole image.

    The network takes ``size`` px only. :meth:`forward` crops that much around the hole of a larger image; where hole
    or image do not allow it, it resizes in and out. The centre network blanks its whole square whatever the shape of
    the hole in it, and an off-centre hole is moved to the centre, with the mean colour beyond the border of the image.
    A hole larger than the square is refused.

    Two programs train it, the authors' (Lua; the default) and a port to PyTorch:

    ====================  =======================================  ==========================================
    .                     official                                 boyuanjiang
    ====================  =======================================  ==========================================
    generator's GAN loss  of the discriminator's output from       of its output after its update
    .                     before its update
    its gradient passes   activations of then, weights of now      activations and weights of now
    convolutions' biases  zeroed before both networks' updates     none: zero, not trained
    ====================  =======================================  ==========================================

    The port also has ``l2_weight`` .996004 (its .998 twice), ``adversarial_weight`` .002 and ``learning_rate`` 2e-4.
    Left alone: Torch7's Adam adds its epsilon before the bias correction, torch's after it, which makes the generator's
    first update of a 64 px network 3 % shorter there; and under autocast the weights of the official gradient are those
    of then.

    Where the sources differ: ``overlap`` is 7 in the paper's text and 4 in the authors' program (the default). The
    authors' inpainting networks have the 4000-d bottleneck; ``bottleneck=None`` is the channel-wise fully connected
    layer that the paper describes (section 3.1). Random regions have no overlap weighting in the published command.

    >>> with torch.device("meta"):
    ...     method = ContextEncoder()
    >>> f"{sum(p.numel() for p in method.generator.parameters()):,}"
    '71,130,531'

    Args:
        region: What is predicted, see above.
        size: Side of the image, 128 or 64. 64 px and the centre are no published network.
        overlap: Width in px of the band of known pixels that the centre network predicts as well.
        overlap_weight: Weight of the L2 in that band; the mean is over all elements nevertheless (train.lua).
        width: Channels of the first layer of both networks.
        l2_weight, adversarial_weight: .999 and .001. With adversarial weight 0 there is no discriminator.
        learning_rate, discriminator_learning_rate: Adam's; the generator's is ten times the other (train.lua).
        variant: The program whose training step this is; the networks are the same.
    """

    year: ClassVar[int] = 2016
    paper: ClassVar[str] = (
        "Pathak, Krähenbühl, Donahue, Darrell, Efros. Context Encoders: Feature Learning by Inpainting. CVPR 2016"
    )
    imports: ClassVar[tuple[str, ...]] = ("torch7", "boyuanjiang")
    exports: ClassVar[tuple[str, ...]] = ("boyuanjiang",)
    settings: ClassVar[tuple[str, ...]] = ("variant",)

    def __init__(
        self,
        region: Literal["centre", "random"] = "centre",
        size: Literal[64, 128] = 128,
        overlap: int = 4,
        overlap_weight: float = 10.0,
        width: int = 64,
        bottleneck: int | None = 4000,
        l2_weight: float = 0.999,
        adversarial_weight: float = 0.001,
        learning_rate: float = 2e-3,
        discriminator_learning_rate: float = 2e-4,
        variant: Literal["official", "boyuanjiang"] = "official",
        **optimisation: Any,
    ) -> None:
        super().__init__(**optimisation)
        self.save_hyperparameters()
        self.region, self.overlap, self.overlap_weight = region, overlap, overlap_weight
        self.size = self.fixed_size = size
        self.l2_weight, self.adversarial_weight = l2_weight, adversarial_weight
        self.learning_rate, self.discriminator_learning_rate = learning_rate, discriminator_learning_rate
        self.patch = size // 2 if region == "centre" else size
        self.blank = size // 2 - 2 * overlap  # side of the square that the centre network does not see
        self.generator = Generator(size, self.patch, width, bottleneck)
        if adversarial_weight:
            self.discriminator = Discriminator(self.patch, width)
        self.variant = variant
        if variant == "boyuanjiang":
            for module in convolutions(self):
                module.bias.requires_grad_(False)  # type: ignore[union-attr]

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        if self.region == "random":
            return self.generator(erase(erased, mask, self._colour(erased)))
        shifts = [self._shift(one) for one in mask]
        centred = torch.stack([self._move(image, *shift) for image, shift in zip(erased, shifts, strict=True)])
        patch, whole = self.generator(self._blank(centred)), erased.clone()
        for i, (down, right) in enumerate(shifts):
            top, left = self.patch // 2 - down, self.patch // 2 - right
            rows = slice(max(top, 0), min(top + self.patch, whole.shape[2]))
            columns = slice(max(left, 0), min(left + self.patch, whole.shape[3]))
            whole[i, :, rows, columns] = patch[
                i, :, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]
        return whole

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        image, mask = batch.image, batch.mask
        check_sides(image, "ContextEncoder", exactly=self.size)
        if self.adversarial_weight:
            optimizer_g, optimizer_d = self.optimizers()  # type: ignore[attr-defined]
        else:
            optimizer_g = self.optimizers()
        zero_conv_biases(self)

        # The region, raw: no discriminator and no loss sees a composite.
        if self.region == "centre":
            self._check_centre(image, mask)
            target = self._centre(image)
            prediction = self.generator(self._blank(image))
        else:
            target = image
            prediction = self.predict(image, mask)

        losses = {}
        if self.adversarial_weight:
            with self.optimise(optimizer_d) as minimise:
                real = self.discriminator(target)
                stale = self.variant == "official"
                judged = prediction.detach().requires_grad_(stale)
                with by_reference() if stale else nullcontext():
                    fake = self.discriminator(judged)
                losses["discriminator_loss"] = bce_discriminator(real, fake)
                self.note_margin(real, fake)
                minimise(losses["discriminator_loss"], retain_graph=stale)
            zero_conv_biases(self)

        with self.optimise(optimizer_g) as minimise:
            squares = (prediction.float() - target).square()
            l2 = (squares * self._weights(squares)).mean()
            generator_loss = self.l2_weight * l2
            if self.adversarial_weight:
                if self.variant == "official":
                    losses["adversarial"] = StaleLoss.apply(prediction, (bce_generator(fake), judged))
                else:
                    losses["adversarial"] = bce_generator(self.discriminator(prediction))
                generator_loss = generator_loss + self.adversarial_weight * losses["adversarial"]
            minimise(generator_loss, l2=l2, **losses)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, batch_size=len(image))
        self.log("train/l2", squares.mean(), prog_bar=True, batch_size=len(image))
        self.log("train/generator_loss", generator_loss, batch_size=len(image))

    def configure_optimizers(self) -> list[Optimizer]:
        optimizers: list[Optimizer] = [
            Adam(self.generator.parameters(), self.learning_rate, betas=(0.5, 0.999), fused=True)
        ]
        if self.adversarial_weight:
            optimizers.append(
                Adam(self.discriminator.parameters(), self.discriminator_learning_rate, betas=(0.5, 0.999), fused=True)
            )
        return optimizers

    # ---- the centre ----------------------------------------------------------------------------------------------

    def _colour(self, image: Tensor) -> Tensor:
        return per_channel(MEAN_COLOUR, image)

    def _blank(self, image: Tensor) -> Tensor:
        """The mean colour in the square that the network does not see."""
        square = torch.zeros_like(image[:, :1])
        first, last = (image.shape[-1] - self.blank) // 2, (image.shape[-1] + self.blank) // 2
        square[..., first:last, first:last] = 1
        return erase(image, square, self._colour(image))

    def _centre(self, image: Tensor) -> Tensor:
        quarter = self.patch // 2
        return image[..., quarter : quarter + self.patch, quarter : quarter + self.patch]

    def _weights(self, squares: Tensor) -> Tensor:
        """``overlap_weight`` in the band of the centre prediction that the network sees, 1 elsewhere."""
        weights = torch.ones_like(squares[:1, :1])
        if self.region == "centre" and self.overlap:
            weights[:] = self.overlap_weight
            weights[..., self.overlap : -self.overlap, self.overlap : -self.overlap] = 1
        return weights

    def _check_centre(self, image: Tensor, mask: Tensor) -> None:
        top, left, bottom, right = hole_box(mask)
        first, last = (image.shape[-1] - self.blank) // 2, (image.shape[-1] + self.blank) // 2
        if bottom > top and (min(top, left) < first or max(bottom, right) > last):
            raise ValueError(
                f"the holes reach over rows {top}-{bottom} and columns {left}-{right}; region='centre' with overlap "
                f"{self.overlap} trains on holes inside {first}-{last}. Use masks.CenterRectangle of "
                f"{self.blank}/{self.size} of the side, a smaller overlap, or region='random'."
            )

    def _shift(self, mask: Tensor) -> tuple[int, int]:
        """How far down and right the hole of one mask must move to lie in the blanked square."""
        top, left, bottom, right = hole_box(mask)
        first, last = (mask.shape[-1] - self.blank) // 2, (mask.shape[-1] + self.blank) // 2
        if max(bottom - top, right - left) > self.blank:
            raise ValueError(
                f"the hole is {right - left}x{bottom - top} px of {self.size}; ContextEncoder(region='centre', "
                f"overlap={self.overlap}) fills at most {self.blank}x{self.blank}. Use a smaller hole or "
                "region='random'."
            )
        if bottom == top:
            return 0, 0
        return (max(first - top, 0) or min(last - bottom, 0)), (max(first - left, 0) or min(last - right, 0))

    def _move(self, image: Tensor, down: int, right: int) -> Tensor:
        """One image moved, with the mean colour where nothing is known: beyond the border."""
        if not down and not right:
            return image
        height, width = image.shape[1:]
        moved = self._colour(image).expand_as(image).clone()
        moved[:, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = image[
            :, max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
        ]
        return moved

    def _crop_box(self, mask: Tensor) -> tuple[int, int] | None:
        top, left, bottom, right = hole_box(mask)
        if self.region == "centre" and max(bottom - top, right - left) > self.blank:
            return None  # resize, which makes the hole smaller
        return super()._crop_box(mask)

    def adaptation(self, mask: Tensor) -> str | None:
        said = super().adaptation(mask)
        if self.region == "centre" and tuple(mask.shape[-2:]) == (self.size, self.size) and any(self._shift(mask)):
            return "moved so that the hole lies at the centre"
        return said
