"""``lit-inpaint sweep``: many trainings over a search space in W&B's schema, offline, on one machine or many."""

from experiments.sweep.command import main

__all__ = ["main"]
