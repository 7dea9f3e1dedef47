"""ICT (Wan et al. 2021)."""

from lit_inpaint.methods.ict.method import ICT
from lit_inpaint.methods.ict.stages import ICTTransformer, ICTUpsampler

__all__ = ["ICT", "ICTTransformer", "ICTUpsampler"]
