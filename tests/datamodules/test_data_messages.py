"""Every option and argument mentioned in a message exists."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import lightning as L
import pytest

import datamodules
import masks
from experiments.weights.imports import _reader_options
from experiments.weights.options import flag
from lit_inpaint import renamed
from lit_inpaint.classes import method_classes, stage_classes

ROOT = Path(__file__).parents[2]
# Of Lightning's command line, of argparse, of SLURM's sbatch, of Snakemake, of a form shown; `assemble` makes two.
FOREIGN = {
    "--ckpt_path", "--config", "--print_config", "--help", "--signal", "--name", "--transformer", "--upsampler",
    "--version", "--KEY", "--trainer.KEY", "--seed_everything", "--ipc", "--upgrade", "--metod", "--random_stroke",
    "--snakefile", "--directory", "--cores", "--jobs", "--executor", "--keep-going", "--rerun-incomplete", "--nolock",
    "--rerun-triggers",
    "--only",  # of the commands between a sweep and its trials
}  # fmt: skip


def trees(*packages: str) -> Iterator[tuple[Path, ast.Module]]:
    for package in packages:
        for path in (ROOT / package).rglob("*.py"):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def strings(tree: ast.AST) -> Iterator[str]:
    yield from (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))


def classes_of(package: ModuleType) -> list[type]:
    return [getattr(package, name) for name in package.__all__]


def arguments_of(classes: list[type]) -> set[str]:
    return {name for cls in classes for base in cls.__mro__ for name in inspect.signature(base.__init__).parameters}


def test_every_option_that_is_named_anywhere_is_one_of_a_command():
    named: dict[str, set[str]] = {}
    options = set(FOREIGN)
    for path, tree in trees("experiments", "lit_inpaint", "datamodules", "masks"):
        for text in strings(tree):
            for option in re.findall(r"(?<![\w-])(?<!var\()(?<!style=')(?<!px;)--[a-zA-Z][\w.-]*\w", text):  # no CSS
                named.setdefault(option, set()).add(path.name)
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
        options |= {
            text for call in calls if call.func.attr == "add_argument" for a in call.args for text in strings(a)
        }
    options |= {flag(name) for name in _reader_options()}
    options |= {f"--{old}" for names in renamed.ARGUMENTS.values() for old in names}
    options |= {f"--trainer.{name}" for name in inspect.signature(L.Trainer).parameters}
    for kind, classes in {
        "model": [*stage_classes().values(), *method_classes().values()],
        "data": classes_of(datamodules),
    }.items():
        for name in arguments_of(classes):
            options |= {f"--{kind}.init_args.{name}", f"--{kind}.{name}"}  # in full, and as fit takes it too
            options.add(f"--{name}")  # in examples of the agent's forms
        options |= {f"--{kind}.help", f"--{kind}.KEY"}
    assert not [(option, files) for option, files in named.items() if option not in options]
    assert len(named) > 50 and {"--bands", "--white-level", "--mask-alpha"} <= set(named)


@pytest.mark.parametrize("package", [datamodules, masks])
def test_every_argument_that_a_message_of_data_or_masks_names_exists(package):
    arguments = arguments_of(classes_of(package))
    asked: dict[str, str] = {}
    for path, tree in trees(package.__name__):
        for node in ast.walk(tree):
            said = isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and "warn" in ast.unparse(node.func))
            for text in strings(node) if said else ():
                for word in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b(?=[ ,.]| to | is |$)", text):
                    asked[word] = path.name
    files = {"class_path", "init_args", "test_large", "set_random_state"}  # no settings: keys of YAML, a folder
    assert not {word: file for word, file in asked.items() if word not in arguments | files}
    assert asked.keys() <= files or asked.keys() & arguments
