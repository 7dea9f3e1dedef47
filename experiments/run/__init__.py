"""One training run and its folder: identity, lock, newest files, and the command that resumes it."""

from experiments.run.folder import Run
from experiments.run.identity import Identity

__all__ = ["Identity", "Run"]
