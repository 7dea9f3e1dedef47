"""``lit-inpaint study``: write the workflow and become Snakemake, or say what it would do and does."""

import os
from pathlib import Path

from experiments.files.find import find_yaml
from experiments.files.write import write_text
from experiments.study import options, snakefile
from experiments.study.plan import Study, read_study
from experiments.study.step import hold, run_step
from experiments.study.units import adopt, forget_changed, refuse_missing, units
from lit_inpaint import plugins


def main(argv: list[str]) -> int:
    end = argv.index("--") if "--" in argv else len(argv)
    a, more = options.study().parse_args(argv[:end]), argv[end + 1 :]
    study = read_study(find_yaml(a.study, "studies"), a.out)
    if a.step or a.page:
        return _job(study, a.step)
    if a.dry_run or a.status:
        from experiments.study import report

        print(report.status(study) if a.status else _adopt(study) + report.dry_run(study))
        return 0
    return _launch(study, more)


def _adopt(study: Study) -> str:
    """What was taken, as a line: without a word, a folder that is not there would train everything again."""
    taken, folder = adopt(study), study.file.adopts
    if folder is None:
        return ""
    none = "nothing" if Path(folder).is_dir() else "nothing (there is no such folder here)"
    return f"Taken from {folder}: {', '.join(taken) or none}.\n"


def _job(study: Study, name: str | None) -> int:
    """One job of the graph, as Snakemake starts it; without a name, the page."""
    from experiments.study.page import refresh, write_page

    if name is None or name == "page":
        return write_page(study, last=name is not None)
    step = study.steps[name]
    try:
        [hashed] = [unit.hash for unit in units(study, having=step)]
    except ValueError:  # a file that it names is broken: its command says so
        hashed = None
    code = run_step(study, step, hashed)
    if step.cell or code:
        refresh(study, step)
    return code


def _launch(study: Study, more: list[str]) -> int:
    program = snakefile.program()
    refuse_missing(study)
    study.out.mkdir(parents=True, exist_ok=True)
    hold(study)
    if changed := forget_changed(study):
        print(f"Running again, because a file that they name has changed: {', '.join(changed)}.")
    print(_adopt(study), end="")
    (study.out / snakefile.marker("page")).unlink(missing_ok=True)  # votes, hours and failures may be new
    saved = study.out / study.path.name
    if saved != study.path:
        write_text(saved, study.path.read_text(encoding="utf-8"))
    write_text(study.out / "Snakefile", snakefile.text(study))
    command = snakefile.command(program, study.out, more)
    print(f"{len(study.steps)} jobs of study {study.name} in {study.out}; to look at it:", flush=True)
    print(plugins.command("study", str(saved), "--out", str(study.out), "--status"), flush=True)
    os.execv(program, command)
