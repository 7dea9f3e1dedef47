"""Diffusion: schedules, the denoiser's network, its losses, and samplers that inpaint with it."""

from lit_inpaint.diffusion.schedules import Diffusion, NoiseSchedule, Variance, cosine_betas, linear_betas
from lit_inpaint.diffusion.unet import UNet

__all__ = ["Diffusion", "NoiseSchedule", "UNet", "Variance", "cosine_betas", "linear_betas"]
