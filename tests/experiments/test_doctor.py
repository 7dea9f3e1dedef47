"""`lit-inpaint doctor` names what is wrong and what to do, also where our packages cannot be imported."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from experiments import cli
from experiments.catalogue import doctor
from experiments.inpaint import options as inpaint_options
from experiments.train import command
from lit_inpaint.options import Parser
from lit_inpaint.windows import TILE
from tests.support.lab import write_lab

ROOT = Path(__file__).parents[2]


def said(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        cli.main(["doctor"])
    return int(end.value.code or 0), capsys.readouterr().out


@pytest.fixture(autouse=True)
def room_for_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "DISK", 0)
    monkeypatch.setattr(doctor, "SHARED", 0)


def test_in_a_healthy_folder_nothing_is_wrong(capsys: pytest.CaptureFixture[str]):
    code, text = said(capsys)
    assert code == 0 and "!!" not in text, text
    for about in ("names", "lit-inpaint", "packages", "extra app", "disk", "cpu", "gpu", "alexnet", "data"):
        assert f" {about} " in text, text


def test_missing_and_old_packages_are_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    found = metadata.version

    def version(name: str) -> str:
        if name == "gradio":
            raise metadata.PackageNotFoundError(name)
        return "2.6.2" if name == "lightning" else found(name)

    monkeypatch.setattr(metadata, "version", version)
    code, text = said(capsys)
    assert code == 1
    assert "!! packages           missing or too old: lightning 2.6.2 (needs >=2.6.6)" in text
    assert "-- extra app          not here: gradio\n" in text and "-> pip install 'lit-inpaint[app]'" in text


@pytest.mark.parametrize("name", ["masks", "experiments"])
@pytest.mark.parametrize("place", ["the current folder", "PYTHONPATH"])
def test_a_file_of_our_name_is_a_fault_that_is_named(name: str, place: str, tmp_path: Path):
    lab = write_lab(tmp_path / "lab", (name,))
    folders = [str(ROOT)] if place == "the current folder" else [str(lab), str(ROOT)]
    enter = f"import sys; sys.path[:0] = {folders[:-1]!r}; sys.path.append({folders[-1]!r})\n"
    if place == "PYTHONPATH":  # the packages of the program itself are found first
        enter += f"sys.path[:0] = [{str(ROOT)!r}]; import experiments.cli; sys.path.pop(0)\n"
    code = f"{enter}from experiments.cli import main; main()"
    at = tmp_path if place == "PYTHONPATH" else lab
    done = subprocess.run([sys.executable, "-P", "-c", code, "doctor"], cwd=at, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert f"{lab / name}" in done.stdout and f"shadows our package '{name}'" in done.stdout, done.stdout
    assert "rename it" in done.stdout and not done.stderr


def test_a_folder_that_cannot_be_written_is_a_fault():
    (finding, *_) = doctor.disk(Path("/proc"))
    assert finding.fault and "/proc is not writable" in finding.found


def test_a_full_disk_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user cannot mount a small tmpfs")
    try:
        monkeypatch.undo()
        monkeypatch.chdir(small)
        with pytest.raises(OSError, match="No space left"):
            Path("full").write_bytes(b"0" * 10**6)
        code, text = said(capsys)
        assert code == 1 and f"!! disk               0.0 GB free in {small}\n" in text
    finally:
        monkeypatch.chdir(tmp_path)
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize("name", command.DOES)
def test_the_help_of_fit_fits_one_screen_and_names_what_the_parser_takes(name: str, capsys: Any):
    from experiments.train.parser import OPTIONS

    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= 40 and max(map(len, text.splitlines())) <= 120
    options = {
        word[2:].split(".")[0].replace("-", "_") for word in text.replace("`", " ").split() if word.startswith("--")
    }
    options -= {"KEY"}
    assert options <= set(OPTIONS) and ("init_from" in options) == (name == "fit")


COMMANDS = [name for group in cli.COMMANDS.values() for name in group]


def test_help_of_every_command_imports_nothing_heavy():
    """Half a second; torch, Lightning and Pillow's friends take three to six."""
    code = (
        "import contextlib, io, sys\nfrom experiments import cli\n"
        "for name in [n for group in cli.COMMANDS.values() for n in group]:\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as said:\n"
        "        cli.main([name, '--help'])\n"
        "    assert name in said.getvalue(), name\n"
        "    heavy = {'torch', 'lightning', 'scipy', 'pydantic', 'wandb', 'rich'} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)\n"
        "print(len(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 700


@pytest.mark.parametrize("name", COMMANDS)
def test_the_short_help_is_that_of_the_command_s_own_parser(name: str, capsys: pytest.CaptureFixture[str]):
    """With what the methods declare, the real parser offers more, and nothing else."""
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    short = capsys.readouterr().out
    if name in command.DOES or name in ("doctor", "sweep", "masks", "configs"):
        return
    parser = cli._options(next(g[name][0] for g in cli.COMMANDS.values() if name in g), name)
    assert isinstance(parser, Parser) and parser.prog == f"lit-inpaint {name}" and short == parser.format_help()


def test_the_options_without_torch_have_the_defaults_of_the_code():
    assert inpaint_options.inpaint().get_default("tile") == TILE


def test_the_version_and_misspelt_options(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"lit-inpaint {metadata.version('lit-inpaint')}\n"
    for words, nearest in {
        "inpaint --metod Telea": "Did you mean '--method'?",
        "runs --metrc x": "Did you mean '--metric'?",
        "protocol show repaint --limt 3": "Did you mean '--limit'?",
        "fit --confg quickstart": "Did you mean 'config'?",
        "fit --config quickstart --model.learning_rat 1": "Did you mean 'learning_rate'?",
        "fit --config quickstart --data.bs 1": "Did you mean 'batch_size'?",
    }.items():
        with pytest.raises(SystemExit) as end:
            cli.main(words.split())
        error = capsys.readouterr().err
        assert end.value.code == 2 and nearest in error and len(error.splitlines()) == 1, error
