"""Ho, Jain, Abbeel: Denoising Diffusion Probabilistic Models, NeurIPS 2020; Lugmayr et al.: RePaint, CVPR 2022."""

import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch.trainer.states import TrainerFn, TrainerStatus
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.optim import AdamW
from torchmetrics import MeanMetric
from tqdm import tqdm

from lit_inpaint.calls import counted
from lit_inpaint.diffusion import samplers
from lit_inpaint.diffusion.losses import simple_loss, vlb_term
from lit_inpaint.diffusion.samplers import DDNM, RePaint, Replacement, Sampler
from lit_inpaint.diffusion.schedules import Diffusion, NoiseSchedule, Variance
from lit_inpaint.diffusion.timesteps import SecondMomentTimesteps, UniformTimesteps
from lit_inpaint.diffusion.unet import UNet, UNetVariant
from lit_inpaint.module import InpaintingModule, keyed_generators
from masks.convention import InpaintingBatch, composite, erase

logger = logging.getLogger(__name__)
_CHANNEL_MULT: dict[int, tuple[float, ...]] = {  # guided-diffusion's, 32 px from improved-diffusion
    512: (0.5, 1, 1, 2, 2, 4, 4),
    256: (1, 1, 2, 2, 4, 4),
    128: (1, 1, 2, 3, 4),
    64: (1, 2, 3, 4),
    32: (1, 2, 2, 2),
}


class DDPM(InpaintingModule):
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
        image_size: Side of the images; larger ones are cropped around the hole or resized, which records say.
        model_channels: Base width.
        channel_mult: Width of each level; None for guided-diffusion's at this size.
        attention_resolutions: Sides, in pixels, of the feature maps that attend.
        num_heads: Used where ``num_head_channels`` is None.
        learn_sigma: The network also predicts its variance, trained by the variational term (L_hybrid).
        fixed_variance: The variance without ``learn_sigma``: beta ("fixed_large") or btilde ("fixed_small").
        conditional: The denoiser is also given the erased image and the mask (7 channels in): the conditional form of
            Palette and GLIDE, trained on the data module's holes; its default sampler is plain replacement.
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
    """

    year: ClassVar[int] = 2022
    paper: ClassVar[str] = (
        "Lugmayr, Danelljan, Romero, Yu, Timofte, Van Gool. RePaint: Inpainting using Denoising Diffusion "
        "Probabilistic Models. CVPR 2022"
    )
    imports: ClassVar[tuple[str, ...]] = ("guided-diffusion", "diffusers")
    exports: ClassVar[tuple[str, ...]] = ("guided-diffusion",)
    diverse: ClassVar[bool] = True
    settings: ClassVar[tuple[str, ...]] = (
        "dropout",
        "use_checkpoint",
        "timestep_sampling",
        "sampler",
        "validation_sampler",
        "validation_images",
    )
    averaged: ClassVar[tuple[str, ...]] = ("denoiser",)

    def __init__(
        self,
        image_size: int = 256,
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
        **optimisation: Any,
    ) -> None:
        super().__init__(**optimisation)
        self.save_hyperparameters(ignore=["sampler", "validation_sampler"])
        self.fixed_size, self.learning_rate = image_size, learning_rate
        self.learn_sigma, self.conditional, self.num_classes, self.label = learn_sigma, conditional, num_classes, label
        self.variance: Variance = "learned_range" if learn_sigma else fixed_variance
        self.rescale_learned_sigmas, self.validation_images = rescale_learned_sigmas, validation_images
        self.denoiser = UNet(
            in_channels=7 if conditional else 3,
            model_channels=model_channels,
            out_channels=6 if learn_sigma else 3,
            num_res_blocks=num_res_blocks,
            channel_mult=channel_mult or _published_multipliers(image_size),
            attention_factors=[image_size // side for side in attention_resolutions],
            num_heads=num_heads,
            num_head_channels=num_head_channels,
            num_heads_upsample=num_heads_upsample,
            use_scale_shift_norm=use_scale_shift_norm,
            resblock_updown=resblock_updown,
            use_new_attention_order=use_new_attention_order,
            num_classes=num_classes,
            dropout=dropout,
            use_checkpoint=use_checkpoint,
            variant=variant,
        )
        self.diffusion = Diffusion.make(noise_schedule, diffusion_steps, rescale_timesteps)
        by_loss = timestep_sampling == "loss-second-moment"
        self.timesteps = SecondMomentTimesteps(diffusion_steps) if by_loss else UniformTimesteps(diffusion_steps)
        self._choose_samplers(sampler, validation_sampler, diffusion_steps)

    def _choose_samplers(self, given: Sampler | None, for_validation: Sampler | None, diffusion_steps: int) -> None:
        steps = min(250, diffusion_steps)
        self._given = {"sampler": given, "validation_sampler": for_validation}
        self.sampler = given or (Replacement(steps) if self.conditional else RePaint(steps))
        self.validation_sampler = for_validation or DDNM(steps=min(50, diffusion_steps))
        self._announced: set[Sampler] = set()

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
        epsilon, v = self.denoiser(inputs, told, label).to(image.dtype).tensor_split([3], 1)
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
        calls = self.validation_sampler.network_calls
        _say(
            f"validation: {self.validation_sampler}, {calls} network calls per image, {self.validation_images} images: "
            f"{calls * self.validation_images} calls per validation"
        )

    # ---- inpainting ----------------------------------------------------------------------------------------------

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        state = self._trainer.state if self._trainer is not None else None
        cheap = (  # in a fit, whose panels count, and in validate
            state is not None
            and state.fn in (TrainerFn.FITTING, TrainerFn.VALIDATING)
            and state.status == TrainerStatus.RUNNING
        )
        sampler = self.validation_sampler if cheap else self.sampler
        if sampler not in self._announced and not cheap:
            self._announced.add(sampler)
            cost = f"{sampler.network_calls} network calls per image"
            rank_zero_only(logger.info)("sampling: %s, %s; known pixels are pasted at the end", sampler, cost)
        label = self._labels(len(erased), generators)
        told = not cheap and logger.isEnabledFor(logging.INFO)

        def network(x_t: Tensor, t: Tensor) -> Tensor:
            return self.denoiser(torch.cat([x_t, erased, mask], 1) if self.conditional else x_t, t, label)

        with (
            tqdm(total=sampler.network_calls, disable=None if told else True, leave=False) as bar,
            nullcontext() if cheap else counted(self, bar.update),
        ):
            x_0 = sampler(network, self.diffusion, erased, mask, generators, self.variance)
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

    # ---- validation: cheap ---------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        self._denoising = MeanMetric().to(self.device)
        self._seen = 0

    def validation_step(self, batch: InpaintingBatch, batch_idx: int) -> Tensor | None:  # type: ignore[override]
        """The denoising error of every image; completions of the first few images, or None once they are done."""
        generators = keyed_generators(0, batch.name, -1)
        t = torch.cat([torch.randint(len(self.diffusion), (1,), generator=g) for g in generators]).to(self.device)
        noise = torch.stack([torch.randn(batch.image.shape[1:], generator=g) for g in generators]).to(batch.image)
        simple, _ = self._losses(batch.image, batch.mask, t, noise, self._labels(len(t), generators))
        self._denoising.update(simple)
        # This rank holds every world_size-th image of the set.
        quota = -((self.global_rank - self.validation_images) // self.trainer.world_size) - self._seen
        self._seen += len(batch.image)
        if quota <= 0:
            return None
        return self._evaluate(InpaintingBatch(batch.image[:quota], batch.mask[:quota], batch.name[:quota]))

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self.log("val/simple", self._denoising.compute())

    # ---- checkpoints: samplers as plain values -------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        for role, sampler in self._given.items():
            if sampler is not None:
                checkpoint[role] = {"class_path": type(sampler).__name__, "init_args": asdict(sampler)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The samplers of the run that wrote the checkpoint, unless this module was given its own."""
        super().on_load_checkpoint(checkpoint)
        for role, given in self._given.items():
            stored = checkpoint.get(role)
            if given is None and stored and stored["class_path"] in samplers.__all__:
                self._given[role] = getattr(samplers, stored["class_path"])(**stored["init_args"])
                setattr(self, role, self._given[role])


def _published_multipliers(image_size: int) -> tuple[float, ...]:
    if image_size not in _CHANNEL_MULT:
        raise ValueError(
            f"image_size {image_size} has no published channel_mult ({sorted(_CHANNEL_MULT)} have one): give one."
        )
    return _CHANNEL_MULT[image_size]


@rank_zero_only
def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
