"""A protocol's images through a method: protocol, measurements, summary, `benchmark`.

``experiments.evaluate(...)`` is :func:`experiments.evaluate.from_python.evaluate`.
"""

import sys
from types import ModuleType
from typing import Any


class _Called(ModuleType):
    """The folder has the name of the function, so it can be called."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        from experiments.evaluate.from_python import evaluate

        return evaluate(*given, **named)


sys.modules[__name__].__class__ = _Called
