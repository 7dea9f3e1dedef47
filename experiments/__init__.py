"""What one runs: every command, and from Python :func:`evaluate` and :func:`compare`.

>>> import experiments, tempfile
>>> folder = tempfile.TemporaryDirectory()
>>> record = experiments.evaluate("Telea", "quickstart", folder.name, limit=1)
>>> record.label, record.metrics["psnr_hole"].n
('Telea', 1)
>>> experiments.compare(folder.name, out=f"{folder.name}/table.html").path.name
'table.html'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.compare.result import compare
    from experiments.evaluate.from_python import evaluate

__all__ = ["compare", "evaluate"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f"experiments.{name}")  # the folder of that name, which can be called
    raise AttributeError(f"module 'experiments' has no attribute '{name}'")
