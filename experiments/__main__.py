"""``python -m experiments`` is ``lit-inpaint``."""

from experiments.cli import main

main()
