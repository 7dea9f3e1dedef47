"""DeepFill v2 (Yu et al. 2019)."""

from lit_inpaint.methods.deepfillv2.method import DeepFillV2

__all__ = ["DeepFillV2"]
