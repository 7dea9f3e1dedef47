"""DDPM and the samplers that inpaint with it (RePaint and its family)."""
