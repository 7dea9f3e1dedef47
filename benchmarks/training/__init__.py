"""Training steps of published programs beside ours: ``python -m benchmarks.parity --training --public DIR``.

A file for each family of programs. Every function takes the folder with the checkouts and returns a
:class:`benchmarks.training.steps.Pair`; networks, losses and optimisers are the program's own, imported from the
checkout. Where its loop can be called it is; where it stands in a script between data set and GPU, the function has the
order of that script and cites its lines.
"""
