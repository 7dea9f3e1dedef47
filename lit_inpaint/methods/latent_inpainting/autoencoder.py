"""The first stage of latent diffusion: images to latents and back (Rombach et al. 2022, section 3.1)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric

from lit_inpaint.checkpoints import fits, read_tensors
from lit_inpaint.methods.latent_inpainting import networks
from lit_inpaint.stage import Stage
from masks.convention import InpaintingBatch


class LatentAutoencoder(Stage):
    """diffusers' AutoencoderKL, trained on whole images; holes play no part.

    Loss: L1 of the reconstruction, and ``kl_weight`` times the KL divergence of the latents from a standard normal,
    both divided by the elements of the image. The published loss has a perceptual and an adversarial term too, which
    sharpen large images; neither is here.

    Args:
        vae: Arguments of AutoencoderKL that differ from Stable Diffusion's, by diffusers' names; a factor of 2 for each
            of ``block_out_channels`` but the first.
        kl_weight: As published for KL-regularised models.
        learning_rate: Adam's; published are 4.5e-6 times the images per step.
    """

    averaged: ClassVar[tuple[str, ...]] = ("vae",)
    uncompiled: ClassVar[dict[str, str]] = {"vae": "it is used through encode and decode"}

    def __init__(
        self,
        vae: dict[str, Any] | None = None,
        kl_weight: float = 1e-6,
        learning_rate: float = 5.4e-5,
        betas: tuple[float, float] = (0.5, 0.9),
        **optimisation: Any,
    ) -> None:
        super().__init__(**optimisation)
        self.save_hyperparameters()
        self.vae = networks.autoencoder(vae)
        self.kl_weight, self.learning_rate, self.betas = kl_weight, learning_rate, betas
        self.mean_loss = MeanMetric()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.vae.parameters(), self.learning_rate, self.betas, fused=True)

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        reconstruction, kl = self._losses(batch.image)
        loss = reconstruction + self.kl_weight * kl
        with self.optimise(self.optimizers()) as minimise:  # type: ignore[arg-type]
            minimise(loss, reconstruction=reconstruction, kl=kl)
        terms = {"train/reconstruction": reconstruction, "train/kl": kl, "train/loss": loss}
        self.log_dict(terms, batch_size=len(batch.image))

    def _losses(self, image: Tensor) -> tuple[Tensor, Tensor]:
        latent = networks.latents(self.vae, image)
        mean, logvar = latent.mean.to(image.dtype), latent.logvar.to(image.dtype)
        drawn = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum() / image.numel()
        return F.l1_loss(self.vae.decode(drawn).sample, image), kl

    def validation_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        self._log_loss("val", batch)

    def test_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        self._log_loss("test", batch)

    def _log_loss(self, stage: str, batch: InpaintingBatch) -> None:
        """L1 of what the means of the latents become, without a draw."""
        latent = networks.latents(self.vae, batch.image).mean
        self.mean_loss.update(F.l1_loss(self.vae.decode(latent).sample, batch.image), len(batch.image))
        self.log(f"{stage}/loss", self.mean_loss, on_step=False, on_epoch=True, batch_size=len(batch.image))


def stored(path: Path, network: str, *methods: str) -> Mapping[str, Tensor]:
    """State dict of one network in a checkpoint, averaged where there is an average; no code of the file is run.

    Raises:
        ValueError: No such file, or a checkpoint of another class than ``methods``.
    """
    if not path.is_file():
        raise ValueError(f"there is no checkpoint {path}; expected one of {' or '.join(methods)}.")
    checkpoint = read_tensors(path)
    method = checkpoint.get("method") if isinstance(checkpoint, dict) else None
    if method not in methods:
        raise ValueError(f"{path} holds a {method}; expected a checkpoint of {' or '.join(methods)}.")
    prefix = f"{network}."
    state = {
        k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k == network or k.startswith(prefix)
    }
    return state | checkpoint.get("ema", {}).get(network, {})


def load(network: nn.Module, state: Mapping[str, Tensor], path: Path, argument: str) -> None:
    """
    Raises:
        ValueError: The tensors are those of another network; ``argument`` is the one to change.
    """
    if problems := fits(state, network.state_dict()):
        raise ValueError(f"the network in {path} is another one ({problems[0]}): give {argument} as it was trained.")
    network.load_state_dict(state)
