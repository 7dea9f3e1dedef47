"""One folder a paper; the names in ``__all__`` are those of the command line (``--method Telea``)."""

__all__: list[str] = []
