"""Samplers: ways to inpaint with one and the same unconditional denoiser."""

from lit_inpaint.diffusion.samplers.base import Denoiser, Noise, Sampler, jump_times
from lit_inpaint.diffusion.samplers.copaint import CoPaint
from lit_inpaint.diffusion.samplers.ddnm import DDNM
from lit_inpaint.diffusion.samplers.ddrm import DDRM
from lit_inpaint.diffusion.samplers.dps import DPS
from lit_inpaint.diffusion.samplers.mcg import MCG
from lit_inpaint.diffusion.samplers.refinement import DDIM, Refinement
from lit_inpaint.diffusion.samplers.repaint import RePaint, RePaintDDIM
from lit_inpaint.diffusion.samplers.replacement import Replacement

__all__ = [
    "DDIM",
    "DDNM",
    "DDRM",
    "DPS",
    "MCG",
    "CoPaint",
    "Denoiser",
    "Noise",
    "RePaint",
    "RePaintDDIM",
    "Refinement",
    "Replacement",
    "Sampler",
    "jump_times",
]
