"""One training run and its folder: its identity, its lock, what is newest in it, the command that resumes it."""

from experiments.run.folder import Run
from experiments.run.identity import Identity

__all__ = ["Identity", "Run"]
