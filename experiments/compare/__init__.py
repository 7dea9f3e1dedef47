"""``lit-inpaint compare``: records and training curves as one page, Markdown, CSV and LaTeX."""

from experiments.compare.command import main

__all__ = ["main"]
