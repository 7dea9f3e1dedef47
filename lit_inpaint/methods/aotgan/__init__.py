"""AOT-GAN (Zeng et al. 2021)."""

from lit_inpaint.methods.aotgan.method import AOTGAN

__all__ = ["AOTGAN"]
