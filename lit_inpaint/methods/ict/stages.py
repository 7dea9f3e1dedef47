"""The two stages of ICT, trained apart: the transformer over colours and the guided upsampler."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam, AdamW, Optimizer

from lit_inpaint.discriminators import SpectralPatchGAN
from lit_inpaint.losses.bce import bce_discriminator, bce_generator
from lit_inpaint.losses.perceptual import VGG19Features, perceptual, style
from lit_inpaint.methods.ict.networks import Transformer, Upsampler
from lit_inpaint.methods.ict.palette import down_sample, enlarge, hole_of_tokens, make_palette, quantise
from lit_inpaint.stage import Stage
from masks.convention import InpaintingBatch, erase

_PERCEPTUAL = (1, 6, 11, 20, 29)  # relu1_1, relu2_1, relu3_1, relu4_1, relu5_1
_STYLE = (8, 17, 26, 31)  # relu2_2, relu3_4, relu4_4, relu5_2


class _Colours(Stage, ABC):
    """A stage that sees images as indices in a palette, which is kept in its checkpoints."""

    palette: Tensor

    def _register_palette(self, palette: str, colours: int, grid: int) -> None:
        self.grid, self._named = grid, palette
        self.register_buffer("palette", torch.full((colours, 3), torch.nan))  # not known yet

    def on_fit_start(self) -> None:
        """Compute the palette unless it came from a checkpoint."""
        if self.palette.isnan().any():
            datamodule = getattr(self.trainer, "datamodule", None)
            self.palette.copy_(make_palette(self._named, len(self.palette), self.grid, datamodule))

    def validation_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        losses = {f"val/{name}": loss for name, loss in self._validate(batch).items()}
        self.log_dict(losses, on_epoch=True, sync_dist=True, batch_size=len(batch.image))

    def test_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        losses = {f"test/{name}": loss for name, loss in self._validate(batch).items()}
        self.log_dict(losses, on_epoch=True, sync_dist=True, batch_size=len(batch.image))

    def on_validation_epoch_end(self) -> None:
        self.log("step", float(self.trainer.global_step))

    @abstractmethod
    def _validate(self, batch: InpaintingBatch) -> dict[str, Tensor]:
        """Losses by name, "loss" among them."""


class ICTTransformer(_Colours):
    """Appearance priors of ICT (Wan et al. 2021, section 3.1): the hole's colours, given the known ones.

    The cross-entropy of the unknown tokens is divided by the number of **all** tokens, as in the official code, so
    that images with large holes count for more. AdamW without decay; the rate rises over ``warmup_steps`` batches and
    falls as a cosine until ``decay_steps``, never below a tenth (Transformer/DDP_trainer.py counts tokens; its first
    batch has the full rate).

    The defaults are FFHQ's model, trained for 100 epochs in batches of 64 (README of the official code) of 60,000
    images; that number, FFHQ without 10,000 test images, is an assumption.

    >>> with torch.device("meta"):
    ...     method = ICTTransformer()
    >>> f"{sum(p.numel() for p in method.transformer.parameters()):,}"
    '96,276,480'

    Args:
        grid: Side of the square of tokens: 48 (FFHQ), 32 (ImageNet, Places2).
        layers: Blocks: 30 (FFHQ), 35.
        width: Channels: 512 (FFHQ, Places2), 1024 (ImageNet).
        heads: Attention heads.
        colours: Entries of the palette.
        palette: "kmeans" (of the training images at the size of the grid), "uniform" (a lattice in RGB), the .npy of
            OpenAI's clusters, which the paper uses for all data sets, or the checkpoint of another stage.
        dynamic_weight: Divide by the number of unknown tokens instead.
        learning_rate: At its highest.
        betas: Betas of AdamW.
        warmup_steps: Batches of the rise: one epoch.
        decay_steps: Batches until the lowest rate: all of them.
        clip_norm: Largest norm of the gradient.
        optimisation: ``accumulate``, ``non_finite``, ``optimizers``, ``schedules`` of :class:`Stage`.
    """

    settings: ClassVar[tuple[str, ...]] = ("palette", "warmup_steps", "decay_steps")
    averaged: ClassVar[tuple[str, ...]] = ("transformer",)

    def __init__(
        self,
        grid: int = 48,
        layers: int = 30,
        width: int = 512,
        heads: int = 8,
        colours: int = 512,
        palette: str = "kmeans",
        dynamic_weight: bool = False,
        learning_rate: float = 3e-4,
        betas: tuple[float, float] = (0.9, 0.95),
        warmup_steps: int = 938,
        decay_steps: int = 93_800,
        clip_norm: float | None = 1.0,
        **optimisation: Any,
    ) -> None:
        super().__init__(clip_norm=clip_norm, **optimisation)
        self.save_hyperparameters()
        self.dynamic_weight, self.learning_rate, self.betas = dynamic_weight, learning_rate, betas
        self.warmup_steps, self.decay_steps = warmup_steps, decay_steps
        self._register_palette(palette, colours, grid)
        self.transformer = Transformer(grid, layers, width, heads, colours)

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        if "transformer" not in self.schedules:
            rate = self.starting_rate("transformer", self.learning_rate) * self.rate_factor(self.trainer.global_step)
            for group in optimizer.param_groups:
                group["lr"] = rate
        with self.optimise(optimizer) as minimise:
            loss, accuracy = self._loss(batch)
            minimise(loss)
        # After the update: in an epoch's first batch Lightning drops what was logged before the values of callbacks.
        if "transformer" not in self.schedules:
            self.log("train/learning_rate", rate)
        size = len(batch.image)
        self.log("train/loss", loss, prog_bar=True, batch_size=size)
        self.log("train/accuracy", accuracy, batch_size=size)

    def rate_factor(self, step: int) -> float:
        """Share of ``learning_rate`` in batch ``step``, which counts from 1."""
        if step < self.warmup_steps:
            return step / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.decay_steps - self.warmup_steps)
        return max(0.1, 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))

    def _loss(self, batch: InpaintingBatch) -> tuple[Tensor, Tensor]:
        """Loss, and the share of unknown tokens whose likeliest colour is the true one."""
        height, width = batch.image.shape[-2:]
        if height != width:
            raise ValueError(f"images are {width}x{height}, but the tokens of ICT are a square: set image_size to one.")
        hole = hole_of_tokens(batch.mask, self.grid)
        truth = quantise(down_sample(batch.image, self.grid), self.palette)
        known = quantise(down_sample(batch.image, self.grid, batch.mask), self.palette)
        logits = self.transformer(known, hole)
        entropy = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none").view_as(hole) * hole
        unknown = hole.sum().clamp(min=1)
        accuracy = ((logits.argmax(-1) == truth) * hole).sum() / unknown
        return entropy.sum() / unknown if self.dynamic_weight else entropy.mean(), accuracy

    def _validate(self, batch: InpaintingBatch) -> dict[str, Tensor]:
        loss, accuracy = self._loss(batch)
        return {"loss": loss, "accuracy": accuracy}

    def configure_optimizers(self) -> AdamW:
        return AdamW(self.transformer.parameters(), self.learning_rate, self.betas, weight_decay=0, fused=True)


class ICTUpsampler(_Colours):
    """Guided upsampling of ICT (Wan et al. 2021, section 3.2): tokens and the erased image to the completed one.

    The tokens of training are those of the true image, the hole included, enlarged; the transformer takes no part. The
    discriminator steps first and judges raw outputs, as all losses do (Guided_Upsample/src/models.py). The L1 of the
    whole image is divided by the mean of the batch's masks (of each device), as in the official code.

    In bf16-mixed the last convolution with its tanh, spectral norm, Gram matrices and all losses stay in float32.

    >>> with torch.device("meta"):
    ...     method = ICTUpsampler()
    >>> f"{sum(p.numel() for p in method.upsampler.parameters()):,}"
    '10,780,867'

    Args:
        size: Side of the images.
        width: Channels of the first convolution.
        blocks: Residual blocks.
        discriminator_width: Channels of the discriminator's first convolution.
        grid: Side of the square of tokens: 32 in the official configuration, 48 for FFHQ.
        colours: Entries of the palette.
        palette: As for :class:`ICTTransformer`, whose checkpoint it may be; both must have the same.
        prior_random_degree: Each token of training is one of the so many nearest colours, at random.
        learning_rate: Learning rate of the upsampler's Adam.
        discriminator_learning_rate: Learning rate of the discriminator's Adam.
        betas: Betas of both.
        l1_weight, adversarial_weight, perceptual_weight, style_weight: Loss weights. Style and perceptual loss need
            VGG19, which sees images in [0, 1] as they are, as officially; both 0 trains without it.
        optimisation: ``accumulate``, ``clip_norm``, ``non_finite``, ``optimizers``, ``schedules`` of :class:`Stage`.
    """

    settings: ClassVar[tuple[str, ...]] = ("palette", "prior_random_degree")
    averaged: ClassVar[tuple[str, ...]] = ("upsampler",)
    needs: ClassVar[tuple[str, ...]] = ("vgg19",)

    def __init__(
        self,
        size: int = 256,
        width: int = 64,
        blocks: int = 8,
        discriminator_width: int = 64,
        grid: int = 48,
        colours: int = 512,
        palette: str = "kmeans",
        prior_random_degree: int = 1,
        learning_rate: float = 1e-4,
        discriminator_learning_rate: float = 1e-5,
        betas: tuple[float, float] = (0.0, 0.9),
        l1_weight: float = 1.0,
        adversarial_weight: float = 0.1,
        perceptual_weight: float = 0.1,
        style_weight: float = 250.0,
        **optimisation: Any,
    ) -> None:
        super().__init__(**optimisation)
        self.save_hyperparameters()
        if size % 4:
            raise ValueError(f"size is {size}; it must be a multiple of 4.")
        self.size, self.degree, self.betas = size, prior_random_degree, betas
        self.learning_rate, self.discriminator_learning_rate = learning_rate, discriminator_learning_rate
        self.l1_weight, self.adversarial_weight = l1_weight, adversarial_weight
        self.perceptual_weight, self.style_weight = perceptual_weight, style_weight
        self._register_palette(palette, colours, grid)
        self.upsampler = Upsampler(width, blocks)
        self.discriminator = SpectralPatchGAN(3, discriminator_width, plain_logits=False)
        self.features = VGG19Features(sorted(_PERCEPTUAL + _STYLE), normalise=False)

    def on_fit_start(self) -> None:
        if self.perceptual_weight or self.style_weight:
            self.features.require("To train without it, set perceptual_weight and style_weight to 0.")
        super().on_fit_start()

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        optimizer_g, optimizer_d = self.optimizers()  # type: ignore[attr-defined]
        truth, mask = (batch.image + 1) / 2, batch.mask
        output = self._upsample(batch, self.degree)

        with self.optimise(optimizer_d) as minimise:
            real, fake = self.discriminator(truth), self.discriminator(output.detach())
            discriminator_loss = bce_discriminator(real, fake) / 2
            self.note_margin(real, fake)
            minimise(discriminator_loss)

        with self.optimise(optimizer_g) as minimise:
            losses = self._losses(output, truth, mask)
            losses["adversarial"] = bce_generator(self.discriminator(output))
            generator_loss = self._sum(losses)
            minimise(generator_loss, **losses)

        self.log_dict({f"train/{name}": value for name, value in losses.items()}, batch_size=len(truth))
        self.log_dict(
            {"train/discriminator_loss": discriminator_loss, "train/generator_loss": generator_loss},
            batch_size=len(truth),
        )

    def _upsample(self, batch: InpaintingBatch, degree: int) -> Tensor:
        """The raw output in [0, 1], from the erased image and the true image's own tokens."""
        if tuple(batch.image.shape[-2:]) != (self.size, self.size):
            given = "x".join(map(str, batch.image.shape[-2:]))
            raise ValueError(f"images are {given}, but size is {self.size}: set image_size of the data to match.")
        tokens = quantise(down_sample(batch.image, self.grid), self.palette, degree)
        prior = enlarge(tokens, self.palette, self.grid, self.size)
        return self.upsampler(erase((batch.image + 1) / 2, batch.mask, 1.0), prior)

    def _losses(self, output: Tensor, truth: Tensor, mask: Tensor) -> dict[str, Tensor]:
        losses = {"l1": F.l1_loss(output, truth) / mask.mean().clamp(min=1 / mask.numel())}
        if self.perceptual_weight:
            losses["perceptual"] = perceptual(*(self._of(x, _PERCEPTUAL) for x in (output, truth)))
        if self.style_weight:
            losses["style"] = style(*(self._of(x * mask, _STYLE) for x in (output, truth)))
        return losses

    def _of(self, image: Tensor, layers: tuple[int, ...]) -> list[Tensor]:
        found = dict(zip(self.features.layers, self.features(image), strict=True))
        return [found[layer] for layer in layers]

    def _sum(self, losses: dict[str, Tensor]) -> Tensor:
        return torch.stack([getattr(self, f"{name}_weight") * loss for name, loss in losses.items()]).sum()

    def _validate(self, batch: InpaintingBatch) -> dict[str, Tensor]:
        """The loss without its adversarial term, and its L1."""
        output = self._upsample(batch, 1)
        losses = self._losses(output, (batch.image + 1) / 2, batch.mask)
        return {"loss": self._sum(losses), "l1": losses["l1"]}

    def configure_optimizers(self) -> list[Optimizer]:
        return [
            Adam(self.upsampler.parameters(), self.learning_rate, self.betas, fused=True),
            Adam(self.discriminator.parameters(), self.discriminator_learning_rate, self.betas, fused=True),
        ]
