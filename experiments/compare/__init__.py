"""Records and training curves side by side: tables, text, the page, `compare`.

``experiments.compare(...)`` is :func:`experiments.compare.result.compare`.
"""

import sys
from types import ModuleType
from typing import Any


class _Called(ModuleType):
    """The folder has the name of the function, so it can be called."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        from experiments.compare.result import compare

        return compare(*given, **named)


sys.modules[__name__].__class__ = _Called
