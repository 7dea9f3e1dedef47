"""Checkpoint formats of other programs, read without running their code."""
