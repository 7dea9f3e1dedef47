"""What there is: `methods`, `masks`, docstrings and the memory of a training step."""
