"""Catalogue commands: `methods`, `masks`, docstrings and the memory of a training step."""
