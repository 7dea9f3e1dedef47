"""What a GPU is asked, in parts of at most eight minutes: ``python -m benchmarks.gpu``.

A part is a module with two functions. ``items(device)`` names what it measures; ``run(item, device)`` measures one of
them, and returns plain values, raises :class:`benchmarks.gpu.support.Skipped` with what is missing, or fails.
"""
