"""MI-GAN (Sargsyan et al. 2023)."""

from lit_inpaint.methods.migan.method import MIGAN

__all__ = ["MIGAN"]
