"""DeepFill v1: contextual attention (Yu et al. 2018)."""

from lit_inpaint.methods.deepfillv1.method import DeepFillV1

__all__ = ["DeepFillV1"]
