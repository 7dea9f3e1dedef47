"""Suvorov et al. 2022."""

from lit_inpaint.methods.lama.method import LaMa

__all__ = ["LaMa"]
