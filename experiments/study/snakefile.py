"""The Snakefile of a study, and the command that runs it."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.study.file import Resources
from experiments.study.plan import Study, rule_of

PROGRAM = "LIT_INPAINT_SNAKEMAKE"  # environment variable: the snakemake to run
_COUNTS = ("--cores", "-c", "--jobs", "-j")

_HEAD = """\
# Written by `lit-inpaint study` and rewritten when it starts. To run it without lit-inpaint:
#   {command}

localrules: page

onerror:
    shell({page})

"""


def text(study: Study) -> str:
    """One rule per job, whose marker is its output."""
    page = _shell(study, ["--page"])
    cells = [step.name for step in study.steps.values() if step.cell]
    rules = [_rule("page", cells, marker("page"), {}, _shell(study, ["--step", "page"]))]
    for step in study.steps.values():
        shell = _shell(study, ["--step", step.name])
        rules.append(_rule(rule_of(step.name), step.needs, marker(step.name), step.resources, shell))
    head = _HEAD.format(command=shlex.join(command("snakemake", study.out, ["--cores", "1"])), page=repr(page))
    return head + "\n".join(rules)


def marker(step: str) -> str:
    """Relative to the study's folder: exists once a job is done."""
    return f"steps/{step}.json"


def _rule(name: str, needs: Sequence[str], output: str, resources: Resources, shell: str) -> str:
    lines = [f"rule {name}:"]
    lines += [f"    input: {', '.join(repr(marker(need)) for need in needs)}"] if needs else []
    lines += [f"    output: {output!r}"]
    lines += (
        [f"    resources: {', '.join(f'{key}={value!r}' for key, value in resources.items())}"] if resources else []
    )
    return "\n".join([*lines, f"    shell: {shell!r}", ""])


def _shell(study: Study, words: Sequence[str]) -> str:
    """A command of this installation in the folder from which the study was started, whose files its YAML names."""
    saved = study.out / study.path.name
    argv = [sys.executable, "-P", "-m", "experiments", "study", str(saved), "--out", str(study.out), *words]
    return f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(argv)}".replace("{", "{{").replace("}", "}}")


def command(program: str, out: Path, more: Sequence[str]) -> list[str]:
    counted = any(word.partition("=")[0].startswith(_COUNTS) for word in more)
    files = ["--snakefile", str(out / "Snakefile"), "--directory", str(out)]
    return [
        program,
        *files,
        "--keep-going",
        "--rerun-incomplete",
        *("--rerun-triggers", "mtime", "input"),  # "code" and "params" hold the study's folder, which may be moved
        "--nolock",
        *more,
        *([] if counted else ["--cores", "1"]),
    ]


def program() -> str:
    """Path of snakemake.

    Raises:
        ValueError: It is not installed, with what to do.
    """
    wanted = os.environ.get(PROGRAM, "snakemake")
    if (found := shutil.which(wanted)) is None:
        raise ValueError(
            f"there is no program {wanted}. Install Snakemake in an environment of its own (it needs an old "
            f"`packaging`): python -m venv snakemake && snakemake/bin/pip install snakemake; then put it on PATH, or "
            f"its path into {PROGRAM}."
        )
    return found
