"""Liu, Reda, Shih, Wang, Tao, Catanzaro: Image Inpainting for Irregular Holes Using Partial Convolutions, ECCV 2018."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from lit_inpaint.layers.partial_conv import Variant
from lit_inpaint.losses.perceptual import VGG16Features, perceptual, style
from lit_inpaint.methods.partial_conv.loss import hole_total_variation
from lit_inpaint.methods.partial_conv.networks import PConvUNet, freeze_norms
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch, composite, per_channel

Pixels = Literal["unit", "signed", "imagenet"]
_SCALE: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {  # network pixel = ([0, 1] pixel - mean) / std
    "unit": ((0.0,) * 3, (1.0,) * 3),
    "signed": ((0.5,) * 3, (0.5,) * 3),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class PartialConv(InpaintingModule):
    """A U-Net whose every convolution looks at known pixels only, and whose holes shrink layer by layer.

    The losses are those of section 3.3 on images in [0, 1], the range for which the authors give their weights; every
    L1 and the total variation are means over all elements (the authors' erratum). There is no discriminator.

    Where the sources differ: ``variant="paper"`` scales by sum(1) / sum(M) (ECCV text, the authors' layer, mmagic);
    ``variant="first_version"`` by 1 / sum(M) (first arXiv version, naoto0804's port). Total variation counts the pairs
    of pixels that both lie in the dilated hole, as the paper says; ports restrict it otherwise or not at all.

    >>> with torch.device("meta"):
    ...     method = PartialConv()
    >>> f"{sum(p.numel() for p in method.generator.parameters()):,}"
    '32,859,796'

    Args:
        levels: 8 for 512 px (paper); the public ports use 7 at 256 px.
        width: Channels of the first layer.
        pixels: Range of the network's input and output: [0, 1]; [-1, 1] (mmagic's weights); normalised by ImageNet's
            mean and deviation (naoto0804's weights). The losses do not depend on it.
        stage: 1 trains everything; 2 is the fine-tuning with the batch norms of the encoder frozen, statistics and
            affine parameters both (section 4.3: start it from a stage 1 checkpoint, with ``learning_rate`` 5e-5).
        learning_rate: Adam's rate: 2e-4 in stage 1 and 5e-5 in stage 2 of the paper.
        tv_weight, style_weight, perceptual_weight, hole_weight, valid_weight: Equation 7.
        channels: 3, or 1 for grey images, which VGG16 sees repeated to three channels.
    """

    year: ClassVar[int] = 2018
    paper: ClassVar[str] = (
        "Liu, Reda, Shih, Wang, Tao, Catanzaro. Image Inpainting for Irregular Holes Using Partial Convolutions. "
        "ECCV 2018"
    )
    imports: ClassVar[tuple[str, ...]] = ("mmagic", "naoto0804")
    settings: ClassVar[tuple[str, ...]] = ("stage",)
    exports: ClassVar[tuple[str, ...]] = ("mmagic", "naoto0804")
    needs: ClassVar[tuple[str, ...]] = ("vgg16",)

    def __init__(
        self,
        levels: int = 8,
        width: int = 64,
        variant: Variant = "paper",
        pixels: Pixels = "unit",
        stage: Literal[1, 2] = 1,
        learning_rate: float = 2e-4,
        valid_weight: float = 1.0,
        hole_weight: float = 6.0,
        perceptual_weight: float = 0.05,
        style_weight: float = 120.0,
        tv_weight: float = 0.1,
        channels: Literal[1, 3] = 3,
        **optimisation: Any,
    ) -> None:
        super().__init__(**optimisation)
        self.save_hyperparameters()
        if channels == 1 and pixels == "imagenet":
            raise ValueError("channels is 1 and pixels imagenet, the mean of three colours; use unit or signed.")
        self.multiple, self.channels = 2**levels, channels
        self.pixels, self.stage, self.learning_rate = pixels, stage, learning_rate
        self.valid_weight, self.hole_weight, self.tv_weight = valid_weight, hole_weight, tv_weight
        self.perceptual_weight, self.style_weight = perceptual_weight, style_weight
        self.generator = PConvUNet(levels, width, variant, channels)
        self.features = VGG16Features()  # pool1, pool2, pool3
        self.train()

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        mean, std = (per_channel(value[: self.channels], erased) for value in _SCALE[self.pixels])
        output = self.generator(((erased + 1) / 2 - mean) / std, 1 - mask)
        return (output * std + mean) * 2 - 1

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        image, mask = batch.image, batch.mask
        prediction = self.predict(image, mask)
        inpainted = composite(prediction, image, mask)
        output, completed, truth = (prediction + 1) / 2, (inpainted + 1) / 2, (image + 1) / 2
        difference = (output - truth).abs()
        losses = {
            "valid": (difference * (1 - mask)).mean(),  # over all elements, not those where the mask is 0
            "hole": (difference * mask).mean(),
            "tv": hole_total_variation(completed, mask),
        }
        loss = self.valid_weight * losses["valid"] + self.hole_weight * losses["hole"] + self.tv_weight * losses["tv"]
        if self.perceptual_weight or self.style_weight:
            with torch.no_grad():
                of_truth = self.features(truth)
            of_both = self.features(torch.cat([output, completed]))
            of_output, of_completed = zip(*(features.chunk(2) for features in of_both), strict=True)
            losses["perceptual"] = perceptual(of_output, of_truth) + perceptual(of_completed, of_truth)
            losses["style"] = style(of_output, of_truth) + style(of_completed, of_truth)
            loss = loss + self.perceptual_weight * losses["perceptual"] + self.style_weight * losses["style"]

        with self.optimise(self.optimizers()) as minimise:  # type: ignore[arg-type]
            minimise(loss, **losses)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, batch_size=len(image))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(image))

    def configure_optimizers(self) -> Optimizer:
        return Adam([p for p in self.parameters() if p.requires_grad], lr=self.learning_rate, fused=True)

    def train(self, mode: bool = True) -> "PartialConv":
        super().train(mode)
        if self.stage == 2:
            freeze_norms(self.generator.encoder)
        return self
