"""Palette: diffusion that is told the known part."""
