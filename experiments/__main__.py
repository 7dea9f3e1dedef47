"""``python -m experiments`` is ``lit-inpaint``."""

from experiments.cli import main

if __name__ == "__main__":  # a spawned process imports this file once more
    main()
