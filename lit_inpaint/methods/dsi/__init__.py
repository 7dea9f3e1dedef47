"""Diverse Structure Inpainting (Peng et al. 2021): the method and the three stages that are trained for it."""

from lit_inpaint.methods.dsi.method import DSI
from lit_inpaint.methods.dsi.stages import DSIVQVAE, DSIStructure, DSITexture

__all__ = ["DSI", "DSIVQVAE", "DSIStructure", "DSITexture"]
