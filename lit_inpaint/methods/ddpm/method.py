"""Ho, Jain, Abbeel: Denoising Diffusion Probabilistic Models, NeurIPS 2020; Lugmayr et al.: RePaint, CVPR 2022."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.optim import AdamW

from lit_inpaint.denoising import DenoisingModule
from lit_inpaint.diffusion.losses import simple_loss, vlb_term
from lit_inpaint.diffusion.samplers import DDNM, RePaint, Replacement, Sampler
from lit_inpaint.diffusion.schedules import Diffusion, NoiseSchedule, Variance
from lit_inpaint.diffusion.timesteps import SecondMomentTimesteps, UniformTimesteps
from lit_inpaint.diffusion.unet import UNet, UNetVariant, attention_factors
from masks.convention import InpaintingBatch, composite, erase
from masks.size import Size, square_or_pair

_CHANNEL_MULT: dict[int, tuple[float, ...]] = {  # guided-diffusion's, 32 px from improved-diffusion
    512: (0.5, 1, 1, 2, 2, 4, 4),
    256: (1, 1, 2, 2, 4, 4),
    128: (1, 1, 2, 3, 4),
    64: (1, 2, 3, 4),
    32: (1, 2, 2, 2),
}


class DDPM(DenoisingModule):
    """A denoiser that learns images, not holes: the mask plays no part in training, and any sampler inpaints with it.

    Defaults are the 552,814,086 parameters and the optimiser of RePaint's CelebA-HQ and Places2 models (the ADM
    hyperparameters of Dhariwal & Nichol 2021). Weights are averaged with decay 0.9999 (the EMA callback); a run of some
    10,000 updates wants 0.999.

    :meth:`fill` pastes the known part at the end, as the paper's figures and metrics do; the official code does not.
    What is random is drawn from one generator per image.

    >>> with torch.device("meta"):
    ...     method = DDPM()
    >>> f"{sum(p.numel() for p in method.denoiser.parameters()):,}"
    '552,814,086'

    Args:
        image_size: Side of the images, or (height, width); others are cropped around the hole or resized, which records
            say.
        model_channels: Base width.
        channel_mult: Width of each level; None for guided-diffusion's at this size, a square.
        attention_resolutions: Sides, in pixels, of the feature maps that attend; of images that are not square, the
            shorter sides.
        num_heads: Used where ``num_head_channels`` is None.
        learn_sigma: The network also predicts its variance, trained by the variational term (L_hybrid).
        fixed_variance: The variance without ``learn_sigma``: beta ("fixed_large") or btilde ("fixed_small").
        conditional: The denoiser is also given the erased image and the mask (7 channels in, of grey 3): the form
            of Palette and GLIDE, trained on the data module's holes; its default sampler is plain replacement.
        num_classes: Classes of a class-conditional network (imported weights); ``label`` is the class, drawn for each
            image if None.
        noise_schedule: "linear" (Ho et al.) or "cosine" (Nichol & Dhariwal).
        diffusion_steps: T of the process that is trained.
        rescale_timesteps: Pass t * 1000 / T to the network (improved-diffusion's models with T = 4000).
        rescale_learned_sigmas: Weigh the variational term by T / 1000; the same at T = 1000.
        timestep_sampling: "loss-second-moment" draws timesteps by the size of recent losses.
        learning_rate: AdamW's rate: constant, without warm-up or weight decay.
        sampler: How test, predict, benchmark and inpaint complete images; RePaint(250, 10, 10) if None (over all steps
            of a shorter process). Kept in checkpoints as plain values.
        validation_sampler: How validation completes the first ``validation_images`` images; DDNM(50 steps) if None.
        channels: 3, or 1 for grey images.
    """

    year: ClassVar[int] = 2022
    paper: ClassVar[str] = (
        "Lugmayr, Danelljan, Romero, Yu, Timofte, Van Gool. RePaint: Inpainting using Denoising Diffusion "
        "Probabilistic Models. CVPR 2022"
    )
    imports: ClassVar[tuple[str, ...]] = ("guided-diffusion", "diffusers")
    exports: ClassVar[tuple[str, ...]] = ("guided-diffusion",)
    settings: ClassVar[tuple[str, ...]] = (
        "dropout",
        "use_checkpoint",
        "timestep_sampling",
        *DenoisingModule.settings,
    )

    def __init__(
        self,
        image_size: Size = 256,
        model_channels: int = 256,
        num_res_blocks: int = 2,
        channel_mult: tuple[float, ...] | None = None,
        attention_resolutions: tuple[int, ...] = (32, 16, 8),
        num_heads: int = 4,
        num_head_channels: int | None = 64,
        num_heads_upsample: int | None = None,
        use_scale_shift_norm: bool = True,
        resblock_updown: bool = True,
        use_new_attention_order: bool = False,
        learn_sigma: bool = True,
        fixed_variance: Literal["fixed_large", "fixed_small"] = "fixed_large",
        dropout: float = 0.0,
        use_checkpoint: bool = False,
        variant: UNetVariant = "guided-diffusion",
        conditional: bool = False,
        num_classes: int | None = None,
        label: int | None = None,
        noise_schedule: NoiseSchedule = "linear",
        diffusion_steps: int = 1000,
        rescale_timesteps: bool = False,
        rescale_learned_sigmas: bool = False,
        timestep_sampling: Literal["uniform", "loss-second-moment"] = "uniform",
        learning_rate: float = 1e-4,
        sampler: Sampler | None = None,
        validation_sampler: Sampler | None = None,
        validation_images: int = 8,
        channels: Literal[1, 3] = 3,
        **optimisation: Any,
    ) -> None:
        super().__init__(**optimisation)
        self.save_hyperparameters(ignore=["sampler", "validation_sampler"])
        self.fixed_size, self.learning_rate, self.channels = square_or_pair(image_size), learning_rate, channels
        self.learn_sigma, self.conditional, self.num_classes, self.label = learn_sigma, conditional, num_classes, label
        self.variance: Variance = "learned_range" if learn_sigma else fixed_variance
        self.rescale_learned_sigmas, self.validation_images = rescale_learned_sigmas, validation_images
        widths = channel_mult or _published_multipliers(self.fixed_size)
        self.denoiser = UNet(
            in_channels=2 * channels + 1 if conditional else channels, model_channels=model_channels,
            out_channels=2 * channels if learn_sigma else channels, num_res_blocks=num_res_blocks, channel_mult=widths,
            attention_factors=attention_factors(image_size, attention_resolutions, len(widths)), num_heads=num_heads,
            num_head_channels=num_head_channels, num_heads_upsample=num_heads_upsample,
            use_scale_shift_norm=use_scale_shift_norm, resblock_updown=resblock_updown,
            use_new_attention_order=use_new_attention_order, num_classes=num_classes, dropout=dropout,
            use_checkpoint=use_checkpoint, variant=variant,
        )  # fmt: skip
        self.diffusion = Diffusion.make(noise_schedule, diffusion_steps, rescale_timesteps)
        by_loss = timestep_sampling == "loss-second-moment"
        self.timesteps = SecondMomentTimesteps(diffusion_steps) if by_loss else UniformTimesteps(diffusion_steps)
        self._choose(sampler, validation_sampler, diffusion_steps)

    def _choose(self, sampler: Sampler | None, validation_sampler: Sampler | None, diffusion_steps: int) -> None:
        steps = min(250, diffusion_steps)
        published = Replacement(steps) if self.conditional else RePaint(steps)
        self.choose_samplers(sampler, validation_sampler, published, DDNM(steps=min(50, diffusion_steps)))

    # ---- training ------------------------------------------------------------------------------------------------

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        image, mask = batch.image, batch.mask
        t, weight = self.timesteps.draw(len(image), image.device)
        simple, vlb = self._losses(image, mask, t, torch.randn_like(image), None)
        per_image = simple + vlb
        loss = (weight * per_image).mean()
        with self.optimise(self.optimizers()) as minimise:  # type: ignore[arg-type]
            minimise(loss, simple=simple, vlb=vlb)
        if isinstance(self.timesteps, SecondMomentTimesteps):
            seen: Any = self.all_gather((t, per_image.detach()))
            self.timesteps.observe(seen[0].flatten(), seen[1].flatten())
        losses = {"train/simple": simple.mean()} | ({"train/vlb": vlb.mean()} if self.learn_sigma else {})
        self.log_dict(losses, batch_size=len(image))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(image))

    def _losses(
        self, image: Tensor, mask: Tensor, t: Tensor, noise: Tensor, label: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """L_simple and the variational term (0 with a fixed variance) of each image, (B,)."""
        x_t = self.diffusion.q_sample(image, t, noise)
        inputs = torch.cat([x_t, erase(image, mask), mask], 1) if self.conditional else x_t
        told = self.diffusion.on(t.device).timesteps[t]
        epsilon, v = self.denoiser(inputs, told, label).to(image.dtype).tensor_split([self.channels], 1)
        simple = simple_loss(epsilon, noise)
        if not self.learn_sigma:
            return simple, torch.zeros_like(simple)
        vlb = vlb_term(self.diffusion, image, x_t, t, epsilon, v)
        return simple, vlb * (len(self.diffusion) / 1000 if self.rescale_learned_sigmas else 1)

    def configure_optimizers(self) -> AdamW:
        return AdamW(self.denoiser.parameters(), lr=self.learning_rate, weight_decay=0, fused=True)

    def on_fit_start(self) -> None:
        if self.num_classes is not None:
            raise ValueError(
                f"num_classes is {self.num_classes}, but batches carry no labels to train with. Train an unconditional "
                "denoiser (num_classes: null); class-conditional weights can be imported and sampled."
            )
        super().on_fit_start()

    # ---- inpainting ----------------------------------------------------------------------------------------------

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        label = self._labels(len(erased), generators)

        def network(x_t: Tensor, t: Tensor) -> Tensor:
            return self.denoiser(torch.cat([x_t, erased, mask], 1) if self.conditional else x_t, t, label)

        x_0 = self.run_sampler(network, self.diffusion, erased, mask, generators, self.variance)
        return composite(x_0.clamp(-1, 1), erased, mask)

    def _labels(self, count: int, generators: Sequence[torch.Generator] | None) -> Tensor | None:
        """Class of each image, (B,): ``label``, else drawn as RePaint's program does."""
        if self.num_classes is None:
            return None
        if self.label is not None:
            return torch.full((count,), self.label, device=self.device)
        if generators is None:
            return torch.randint(self.num_classes, (count,), device=self.device)
        return torch.cat([torch.randint(self.num_classes, (1,), generator=g) for g in generators]).to(self.device)

    def denoising_error(self, batch: InpaintingBatch, generators: Sequence[torch.Generator]) -> Tensor:
        t = torch.cat([torch.randint(len(self.diffusion), (1,), generator=g) for g in generators]).to(self.device)
        noise = torch.stack([torch.randn(batch.image.shape[1:], generator=g) for g in generators]).to(batch.image)
        return self._losses(batch.image, batch.mask, t, noise, self._labels(len(t), generators))[0]


def _published_multipliers(image_size: Size) -> tuple[float, ...]:
    if not isinstance(image_size, int) or image_size not in _CHANNEL_MULT:
        raise ValueError(
            f"image_size {image_size} has no published channel_mult ({sorted(_CHANNEL_MULT)} have one): give one."
        )
    return _CHANNEL_MULT[image_size]
