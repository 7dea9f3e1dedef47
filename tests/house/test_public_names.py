"""What users import: `lit_inpaint` itself, its version, and `__all__` of every package that exports something."""

import ast
import configparser
import importlib
import importlib.metadata
import subprocess
import sys

import pytest

import lit_inpaint
from tests.support.house import MODULES, ROOT

PACKAGES = {name: path for name, path in MODULES.items() if path.name == "__init__.py"}


def imported(tree: ast.Module) -> list[str]:
    """Names of our own that an ``__init__.py`` imports into the package."""
    froms = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return [a.asname or a.name for node in froms if (node.module or "").split(".")[0] in PACKAGES for a in node.names]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_it_exports(package: str):
    own = imported(ast.parse(PACKAGES[package].read_text(encoding="utf-8")))
    module = importlib.import_module(package)
    names = getattr(module, "__all__", [])
    assert names or not own, f"{package}/__init__.py imports {own} and has no __all__"
    assert len(set(names)) == len(names) and all(hasattr(module, name) for name in names)


def test_lit_inpaint_is_imported_without_torch_and_gives_everything_at_its_first_use():
    code = """
import sys, lit_inpaint
assert set(lit_inpaint.__all__) <= set(dir(lit_inpaint))
assert not {"torch", "lightning", "masks", "experiments"} & set(sys.modules), "too much is imported"
print(lit_inpaint.__version__)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == lit_inpaint.__version__
    for name in set(lit_inpaint.__all__) - {"__version__"}:
        assert getattr(lit_inpaint, name).__name__.split(".")[-1] == name
    with pytest.raises(AttributeError, match="no attribute 'load_methods'"):
        lit_inpaint.load_methods  # noqa: B018


def test_the_version_of_a_checkout_is_the_one_of_its_setup(monkeypatch: pytest.MonkeyPatch):
    def not_installed(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    monkeypatch.setattr(importlib.metadata, "version", not_installed)
    assert lit_inpaint.__version__ == setup["metadata"]["version"]
