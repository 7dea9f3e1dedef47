"""The reference of Python: a page for every public name, from its docstring."""

import inspect
from importlib import import_module
from typing import Any

from experiments.catalogue.methods import classes
from lit_inpaint import methods

PACKAGES = {  # package: heading
    "lit_inpaint": "lit_inpaint",
    "lit_inpaint.methods": "Methods",
    "lit_inpaint.metrics": "Metrics",
    "lit_inpaint.callbacks": "Callbacks",
    "lit_inpaint.diffusion": "Diffusion",
    "lit_inpaint.diffusion.samplers": "Samplers",
    "masks": "Masks",
    "masks.convention": "The convention: image, mask, erase, composite",
    "datamodules": "Data sets",
    "experiments": "experiments",
}
MODULES = {  # package without public names of its own: its modules are
    "lit_inpaint.losses": ("bce", "hinge", "perceptual", "wasserstein"),
    "lit_inpaint.layers": ("contextual_attention", "gated_conv", "partial_conv"),
}
ELSEWHERE = {  # a function behind the name of its package
    "experiments.compare": "experiments.compare.result.compare",
    "experiments.evaluate": "experiments.evaluate.from_python.evaluate",
    "lit_inpaint.metric": "lit_inpaint.metrics.metric",
}


def names(package: str) -> dict[str, Any]:
    """Public classes and functions of a package by the path of their page."""
    module = import_module(package)
    public = getattr(module, "__all__", None) or [
        name
        for name, found in vars(module).items()
        if not name.startswith("_") and getattr(found, "__module__", "") == package
    ]
    found = {}
    for name in public:
        path = ELSEWHERE.get(f"{package}.{name}", f"{package}.{name}")
        thing = getattr(import_module(path.rpartition(".")[0]), name)
        if inspect.isclass(thing) or callable(thing):
            found[path] = thing
    if package == "lit_inpaint.methods":
        stages = {name: cls for name, cls in classes().items() if name not in methods.__all__}
        found |= {f"{cls.__module__}.{name}": cls for name, cls in stages.items()}
    return found


def first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")


def pages() -> dict[str, str]:
    index = ["Python", "======", "", "Every public name. :doc:`/python` shows how they are used.", ""]
    found: dict[str, str] = {}
    listed: set[str] = set()
    for package, heading in PACKAGES.items():
        entries = names(package)
        index += [heading, "-" * len(heading), "", ".. list-table::", "   :widths: 30 70", ""]
        for path, thing in entries.items():
            index += [f"   * - :doc:`{path.rpartition('.')[2]} <{path}>`", f"     - {first_line(thing)}"]
            found[f"python/{path}.rst"] = _page(path, thing)
        new = [path for path in entries if path not in listed]
        listed |= set(new)
        index += ["", ".. toctree::", "   :hidden:", "", *(f"   {path}" for path in new), ""]
    for package, modules in MODULES.items():
        index += [package, "-" * len(package), "", ".. toctree::", "", *(f"   {package}.{m}" for m in modules), ""]
        for module in modules:
            path = f"{package}.{module}"
            text = [path, "=" * len(path), "", f".. automodule:: {path}", "   :members:", ""]
            found[f"python/{path}.rst"] = "\n".join(text)
    return {"python/index.rst": "\n".join(index), **found}


def _page(path: str, thing: Any) -> str:
    name = path.rpartition(".")[2]
    text = [name, "=" * len(name), ""]
    if not inspect.isclass(thing):
        return "\n".join([*text, f".. autofunction:: {path}", ""])
    own = [
        name
        for name, member in vars(thing).items()
        if not name.startswith("_")
        and (inspect.isfunction(member) or isinstance(member, property | staticmethod | classmethod))
    ]
    text += [f".. autoclass:: {path}", "   :show-inheritance:"]
    text += [f"   :members: {', '.join(own)}", "   :undoc-members:"] if own else []
    return "\n".join([*text, ""])
