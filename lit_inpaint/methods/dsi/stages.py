"""The three trainings of DSI: VQ-VAE, structure generator, texture generator (Peng et al. 2021, section 3)."""

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric

from lit_inpaint.checkpoints import fits, read_tensors
from lit_inpaint.discriminators import SNPatchGAN, SpectralNormConv2d
from lit_inpaint.losses.hinge import hinge_discriminator, hinge_generator
from lit_inpaint.methods.dsi.loss import feature_loss
from lit_inpaint.methods.dsi.structure import PixelCNN, Structure
from lit_inpaint.methods.dsi.texture import Texture
from lit_inpaint.methods.dsi.vqvae import VQVAE, Encoding
from lit_inpaint.stage import Stage
from masks.convention import InpaintingBatch, composite, erase


class DSIStage(Stage, ABC):
    """What the three have in common: a VQ-VAE, and ``val/loss`` as a mean over images."""

    uncompiled: ClassVar[dict[str, str]] = {"vqvae": "it is used through encode and decode"}

    def __init__(
        self,
        vq_width: int,
        vq_hidden: int,
        vq_blocks: int,
        channels: int,
        codes: int,
        decay: float,
        **optimisation: Any,
    ) -> None:
        super().__init__(**optimisation)
        self.vqvae = VQVAE(vq_width, vq_hidden, vq_blocks, channels, codes, decay)
        self.mean_loss = MeanMetric()

    @abstractmethod
    def evaluation_loss(self, batch: InpaintingBatch) -> Tensor: ...

    def validation_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        self._log_loss("val", batch)

    def test_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        self._log_loss("test", batch)

    def _log_loss(self, stage: str, batch: InpaintingBatch) -> None:
        self.mean_loss.update(self.evaluation_loss(batch), len(batch.image))
        self.log(f"{stage}/loss", self.mean_loss, on_step=False, on_epoch=True, batch_size=len(batch.image))


class DSIVQVAE(DSIStage):
    """First stage: a hierarchical VQ-VAE, whose top codes are the structure of an image and bottom codes its texture.

    Loss: mean squared error of the reconstruction and, for each level, ``commitment`` times that between features and
    their codes. The codes are no parameters: see :class:`Codebook`. Later stages take the averaged weights (the paper's
    decay is 0.9997; the ``EMA`` callback of the YAMLs). The networks' arguments are those of :class:`VQVAE`.

    >>> with torch.device("meta"):
    ...     method = DSIVQVAE()
    >>> f"{sum(p.numel() for p in method.vqvae.parameters()):,}"
    '1,852,035'
    """

    settings: ClassVar[tuple[str, ...]] = ("decay", "commitment")
    averaged: ClassVar[tuple[str, ...]] = ("vqvae",)

    def __init__(
        self,
        vq_width: int = 128,
        vq_hidden: int = 64,
        vq_blocks: int = 2,
        channels: int = 64,
        codes: int = 512,
        decay: float = 0.99,
        commitment: float = 0.25,
        learning_rate: float = 1e-4,
        **optimisation: Any,
    ) -> None:
        super().__init__(vq_width, vq_hidden, vq_blocks, channels, codes, decay, **optimisation)
        self.save_hyperparameters()
        self.commitment, self.learning_rate = commitment, learning_rate

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.vqvae.parameters(), self.learning_rate, fused=True)

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        encoding = self.vqvae.encode(batch.image)
        reconstruction, commitment = self._losses(batch.image, encoding)
        loss = reconstruction + commitment
        with self.optimise(self.optimizers()) as minimise:  # type: ignore[arg-type]
            minimise(loss, reconstruction=reconstruction, commitment=commitment)
            # After the forward pass, which used the old codes, and before the averages take them over.
            self.vqvae.top.update(encoding.top.detach(), encoding.top_indices)
            self.vqvae.bottom.update(encoding.bottom.detach(), encoding.bottom_indices)
        self.log_dict(
            {
                "train/reconstruction": reconstruction,
                "train/commitment": commitment,
                "train/loss": loss,
                "train/top_codes": _codes_in_use(encoding.top_indices, len(self.vqvae.top.sizes)),
            },
            batch_size=len(batch.image),
        )

    def _losses(self, image: Tensor, encoding: Encoding) -> tuple[Tensor, Tensor]:
        reconstruction = F.mse_loss(self.vqvae.decode(encoding.top_quantised, encoding.bottom_quantised), image)
        top = F.mse_loss(encoding.top, encoding.top_quantised.detach())
        bottom = F.mse_loss(encoding.bottom, encoding.bottom_quantised.detach())
        return reconstruction, self.commitment * (top + bottom)

    def evaluation_loss(self, batch: InpaintingBatch) -> Tensor:
        return torch.stack(self._losses(batch.image, self.vqvae.encode(batch.image))).sum()


def _codes_in_use(indices: Tensor, codes: int) -> Tensor:
    """How many codes were chosen at least once.

    >>> _codes_in_use(torch.tensor([[3, 1], [1, 3]]), 4)
    tensor(2.)
    """
    return torch.zeros(codes, device=indices.device).index_fill_(0, indices.flatten(), 1).sum()


class GuidedStage(DSIStage):
    """A stage that stands on a trained VQ-VAE and leaves it as it is.

    Args:
        vqvae: Checkpoint of :class:`DSIVQVAE`, read when a fit begins; None where the weights were given otherwise
            (``stage.vqvae.load_state_dict``, ``init_from``, a resumed run: every checkpoint of this stage holds them).
    """

    def __init__(self, vqvae: str | None, **arguments: Any) -> None:
        super().__init__(decay=0.99, **arguments)  # the decay counts in the first stage alone
        self.vqvae_checkpoint = vqvae
        self.vqvae.requires_grad_(False)

    def on_fit_start(self) -> None:
        if self.vqvae.top.updates > 0:  # trained
            return
        if self.vqvae_checkpoint is None:
            raise ValueError(f"{type(self).__name__} needs a trained VQ-VAE: set vqvae to a checkpoint of DSIVQVAE.")
        load_vqvae(self.vqvae, Path(self.vqvae_checkpoint))


def load_vqvae(network: nn.Module, path: Path) -> None:
    """Weights of a checkpoint of DSIVQVAE, the averaged ones where it has them; no code of the file is run."""
    if not path.is_file():
        raise ValueError(f"vqvae is {path}, which is not a file; expected a checkpoint of DSIVQVAE.")
    checkpoint = read_tensors(path)
    method = checkpoint.get("method") if isinstance(checkpoint, dict) else None
    if method != "DSIVQVAE":
        raise ValueError(f"{path} holds a {method}; vqvae must be a checkpoint of DSIVQVAE.")
    state = {k.removeprefix("vqvae."): v for k, v in checkpoint["state_dict"].items() if k.startswith("vqvae.")}
    state |= checkpoint.get("ema", {}).get("vqvae", {})
    if fits(state, network.state_dict()):
        names = ("vq_width", "vq_hidden", "vq_blocks", "channels", "codes")
        sizes = ", ".join(f"{name} {checkpoint['hyper_parameters'].get(name)}" for name in names)
        raise ValueError(f"the VQ-VAE in {path} has {sizes}: give this stage the same numbers.")
    network.load_state_dict(state)


class DSIStructure(GuidedStage):
    """Second stage: the distribution of an image's top codes given what is known of it.

    Loss: cross-entropy summed over all positions, in the hole or not, and over the images of a process; processes
    average their gradients. The whole image's codes are input (those before a position) and target. The rate is
    ``learning_rate / sqrt(structure_width) * min(step^-0.35, step * warmup^-1.5)``. ``val/loss`` is in bits per code.

    >>> with torch.device("meta"):
    ...     method = DSIStructure()
    >>> f"{sum(p.numel() for p in method.structure.parameters()):,}"
    '63,728,928'

    Args:
        condition_width: Channels of :class:`ConditionNet` at full size.
        structure_width: Channels of :class:`PixelCNN`, whose arguments groups, blocks, out_blocks and heads are.
        dropout: In the residual blocks of the PixelCNN.
        learning_rate: Scale of this schedule; with one of ``schedules``, the learning rate itself.
        warmup: Steps in its linear rise (which ends later: where the two terms meet).
    """

    settings: ClassVar[tuple[str, ...]] = ("vqvae", "dropout", "warmup")
    averaged: ClassVar[tuple[str, ...]] = ("structure",)
    uncompiled: ClassVar[dict[str, str]] = DSIStage.uncompiled | {"structure": "it is used through its two parts"}

    def __init__(
        self,
        vqvae: str | None = None,
        vq_width: int = 128,
        vq_hidden: int = 64,
        vq_blocks: int = 2,
        channels: int = 64,
        codes: int = 512,
        condition_width: int = 32,
        structure_width: int = 128,
        groups: int = 4,
        blocks: int = 5,
        out_blocks: int = 20,
        heads: int = 8,
        dropout: float = 0.1,
        learning_rate: float = 0.18,
        warmup: int = 16000,
        **optimisation: Any,
    ) -> None:
        sizes = {"vq_width": vq_width, "vq_hidden": vq_hidden, "vq_blocks": vq_blocks}
        super().__init__(vqvae, channels=channels, codes=codes, **sizes, **optimisation)
        self.save_hyperparameters()
        self.learning_rate, self.warmup, self.structure_width = learning_rate, warmup, structure_width
        streams = structure_width, groups, blocks, out_blocks, heads
        self.structure = Structure(condition_width, PixelCNN(*streams, 8 * condition_width, channels, codes, dropout))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        rate = self.learning_rate if "structure" in self.schedules else self.rate(1)
        return torch.optim.Adam(self.structure.parameters(), rate, fused=True)

    def rate(self, step: int) -> float:
        """Learning rate of Adam at a step, counted from 1 (train_structure_generator.py)."""
        rise, fall = step * self.warmup**-1.5, step**-0.35
        return self.starting_rate("structure", self.learning_rate) * self.structure_width**-0.5 * min(rise, fall)

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        optimizer = self.optimizers()
        for group in () if "structure" in self.schedules else optimizer.param_groups:  # type: ignore[union-attr]
            group["lr"] = self.rate(self.trainer.global_step)
        with self.optimise(optimizer) as minimise:  # type: ignore[arg-type]
            loss = self._loss(batch)
            minimise(loss)
        bits = loss / math.log(2) / (batch.mask[:, :, ::8, ::8].numel())
        self.log_dict({"train/loss": loss, "train/bits": bits}, batch_size=len(batch.image))

    def _loss(self, batch: InpaintingBatch) -> Tensor:
        with torch.no_grad():
            encoding = self.vqvae.encode(batch.image)
        condition = self.structure.condition(erase(batch.image, batch.mask), batch.mask)
        logits = self.structure.pixelcnn(encoding.top_quantised, condition)
        return F.cross_entropy(logits, encoding.top_indices, reduction="sum")

    def evaluation_loss(self, batch: InpaintingBatch) -> Tensor:
        return self._loss(batch) / math.log(2) / batch.mask[:, :, ::8, ::8].numel()


class DSITexture(GuidedStage):
    """Third stage: from the known part of an image and its whole structure to the image, against a discriminator.

    One batch is one step of the generator and then one of the discriminator, which judges what the updated generator
    makes. The official code draws a fresh batch for each of the two: its N iterations are N batches here, while it
    reads 2 N. In training the structure is that of the true image. Both Adams have the same settings.

    Generator: hinge term of the completed image, L1 of the raw output over the whole image, and ``feature_weight``
    times the structural and textural :func:`feature_loss` of the completed image.

    >>> with torch.device("meta"):
    ...     method = DSITexture()
    >>> f"{sum(p.numel() for p in method.texture.parameters()):,}"
    '4,602,467'

    Args:
        texture_width: Width of :class:`Texture`.
        discriminator_width: Channels of the discriminator's first convolution.
        adversarial_weight: Weight of the hinge term; 1 as published.
    """

    settings: ClassVar[tuple[str, ...]] = ("vqvae",)
    averaged: ClassVar[tuple[str, ...]] = ("texture",)

    def __init__(
        self,
        vqvae: str | None = None,
        vq_width: int = 128,
        vq_hidden: int = 64,
        vq_blocks: int = 2,
        channels: int = 64,
        codes: int = 512,
        texture_width: int = 64,
        discriminator_width: int = 64,
        learning_rate: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        adversarial_weight: float = 1.0,
        feature_weight: float = 0.1,
        **optimisation: Any,
    ) -> None:
        sizes = {"vq_width": vq_width, "vq_hidden": vq_hidden, "vq_blocks": vq_blocks}
        super().__init__(vqvae, channels=channels, codes=codes, **sizes, **optimisation)
        self.save_hyperparameters()
        self.learning_rate, self.betas = learning_rate, betas
        self.adversarial_weight, self.feature_weight = adversarial_weight, feature_weight
        self.texture = Texture(texture_width, channels)
        self.discriminator = SNPatchGAN(4, discriminator_width)
        for layer in self.discriminator.modules():
            if isinstance(layer, SpectralNormConv2d):
                nn.init.trunc_normal_(layer.weight, std=0.05, a=-0.1, b=0.1)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        networks = self.texture, self.discriminator
        return [torch.optim.Adam(n.parameters(), self.learning_rate, self.betas, fused=True) for n in networks]

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        image, mask = batch.image, batch.mask
        optimizer_g, optimizer_d = self.optimizers()  # type: ignore[attr-defined]
        with torch.no_grad():
            true = self.vqvae.encode(image)

        with self.optimise(optimizer_g) as minimise:
            prediction = self.texture(erase(image, mask), mask, true.top_quantised)
            completed = composite(prediction, image, mask)
            l1 = F.l1_loss(prediction, image)
            structural, textural = self._feature_losses(completed, true)
            adversarial = hinge_generator(self.discriminator(torch.cat([completed, mask], dim=1)))
            generator_loss = self.adversarial_weight * adversarial + l1 + self.feature_weight * (structural + textural)
            terms = {"l1": l1, "structural": structural, "textural": textural, "adversarial": adversarial}
            minimise(generator_loss, **terms)

        with self.optimise(optimizer_d) as minimise:
            with torch.no_grad():
                completed = composite(self.texture(erase(image, mask), mask, true.top_quantised), image, mask)
            judged = torch.cat([torch.cat([x, mask], dim=1) for x in (image, completed)])
            real, fake = self.discriminator(judged).chunk(2)
            discriminator_loss = hinge_discriminator(real, fake)
            self.note_margin(real, fake)
            minimise(discriminator_loss)

        self.log_dict(
            {
                "train/l1": l1,
                "train/structural": structural,
                "train/textural": textural,
                "train/adversarial": adversarial,
                "train/generator_loss": generator_loss,
                "train/discriminator_loss": discriminator_loss,
            },
            batch_size=len(image),
        )

    def _feature_losses(self, completed: Tensor, true: Encoding) -> tuple[Tensor, Tensor]:
        """Structural and textural: how well the completed image's features choose the true image's codes."""
        encoding = self.vqvae.encode(completed)
        structural = feature_loss(self.vqvae.top.distances(encoding.top), true.top_indices)
        return structural, feature_loss(self.vqvae.bottom.distances(encoding.bottom), true.bottom_indices)

    def evaluation_loss(self, batch: InpaintingBatch) -> Tensor:
        """The generator's without the adversarial term."""
        true = self.vqvae.encode(batch.image)
        prediction = self.texture(erase(batch.image, batch.mask), batch.mask, true.top_quantised)
        features = self._feature_losses(composite(prediction, batch.image, batch.mask), true)
        return F.l1_loss(prediction, batch.image) + self.feature_weight * torch.stack(features).sum()
