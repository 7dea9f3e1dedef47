"""Context Encoder (Pathak et al. 2016)."""

from lit_inpaint.methods.context_encoder.method import ContextEncoder

__all__ = ["ContextEncoder"]
