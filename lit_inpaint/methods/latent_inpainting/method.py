"""Rombach et al.: High-Resolution Image Synthesis with Latent Diffusion Models, CVPR 2022 (section 4.5, inpainting)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import AdamW

from lit_inpaint.denoising import DenoisingModule
from lit_inpaint.diffusion.losses import simple_loss
from lit_inpaint.diffusion.samplers import DDIM, Noise, RePaint, Sampler
from lit_inpaint.diffusion.schedules import Diffusion, scaled_linear_betas, spread
from lit_inpaint.methods.latent_inpainting import networks, text
from lit_inpaint.methods.latent_inpainting.autoencoder import load, stored
from masks.convention import InpaintingBatch, composite, erase


class LatentInpainting(DenoisingModule):
    """A denoiser of an autoencoder's latents: nine channels in, the noisy latent, the mask, and the erased image's.

    The networks are diffusers' UNet2DConditionModel and AutoencoderKL, the latter frozen: any Stable Diffusion folder
    is read (`import-weights`) and a fine-tuned one is written (`export --format official`), which diffusers'
    StableDiffusionInpaintPipeline opens and with which it completes the same images. The mask reaches the latents by
    nearest neighbour, as in both programs; latents are draws of the autoencoder's posterior.

    Where the scale of the latents is unknown, the first batch sets it as published: one over their deviation, that of
    the posterior itself and not of one draw, so that several processes find the same.

    >>> LatentInpainting.imports, LatentInpainting.exports, LatentInpainting.diverse
    (('diffusers',), ('diffusers',), True)

    Args:
        conditional: False: four channels, the unconditional or text-conditional model; training sees no mask, and any
            sampler of unconditional denoisers inpaints, in latents.
        unet: Arguments of UNet2DConditionModel that differ from Stable Diffusion 1.5's, by diffusers' names.
        vae: Those of AutoencoderKL.
        vae_checkpoint: Checkpoint of LatentAutoencoder or of this method, read when a fit begins; None where all
            weights come from elsewhere (``denoiser_checkpoint``, ``init_from``, a resumed run).
        denoiser_checkpoint: Checkpoint of this method from which a fit begins, autoencoder and scale too: of four
            channels (zeros for the other five) or nine, without LoRA.
        text_folder: A diffusers folder with ``text_encoder`` and ``tokenizer``, read when a fit begins. Without it the
            context is zero.
        prompt: What every image is told; batches carry no captions.
        prompt_dropout: Share of images that are told the empty prompt instead, for guidance.
        guidance: Scale of classifier-free guidance at inference; 1 is without, and costs half.
        prediction: What the network predicts: "epsilon", the noise, or "velocity" (Salimans & Ho 2022).
        lora_rank: 0 trains the whole denoiser; else LoRA of this rank and the input convolution alone.
        diffusion_steps: T.
        betas_range: The first and last beta; their roots are linear between them.
        learning_rate: AdamW's: constant, without warm-up; weight decay 0.01.
        sampler: How test, predict, benchmark and inpaint complete images; DDIM(50) if None, as in both programs, and
            RePaint(250, 10, 10) without ``conditional``. Latents are not images: its ``clip`` is off.
        validation_sampler: How validation completes the first ``validation_images`` images; DDIM(20), RePaint(20, 1, 1)
            if None.
    """

    year: ClassVar[int] = 2022
    paper: ClassVar[str] = (
        "Rombach, Blattmann, Lorenz, Esser, Ommer. High-Resolution Image Synthesis with Latent Diffusion Models. "
        "CVPR 2022"
    )
    imports: ClassVar[tuple[str, ...]] = ("diffusers",)
    exports: ClassVar[tuple[str, ...]] = ("diffusers",)
    uncompiled: ClassVar[dict[str, str]] = {"vae": "it is used through encode and decode"}
    settings: ClassVar[tuple[str, ...]] = (
        "vae_checkpoint",
        "denoiser_checkpoint",
        "text_folder",
        "prompt",
        "prompt_dropout",
        "guidance",
        *DenoisingModule.settings,
    )
    extends: ClassVar[tuple[str, ...]] = ("conditional", "lora_rank")

    def __init__(
        self,
        conditional: bool = True,
        unet: dict[str, Any] | None = None,
        vae: dict[str, Any] | None = None,
        vae_checkpoint: str | None = None,
        denoiser_checkpoint: str | None = None,
        text_folder: str | None = None,
        prompt: str = "",
        prompt_dropout: float = 0.1,
        guidance: float = 1.0,
        prediction: Literal["epsilon", "velocity"] = "epsilon",
        lora_rank: int = 0,
        diffusion_steps: int = 1000,
        betas_range: tuple[float, float] = (0.00085, 0.012),
        learning_rate: float = 1e-5,
        sampler: Sampler | None = None,
        validation_sampler: Sampler | None = None,
        validation_images: int = 8,
        **optimisation: Any,
    ) -> None:
        super().__init__(**optimisation)
        self.save_hyperparameters(ignore=["sampler", "validation_sampler"])
        self.conditional, self.prediction, self.learning_rate = conditional, prediction, learning_rate
        self.vae_checkpoint, self.denoiser_checkpoint = vae_checkpoint, denoiser_checkpoint
        self.text_folder, self.prompt, self.prompt_dropout, self.guidance = (
            text_folder,
            prompt,
            prompt_dropout,
            guidance,
        )
        self.validation_images = validation_images
        self._absent: list[str] = []  # files that a fit would begin from
        self.vae = networks.autoencoder(vae).requires_grad_(False)
        channels = self.vae.config.latent_channels
        self.denoiser = networks.unet(unet, 2 * channels + 1 if conditional else channels, channels)
        if lora_rank:
            networks.adapt(self.denoiser, lora_rank)
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.multiple = factor * 2 ** (len(self.denoiser.config.block_out_channels) - 1)
        width = self.denoiser.config.cross_attention_dim
        self.context: Tensor  # of the empty prompt and of ``prompt``
        self.register_buffer("context", torch.zeros(2, 77 if text_folder else 1, width))
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(()))
        self.diffusion = Diffusion(scaled_linear_betas(diffusion_steps, *betas_range), torch.arange(diffusion_steps))
        self._choose(sampler, validation_sampler, diffusion_steps)

    def __setattr__(self, name: str, value: Any) -> None:
        """Whoever gives a sampler: latents are no images, and their estimate is never clipped."""
        value = replace(value, clip=False) if isinstance(value, Sampler) else value
        super().__setattr__(name, value)

    def _choose(self, sampler: Sampler | None, validation_sampler: Sampler | None, steps: int) -> None:
        self.told_known = self.conditional
        published: list[Sampler] = (
            [DDIM(min(50, steps), rule="leading"), DDIM(min(20, steps), rule="leading")]
            if self.conditional
            else [RePaint(min(250, steps)), RePaint(min(20, steps), 1, 1)]
        )
        self.choose_samplers(sampler, validation_sampler, *published)

    # ---- what a fit begins from ----------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Read what a fit begins from, before averages are copied. A resumed run overwrites it and needs no files."""
        super().setup(stage)
        named = (self.denoiser_checkpoint, self.vae_checkpoint, self.text_folder)
        self._absent = [name for name in named if name and not Path(name).exists()]
        if stage != "fit" or self._absent:
            return
        if self.denoiser_checkpoint:
            path = Path(self.denoiser_checkpoint)
            networks.begin_from(self.denoiser, stored(path, "denoiser", "LatentInpainting"), path)
            load(self.vae, stored(path, "vae", "LatentInpainting"), path, "vae")
            self.scale.copy_(stored(path, "scale", "LatentInpainting")["scale"])
        if self.vae_checkpoint:
            path = Path(self.vae_checkpoint)
            load(self.vae, stored(path, "vae", "LatentAutoencoder", "LatentInpainting"), path, "vae")
        if self.text_folder:
            self.context.copy_(text.contexts(Path(self.text_folder), ["", self.prompt]))

    def extended(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Zeros for channels that the weights lack, LoRA as it begins, and the context of this fit's own text.

        Raises:
            ValueError: The weights were told prompts, and this fit has no text encoder.
        """
        prefix = "denoiser."
        given = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        given = networks.extended(given, self.denoiser)
        if self.text_folder:  # read when the fit begins
            state = dict(state) | {"context": self.context}
        elif (told := state.get("context", self.context)).shape != self.context.shape:
            raise ValueError(
                f"these weights are told prompts of {told.shape[1]} tokens: give the folder with the "
                "text_encoder and tokenizer that they came with as model.init_args.text_folder."
            )
        others = {name: value for name, value in state.items() if not name.startswith(prefix)}
        return others | {prefix + name: value for name, value in given.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._absent = []
        context = checkpoint["state_dict"].get("context", self.context)
        if context.shape[::2] == self.context.shape[::2]:  # of prompts, whose folder its arguments need not name
            self.context = self.context.new_zeros(context.shape)

    def on_fit_start(self) -> None:
        if self._absent:
            raise ValueError(f"there is no {self._absent[0]}, from which this fit begins.")
        super().on_fit_start()

    @torch.no_grad()
    def on_train_batch_start(self, batch: InpaintingBatch, batch_idx: int) -> None:  # type: ignore[override]
        """The first batch of a denoiser trained from nothing sets the scale, as in CompVis' ``scale_by_std``."""
        if self.trainer.global_step == 0 and self.denoiser_checkpoint is None and self.scale == 1:
            posterior = self.vae.encode(batch.image).latent_dist
            moments = torch.stack([posterior.mean.mean(), (posterior.mean.square() + posterior.var).mean()])
            mean, square = self.all_gather(moments).reshape(-1, 2).mean(0)  # type: ignore[union-attr]
            self.scale.copy_((square - mean.square()).rsqrt())
        super().on_train_batch_start(batch, batch_idx)

    # ---- training ------------------------------------------------------------------------------------------------

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        image, mask = batch.image, batch.mask
        told = torch.rand(len(image), device=image.device) >= self.prompt_dropout
        t = torch.randint(len(self.diffusion), (len(image),), device=image.device)
        loss = self._errors(image, mask, t, told.long(), Noise()).mean()
        with self.optimise(self.optimizers()) as minimise:  # type: ignore[arg-type]
            minimise(loss)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(image))

    def _errors(self, image: Tensor, mask: Tensor, t: Tensor, told: Tensor, draw: Noise) -> Tensor:
        """Squared error of the prediction over all latents, one per image, (B,); ``told`` indexes the contexts."""
        z_0 = self.encode(image, draw)
        noise = draw(z_0)
        given = self._known(erase(image, mask), mask, draw)
        z_t = self.diffusion.q_sample(z_0, t, noise)
        predicted = self.denoiser(torch.cat([z_t, *given], 1), t, self.context[told]).sample.to(z_t.dtype)
        return simple_loss(predicted, noise if self.prediction == "epsilon" else self._velocity(z_0, t, noise))

    def _velocity(self, z_0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """sqrt(abar) noise - sqrt(1 - abar) z_0 (Salimans & Ho 2022)."""
        here = self.diffusion.on(t.device)
        return spread(here.sqrt_abar, t, z_0) * noise - spread(here.sqrt_1_minus_abar, t, z_0) * z_0

    @torch.no_grad()
    def encode(self, image: Tensor, draw: Noise) -> Tensor:
        """A draw of the scaled latents of images in [-1, 1], (B, 4, h, w)."""
        posterior = networks.latents(self.vae, image)
        mean = posterior.mean.to(image.dtype)
        return self.scale * (mean + posterior.std.to(image.dtype) * draw(mean))

    def _known(self, erased: Tensor, mask: Tensor, draw: Noise) -> list[Tensor]:
        """What the denoiser is given beside z_t: the mask (B, 1, h, w) and the erased image's latents; or nothing."""
        if not self.conditional:
            return []
        latent = self.encode(erased, draw)
        return [F.interpolate(mask, latent.shape[-2:]), latent]

    def configure_optimizers(self) -> AdamW:
        trained = [p for p in self.denoiser.parameters() if p.requires_grad]
        return AdamW(trained, lr=self.learning_rate, weight_decay=0.01, fused=True)

    # ---- inpainting ----------------------------------------------------------------------------------------------

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        draw = Noise(generators)
        if self.conditional:  # diffusers' pipeline draws z_T first
            factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
            height, width = (side // factor for side in erased.shape[-2:])
            known = draw(erased.new_empty(len(erased), self.vae.config.latent_channels, height, width))
            given = self._known(erased, mask, draw)
            hole = torch.ones_like(given[0])  # the walk replaces nothing
        else:
            known, given = self.encode(erased, draw), []
            hole = networks.latent_hole(mask, known.shape[-2:])

        def network(z_t: Tensor, t: Tensor) -> Tensor:
            return self._epsilon(z_t, t, given)

        z_0 = self.run_sampler(network, self.diffusion, known, hole, generators, "fixed_small")
        decoded = self.vae.decode(z_0 / self.scale).sample.to(erased.dtype)
        return composite(decoded.clamp(-1, 1), erased, mask)

    def _epsilon(self, z_t: Tensor, t: Tensor, given: list[Tensor]) -> Tensor:
        """The noise in z_t (B, 4, h, w), guided towards the prompt where ``guidance`` is not 1."""
        inputs = torch.cat([z_t, *given], 1)
        if self.guidance == 1:
            output = self.denoiser(inputs, t, self.context[1:].expand(len(t), -1, -1)).sample
        else:
            contexts = self.context.repeat_interleave(len(t), 0)
            empty, told = self.denoiser(inputs.repeat(2, 1, 1, 1), t.repeat(2), contexts).sample.chunk(2)
            output = empty + self.guidance * (told - empty)
        if self.prediction == "epsilon":
            return output
        here = self.diffusion.on(t.device)
        return spread(here.sqrt_abar, t, z_t) * output + spread(here.sqrt_1_minus_abar, t, z_t) * z_t

    def denoising_error(self, batch: InpaintingBatch, generators: Sequence[torch.Generator]) -> Tensor:
        t = torch.cat([torch.randint(len(self.diffusion), (1,), generator=g) for g in generators]).to(self.device)
        return self._errors(batch.image, batch.mask, t, torch.ones_like(t), Noise(generators))
