"""Saharia et al.: Palette: Image-to-Image Diffusion Models, SIGGRAPH 2022."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from lit_inpaint.denoising import DenoisingModule
from lit_inpaint.diffusion.losses import simple_loss
from lit_inpaint.diffusion.samplers import DDIM, Noise, Refinement
from lit_inpaint.diffusion.schedules import Diffusion
from lit_inpaint.diffusion.unet import UNet, attention_factors
from masks.convention import InpaintingBatch, composite
from masks.size import Size, square_or_pair


class Palette(DenoisingModule):
    """A denoiser that is told the known part: six channels in, the image with noise in its hole beside x_t.

    The known pixels of x_t are clean, the loss counts the hole alone, and the network is told the continuous noise
    level gamma (abar elsewhere) instead of a timestep, so that inference may walk another schedule than training.

    The authors published no code. Defaults are those of Janspiry's program for CelebA-HQ and Places2: the network of
    guided-diffusion at a quarter of the paper's width, Adam 5e-5. Weights are averaged with decay 0.9999 (the EMA
    callback).

    >>> with torch.device("meta"):
    ...     method = Palette()
    >>> f"{sum(p.numel() for p in method.denoiser.parameters()):,}"
    '62,641,347'

    Args:
        image_size: Side of the images, or (height, width); others are cropped around the hole or resized, which records
            say.
        model_channels: Base width; 256 in the paper.
        channel_mult: Width of each level; (1, 1, 2, 2, 4, 4) in the paper.
        attention_resolutions: Sides, in pixels, of the feature maps that attend beside the smallest, of images that are
            not square the shorter ones; (32, 16, 8) in the paper. The program asks for a factor of 16, which its four
            levels never reach.
        num_heads: Used where ``num_head_channels`` is None.
        norm_groups: Groups of each normalisation. 32 of them erase the mean of each of 32 channels, and so the colour
            of the hole.
        use_checkpoint: Recompute activations in the backward pass: slower, far less memory.
        variant: "janspiry" draws gamma from the intervals between the steps of training, but not from the first, above
            the first step; starts every convolution and linear layer from He et al.'s normal weights, also those that
            guided-diffusion zeroes; and samples with the posterior variance. "paper" has all intervals, the zeros, and
            the variance beta.
        diffusion_steps: Steps of the process of training.
        training_betas: Its first and last beta; linear between them.
        inference_steps: Steps of the process of inference.
        inference_betas: Its first and last beta.
        learning_rate: Adam's rate: constant (the paper: 1e-4 after 10,000 steps of warm-up).
        sampler: How test, predict, benchmark and inpaint complete images; Refinement over all steps of inference if
            None.
        validation_sampler: How validation completes the first ``validation_images`` images; DDIM(50 steps) if None.
    """

    year: ClassVar[int] = 2022
    paper: ClassVar[str] = (
        "Saharia, Chan, Chang, Lee, Ho, Salimans, Fleet, Norouzi. Palette: Image-to-Image Diffusion Models. "
        "SIGGRAPH 2022"
    )
    told_known = True
    imports: ClassVar[tuple[str, ...]] = ("janspiry",)
    exports: ClassVar[tuple[str, ...]] = ("janspiry",)
    settings: ClassVar[tuple[str, ...]] = ("dropout", "use_checkpoint", *DenoisingModule.settings)

    def __init__(
        self,
        image_size: Size = 256,
        model_channels: int = 64,
        num_res_blocks: int = 2,
        channel_mult: tuple[float, ...] = (1, 2, 4, 8),
        attention_resolutions: tuple[int, ...] = (),
        num_heads: int = 1,
        num_head_channels: int | None = 32,
        dropout: float = 0.2,
        norm_groups: int = 32,
        use_checkpoint: bool = False,
        variant: Literal["janspiry", "paper"] = "janspiry",
        diffusion_steps: int = 2000,
        training_betas: tuple[float, float] = (1e-6, 0.01),
        inference_steps: int = 1000,
        inference_betas: tuple[float, float] = (1e-4, 0.09),
        learning_rate: float = 5e-5,
        sampler: Refinement | None = None,
        validation_sampler: Refinement | None = None,
        validation_images: int = 8,
        **optimisation: Any,
    ) -> None:
        super().__init__(**optimisation)
        self.save_hyperparameters(ignore=["sampler", "validation_sampler"])
        self.fixed_size, self.learning_rate, self.variant = square_or_pair(image_size), learning_rate, variant
        self.validation_images = validation_images
        self.denoiser = UNet(
            in_channels=6,
            model_channels=model_channels,
            out_channels=3,
            num_res_blocks=num_res_blocks,
            channel_mult=channel_mult,
            attention_factors=attention_factors(image_size, attention_resolutions, len(channel_mult)),
            num_heads=num_heads,
            num_head_channels=num_head_channels,
            dropout=dropout,
            norm_groups=norm_groups,
            use_checkpoint=use_checkpoint,
        )
        if variant == "janspiry":
            self.denoiser.apply(_kaiming)
        self.training_process = told_gamma(diffusion_steps, *training_betas)
        self.inference_process = told_gamma(inference_steps, *inference_betas)
        published, cheap = Refinement(inference_steps), DDIM(min(50, inference_steps))
        self.choose_samplers(sampler, validation_sampler, published, cheap)

    # ---- training ------------------------------------------------------------------------------------------------

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        image, mask = batch.image, batch.mask
        condition = torch.where(mask == 1, torch.randn_like(image), image)
        step = torch.randint(self._intervals, (len(image),), device=image.device)
        gamma = self._between(step, torch.rand(len(image), device=image.device))
        loss = self._errors(image, mask, condition, gamma, torch.randn_like(image)).mean()
        with self.optimise(self.optimizers()) as minimise:  # type: ignore[arg-type]
            minimise(loss)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(image))

    @property
    def _intervals(self) -> int:
        """How many intervals between neighbouring levels of training gamma is drawn from."""
        return len(self.training_process) - (self.variant == "janspiry")

    def _between(self, interval: Tensor, share: Tensor) -> Tensor:
        """Gamma at a share (B,) of an interval (B,), from its less noisy end, (B,)."""
        gammas = self.training_process.on(interval.device).abar.float()
        if self.variant == "paper":
            gammas = F.pad(gammas, (1, 0), value=1.0)
        above, below = gammas[interval], gammas[interval + 1]
        return (below - above) * share + above

    def _errors(self, image: Tensor, mask: Tensor, condition: Tensor, gamma: Tensor, noise: Tensor) -> Tensor:
        """Squared error of the noise in the hole, divided by all elements of the image, (B,)."""
        level = gamma.view(-1, 1, 1, 1)
        noisy = torch.where(mask == 1, level.sqrt() * image + (1 - level).sqrt() * noise, image)
        predicted = self.denoiser(torch.cat([condition, noisy], 1), gamma).to(image.dtype)
        return simple_loss(mask * predicted, mask * noise)

    def configure_optimizers(self) -> Adam:
        return Adam(self.denoiser.parameters(), lr=self.learning_rate, fused=True)

    # ---- inpainting ----------------------------------------------------------------------------------------------

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        # The noise that fills the hole of the condition is x_T as well (models/model.py 125 of the program).
        condition = torch.where(mask == 1, Noise(generators)(erased), erased)

        def network(x_t: Tensor, gamma: Tensor) -> Tensor:
            return self.denoiser(torch.cat([condition, x_t], 1), gamma)

        variance: Literal["fixed_small", "fixed_large"] = "fixed_small" if self.variant == "janspiry" else "fixed_large"
        x_0 = self.run_sampler(network, self.inference_process, condition, mask, generators, variance)
        return composite(x_0.clamp(-1, 1), erased, mask)

    def denoising_error(self, batch: InpaintingBatch, generators: Sequence[torch.Generator]) -> Tensor:
        image, mask = batch.image, batch.mask
        interval = torch.cat([torch.randint(self._intervals, (1,), generator=g) for g in generators]).to(self.device)
        share = torch.cat([torch.rand(1, generator=g) for g in generators]).to(self.device)
        draw = Noise(generators)
        condition = torch.where(mask == 1, draw(image), image)
        return self._errors(image, mask, condition, self._between(interval, share), draw(image))


def told_gamma(steps: int, first: float, last: float) -> Diffusion:
    """A process with linear betas, at each index of which the network is told gamma.

    >>> [round(gamma, 6) for gamma in told_gamma(2000, 1e-6, 0.01).timesteps[[0, -1]].tolist()]
    [0.999999, 4.4e-05]
    """
    betas = torch.linspace(first, last, steps, dtype=torch.float64, device="cpu")
    return Diffusion(betas, torch.cumprod(1 - betas, 0).float())


def _kaiming(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.Conv1d | nn.Linear):
        nn.init.kaiming_normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
