"""The preference study behind the Votes column of RePaint (Lugmayr et al. 2022, section 5.1)."""

from experiments.vote.command import main

__all__ = ["main"]
