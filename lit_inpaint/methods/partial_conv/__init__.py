"""Partial convolutions (Liu et al. 2018)."""

from lit_inpaint.methods.partial_conv.method import PartialConv

__all__ = ["PartialConv"]
