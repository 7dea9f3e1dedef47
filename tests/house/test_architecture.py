"""The arrows of the house: who may import whom, read from the source."""

import ast
import re

import pytest

from tests.support.house import EDGES, MODULES, OURS, ROOT, arrows, levels

ALLOWED = {
    "experiments": set(OURS),
    "lit_inpaint": {"lit_inpaint", "masks"},
    "datamodules": {"datamodules", "masks"},
    "masks": {"masks"},
}
FLOORS = {  # inside lit_inpaint: what each part may import beside itself
    "methods": {
        "stage",
        "method",
        "module",
        "calls",
        "classical",
        "layers",
        "losses",
        "discriminators",
        "diffusion",
        "denoising",
        "backbones",
        "foreign",
        "checkpoints",
        "hub",
        "plugins",
        "prompts",
        "quiet",
    },
    "method": {"pictures", "windows"},
    "calls": {"method"},
    "classical": {"method"},
    "denoising": {"method", "module", "calls", "diffusion"},
    "stage": {"ddp", "checkpoints", "epochs", "method", "optimisers"},
    "optimisers": {"plugins"},
    "module": {"stage", "method", "metrics"},
    "evaluated": {"module", "classical"},
    "logged": {"module", "stage", "metrics"},
    "pictures": set(),
    "windows": set(),
    "classes": {"methods", "method", "stage", "evaluated", "classical", "plugins", "hub"},
    "labels": {"classes", "load", "plugins", "hub", "recipes", "zoo"},
    "load": {
        "causes",
        "classes",
        "memory",
        "renamed",
        "method",
        "module",
        "stage",
        "checkpoints",
        "classical",
        "plugins",
        "hub",
        "recipes",
        "zoo",
    },
    "zoo": {"renamed", "hub", "backbones", "checkpoints", "options"},
    "recipes": {"checkpoints"},
    "sampling": {"method", "denoising", "diffusion", "options", "plugins"},
    "hub": {"renamed", "backbones", "checkpoints"},
    "callbacks": {"method", "module", "stage", "metrics", "memory", "checkpoints", "epochs"},
    "metrics": {"backbones", "plugins", "quiet"},
    "losses": {"backbones"},
    "diffusion": {"layers"},
    "layers": set(),
    "discriminators": {"layers"},
    "backbones": set(),
    "foreign": {"checkpoints"},
    "causes": set(),
    "checkpoint_io": {"checkpoints"},
    "checkpoints": {"renamed"},
    "plugins": set(),
    "prompts": set(),
    "quiet": set(),
    "renamed": set(),
    "ddp": set(),
    "epochs": set(),
    "memory": set(),
}


@pytest.mark.parametrize("package", OURS)
def test_packages_import_only_what_lies_below_them(package: str):
    wrong = [
        (m, t)
        for m, ts in EDGES.items()
        if m.split(".")[0] == package
        for t in ts
        if t.split(".")[0] not in ALLOWED[package]
    ]
    assert not wrong


def test_no_method_imports_another_and_each_part_keeps_to_its_floor():
    wrong = []
    for module, targets in EDGES.items():
        if not module.startswith("lit_inpaint."):
            continue
        part, *inner = module.split(".")[1:]
        for target in targets:
            if not target.startswith("lit_inpaint."):
                continue
            below, *target_inner = target.split(".")[1:]
            another = below == part == "methods" and inner and target_inner and inner[0] != target_inner[0]
            if another or (below != part and below not in FLOORS[part]):
                wrong.append((module, target))
    assert not wrong


def test_masks_do_without_lightning_and_nothing_uses_the_other_lightning_package():
    texts = {name: path.read_text(encoding="utf-8") for name, path in MODULES.items()}
    assert not [
        n for n, t in texts.items() if n.startswith("masks") and ("import lightning" in t or "from lightning" in t)
    ]
    imports = ("import pytorch_lightning", "from pytorch_lightning")
    assert not [n for n, t in texts.items() if any(line in t for line in imports)]


def test_imports_have_no_circle():
    state: dict[str, int] = {}

    def visit(module: str, trail: list[str]) -> None:
        if state.get(module) == 1:
            raise AssertionError(f"circle: {' -> '.join([*trail[trail.index(module) :], module])}")
        if state.get(module) == 2:
            return
        state[module] = 1
        for target in EDGES.get(module, ()):
            if not module.startswith(f"{target}."):  # a package's __init__ is no circle with its own parts
                visit(target, [*trail, module])
        state[module] = 2

    for module in MODULES:
        if not module.endswith("__main__"):
            visit(module, [])
    assert set(state) >= set(MODULES) - {"experiments.__main__"}


def test_experiments_is_a_house_of_few_rooms():
    graph = arrows("experiments")
    assert len(graph) <= 20 and max(levels(graph).values()) <= 5 and sum(map(len, graph.values())) <= 30


def test_no_test_file_is_imported():
    """Shared test code is in tests/support, including programs that tests write for subprocesses."""
    files = [path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    found = {path.name: re.findall(r"\btests(?:\.\w+)*\.test_\w+|import test_\w+", path.read_text()) for path in files}
    assert len(files) > 100 and not {name: modules for name, modules in found.items() if modules}


def test_any_is_rare():
    """Strict mypy accepts whatever is annotated Any, so few annotations may be: 10 lines in 1000."""
    texts = [path.read_text(encoding="utf-8") for path in MODULES.values()]
    vague = [
        {
            node.lineno
            for node in ast.walk(ast.parse(text))
            if "Any" in (getattr(node, "id", 0), getattr(node, "attr", 0))
        }
        for text in texts
    ]
    assert 1000 * sum(map(len, vague)) <= 10 * sum(len(text.splitlines()) for text in texts)


LONG = 60  # lines
MAY_BE_LONG = ("networks.py", "unet.py", "weights.py")  # a network's layers, a converter's keys: one list each


def test_no_function_is_long_outside_networks_and_converters():
    found = [
        (module, node.name)
        for module, path in MODULES.items()
        if path.name not in MAY_BE_LONG
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines(node) > LONG
    ]
    assert not found


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of its body, without arguments and docstring."""
    body = function.body[ast.get_docstring(function) is not None :]
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0
