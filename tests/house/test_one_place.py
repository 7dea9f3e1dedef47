"""Small logic has one place each, and no shared file knows a paper. Read from the source, comments left out."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

from experiments.inpaint import options as inpaint_options
from experiments.weights import imports
from experiments.weights import options as weights_options
from lit_inpaint import methods
from lit_inpaint.classes import known_guides
from tests.support.house import OURS, ROOT

ONE_PLACE = {  # what stands nowhere else in our packages: where, and what to call instead
    r"127\.5": ({"masks/convention.py"}, "to_levels, from_levels, to_pixels of masks.convention"),
    r"\bdifflib\b": ({"masks/nearest.py"}, "masks.nearest.nearest"),
    r"\bru_maxrss\b|\bVmHWM\b|\bmax_memory_allocated\(device": ({"lit_inpaint/memory.py"}, "lit_inpaint.memory"),
    r"\badd_subclass_arguments\b": (
        {"lit_inpaint/load.py", "experiments/train/parser.py"},  # the model of fit, as Lightning adds it
        "lit_inpaint.load.instantiate",
    ),
    r"\bmkstemp\b|\bNamedTemporaryFile\b|\bos\.(rename|renames|replace)\b": (set(), "masks.atomic.whole"),
    r"\bos\.fsync\b": (
        {"masks/atomic.py", "experiments/run/journal.py", "experiments/sweep/storage.py"},  # two append to journals
        "masks.atomic.whole with flush",
    ),
    r"\bkeyed_generators\(": (
        {"lit_inpaint/method.py", "lit_inpaint/denoising.py"},  # training draws of every image, always
        "Method.draws",
    ),
    r"\b_getframe\b|\bcurrentframe\b|\bglobals\(\)": (set(), "an argument with a name"),
}
NAMES_A_PAPER = {  # outside the papers' folders and configs: the files that may, and why
    "lit_inpaint/methods/__init__.py": "the import line that a new paper adds",
    "lit_inpaint/renamed.py": "the one table of old names says whose each is",
    "experiments/cli.py": "examples of commands that users can type",
    "experiments/inpaint/options.py": "an example in the help of --method",
    "experiments/catalogue/options.py": "an example in the help of --memory",
    "experiments/train/quickstart.py": "a recipe of commands as users type them",
}


def sources() -> dict[str, Path]:
    paths = (path for package in OURS for path in (ROOT / package).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): path for path in paths}


def code_of(text: str) -> str:
    """The source without comments and docstrings.

    >>> code_of('def f():\\n    "doc"\\n    return 1  # why').split()
    ['def', 'f(', ')', ':', 'return', '1']
    """
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        node.body[0].lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None
    }
    kept, line = [], 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and token.start[0] in docstrings):
            continue
        if token.start[0] != line:
            line = token.start[0]
            kept.append("\n")
        kept.append(token.string if token.string == "." or (kept and kept[-1] == ".") else f" {token.string}")
    return "".join(kept).replace(" .", ".").replace(" (", "(")


CODE = {name: code_of(path.read_text(encoding="utf-8")) for name, path in sources().items()}


@pytest.mark.parametrize("pattern", ONE_PLACE)
def test_logic_that_has_a_place_stands_nowhere_else(pattern: str):
    places, instead = ONE_PLACE[pattern]
    found = {name for name, code in CODE.items() if re.search(pattern, code)}
    found -= {"lit_inpaint/metrics/__init__.py"} if "globals" in pattern else set()  # its names are its registry
    assert found <= places, f"use {instead}"
    assert places <= found, "the list names a file that no longer needs it"


def test_no_shared_file_names_the_class_of_a_paper():
    classes = [getattr(methods, name) for name in methods.__all__]
    names = {cls.__name__ for cls in classes} | {stage.__name__ for cls in classes for stage in cls.stages.values()}
    word = re.compile(rf"\b({'|'.join(sorted(names))})\b")
    shared = {name: code for name, code in CODE.items() if not re.match(r"lit_inpaint/methods/\w+/", name)}
    naming = {name for name, code in shared.items() if name.split("/")[0] in OURS[:2] and word.search(code)}
    assert naming == set(NAMES_A_PAPER)


def test_what_one_paper_takes_is_declared_by_it_alone_and_offered_by_the_command():
    offered = (
        weights_options.import_weights(imports._reader_options()).format_help()
        + inpaint_options.inpaint(known_guides()).format_help()
    )
    for option in ("palette", "mean", "sketch"):
        known = re.compile(rf"--{option}\b|getattr\(\w+, [\"']{option}\b|\b(?:a|args|method|module)\.{option}\b")
        knowing = {name for name, code in CODE.items() if known.search(code)}
        assert not {name for name in knowing if not name.startswith("lit_inpaint/methods/")}, option
        assert f"--{option} " in offered


LONGEST = 60  # lines of a function, from def to its end
LONG_BY_NATURE = re.compile(r"/networks\.py$|/weights\.py$|^lit_inpaint/diffusion/unet\.py$|^lit_inpaint/foreign/")
MEASURED = re.compile(r"^(lit_inpaint|masks|datamodules|experiments/(inpaint|weights|catalogue|files))/")


def test_no_function_is_longer_than_a_screen():
    long = []
    for name, path in sources().items():
        if not MEASURED.match(name) or LONG_BY_NATURE.search(name):  # networks and converters are lists
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                long += [f"{name}:{node.name} has {lines} lines"] if lines > LONGEST else []
    assert not long
