"""Every package that is imported is declared, and every declared one is needed."""

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.house import OURS, ROOT

DISTRIBUTIONS = {  # import name: distribution, where they differ by more than a hyphen
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
NOT_IMPORTED = {  # declared: why no file of ours imports it
    "ipykernel": "runs the notebooks",
    "mlflow": "Lightning's MLFlowLogger, by loggers/mlflow.yaml",
    "mypy": "a program",
    "myst-nb": "an extension of Sphinx, named in docs/conf.py",
    "omegaconf": "jsonargparse's parser_mode omegaconf+",
    "onnx": "torch.onnx.export",
    "pydata-sphinx-theme": "the theme, named in docs/conf.py",
    "pytest-timeout": "a plugin of pytest",
    "pytest-xdist": "a plugin of pytest",
    "ruff": "a program",
    "snakemake": "a program, started by lit-inpaint study",
    "sphinx": "a program",
    "sphinx-design": "an extension of Sphinx, named in docs/conf.py",
    "tensorboard": "Lightning's TensorBoardLogger, by loggers/tensorboard.yaml",
}
ROOMS = {  # folder: the extra without which nothing in it is imported
    "experiments/app": "app",
    "experiments/sweep": "sweep",
    "lit_inpaint/methods/latent_inpainting": "diffusers",
}
BY_NAME = ("import_module", "find_spec", "importorskip")
OF_OTHERS = {  # imported by tests: why it is not declared
    "httpx": "of huggingface_hub",
    "setuptools": "of pyproject.toml",
    "llvmlite": "of numba",
    "tifffile": "of scikit-image",
    "tokenizers": "of transformers",
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> dict[str, set[str]]:
    """Distributions by extra; those of the core under ''."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    groups = {"": setup["options"]["install_requires"], **setup["options.extras_require"]}
    return {
        extra: {normal(found[0]) for line in lines.splitlines() if (found := re.match(r"[\w.-]+", line))}
        for extra, lines in groups.items()
    }


def imported(path: Path) -> Iterator[tuple[str, bool]]:
    """(distribution, whether importing the file imports it) of every import of another's package."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.Lambda)
        or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(BY_NAME):
            names = [str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant)]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            if top and top not in sys.stdlib_module_names and top not in (*OURS, "tests", "benchmarks", "docs"):
                yield normal(DISTRIBUTIONS.get(top, top)), id(node) not in late


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", files(*OURS), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_imports_only_what_is_declared(path: Path):
    known, name = declared(), path.relative_to(ROOT).as_posix()
    room = next((extra for folder, extra in ROOMS.items() if name.startswith(f"{folder}/")), "")
    for package, at_once in imported(path):
        homes = {extra for extra, packages in known.items() if package in packages} - {"dev", "docs"}
        assert homes, f"{name} imports {package}, which setup.cfg does not declare"
        assert not at_once or homes & {"", room}, f"{name} imports {package} of the extra {homes} when it is imported"


def test_tests_import_only_what_is_declared():
    known = set().union(*declared().values(), OF_OTHERS)
    optional = {"kubeflow-trainer-api", "simple-slurm", "sky"}  # tests skip without them
    found = {package: path for path in files("tests", "examples") for package, at_once in imported(path) if at_once}
    assert not {package: path for package, path in found.items() if package not in known | optional | {"own-method"}}


def test_the_site_imports_only_what_its_extra_declares():
    known = declared()[""] | declared()["docs"]
    assert not {package: path for path in files("docs") for package, _ in imported(path) if package not in known}


def test_everything_declared_is_imported_or_says_what_it_is_for():
    used = {package for path in files(*OURS) for package, _ in imported(path)}
    beside = {package for path in files("tests", "docs", "benchmarks") for package, _ in imported(path)}
    for extra, packages in declared().items():
        idle = packages - used - set(NOT_IMPORTED) - (beside if extra in {"dev", "docs"} else set())
        assert not idle, f"{extra or 'the core'} declares {idle}, which nothing imports"
    assert not set(NOT_IMPORTED) & used
    assert set(NOT_IMPORTED) <= set().union(*declared().values())


def test_a_package_is_declared_once_with_one_bound():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    bounds: dict[str, set[str]] = {}
    for lines in (setup["options"]["install_requires"], *dict(setup["options.extras_require"]).values()):
        for found in re.finditer(r"^([\w.-]+)(?:\[\w+\])?([<>=]\S*)?", lines, re.MULTILINE):
            bounds.setdefault(normal(found[1]), set()).add(found[2] or "")
    assert not {name: each for name, each in bounds.items() if len(each) > 1}


def test_the_page_names_every_extra():
    text = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    rows = "\n".join(line for line in text.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([a-z-]+)`", rows)) & set(declared()) == set(declared()) - {""}
