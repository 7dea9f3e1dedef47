"""The page on which a person loads a photograph, paints the hole and looks at what the methods make of it."""

from experiments.app.command import main

__all__ = ["main"]
