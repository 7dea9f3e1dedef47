"""Globally and Locally Consistent Image Completion (Iizuka et al. 2017)."""

from lit_inpaint.methods.glcic.method import GLCIC

__all__ = ["GLCIC"]
