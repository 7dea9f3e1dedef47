"""The quickstart: what it installs and types, what it says, and that its network fills the hole."""

import configparser
import os
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from experiments.cli import main as lit_inpaint
from experiments.evaluate.protocol import load_protocols
from experiments.records.record import MethodFacts, MetricResult, ProtocolFacts, Record
from experiments.train import quickstart
from experiments.train.cli import main as fit
from experiments.train.photographs import copy_small

ROOT = Path(__file__).parents[2]
NUMBERS = {str(i): 20.0 + i % 3 for i in range(30)}


def dry(*words: str) -> str:
    """What make would type on a machine without .venv."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "-nB", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_quickstart_installs_the_core_and_the_tests_every_extra():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert re.findall(r"--editable (\S+)", dry("quickstart")) == ["."]
    for target in ("install", "lint", "test", "test-slow", "mutations", "reliability", "bench"):
        (installed,) = re.findall(r"--editable '\.\[(.*)\]'", dry(target))
        assert set(installed.split(",")) == set(setup["options.extras_require"]) - {"study", "mlflow", "docs"}, target
    assert dry("quickstart").rstrip().endswith("experiments.train.quickstart")
    assert dry("quickstart", "DATA=my photos").rstrip().endswith("--data 'my photos'")


def record(label: str, shift: float) -> Record:
    values = {name: value + shift for name, value in NUMBERS.items()}
    mean = float(np.mean(list(values.values())))
    return Record(
        ProtocolFacts("p", "0" * 64, {}),
        MethodFacts(name=label, label=label, weights="none", parameters=None),
        {"psnr_hole": MetricResult("", dict(values), mean=mean)},
    )


def test_the_verdict_is_that_of_the_paired_difference_to_the_best_classic():
    classics = [record("Telea", 0.0), record("Harmonic", 1.0)]
    won = quickstart.verdict([*classics, record("ContextEncoder", 1.5)])
    assert "beats every classic" in won and "+0.50 dB [95 % interval +0.50, +0.50]" in won and "Harmonic" in won
    for shift in (1.0, 0.5):  # as good as the best; between the two
        assert "does not beat Harmonic" in quickstart.verdict([*classics, record("ContextEncoder", shift)])


@pytest.fixture
def folder(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty photographs of two sizes in folders, one of them broken, beside a file that is none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "deep").mkdir(parents=True)
    for number in range(30):
        image = Image.open(photos / f"photo{number % 8}.png").resize((90, 120))
        image.save(tmp_path / "own" / ("deep" if number % 2 else "") / f"my photo {number}.jpg")
    (tmp_path / "own" / "broken.png").write_bytes(b"no picture")
    (tmp_path / "own" / "notes.txt").write_text("no picture either")
    return tmp_path / "own"


def test_own_photographs_are_copied_small_once_and_no_one_is_in_two_splits(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    copy_small(folder, Path("small"), 32)
    names = {split: {p.stem.partition("-")[2] for p in Path("small", split).iterdir()} for split in ("train", "test")}
    assert len(names["train"]) + len(names["test"]) + len(list(Path("small/val").iterdir())) == 30
    assert len(names["test"]) == 6 and not names["train"] & names["test"]
    assert {Image.open(path).size for path in Path("small").rglob("*.png")} == {(32, 43)}
    assert "Left out: " in (said := capsys.readouterr().out) and "broken.png" in said


def test_the_configuration_and_the_protocol_of_own_photographs_are_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    arguments, path = quickstart.own_photographs(folder)
    (protocol,) = load_protocols(path)
    assert len(protocol.images) == 6 and protocol.images.size == 64
    with pytest.raises(SystemExit):
        fit(["fit", "--config", "quickstart", *arguments, "--print_config"])
    data = yaml.safe_load(capsys.readouterr().out.partition("seed_everything")[2].partition("\n")[2])["data"]
    assert data["class_path"] == "datamodules.ImageFolder" and data["init_args"]["samples_per_epoch"] == 8000
    assert data["init_args"]["mask"]["init_args"] == {"height": 0.4375, "width": 0.4375}


@pytest.mark.parametrize("content", [None, 0, 1])
def test_a_folder_that_cannot_be_used_is_one_line(content: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "own").mkdir()
    if content:
        Image.new("RGB", (80, 80)).save(tmp_path / "own" / "one.png")
    with pytest.raises(SystemExit, match=r"^quickstart: .*own"):
        quickstart.own_photographs(Path("own"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_its_network_beats_every_classic_and_what_it_says_to_type_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """Three quarters of its training suffice: 900 steps, 40 held-out faces."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(quickstart, "current_folder_last", lambda: None)  # of a process of its own
    shorter = {"fit": ["--trainer.max_steps=900"], "benchmark": ["--limit=40"]}
    typed = quickstart.run
    monkeypatch.setattr(quickstart, "CLASSICS", ["Telea", "NavierStokes", "Biharmonic", "Harmonic"])
    monkeypatch.setattr(quickstart, "run", lambda *words: typed(*words, *shorter.get(words[0], [])))
    quickstart.main([])
    said = capfd.readouterr().out
    assert "ContextEncoder beats every classic" in said, said.partition("Done in")[2]
    page = Path("runs/quickstart/compare.html").read_text()
    assert "ContextEncoder" in page
    *commands, make = [line.strip() for line in said.partition("Next:\n")[2].splitlines() if line.strip()]
    assert len(commands) == 3 and make.startswith("make quickstart DATA=folder")
    for command in commands:
        program, *words = shlex.split(command)
        assert Path(program).name == "lit-inpaint"
        quick = ["--trainer.max_steps=1", "--trainer.limit_val_batches=1"] if words[0] == "fit" else []
        with pytest.raises(SystemExit) as end:
            lit_inpaint([*words, *quick])
        assert not end.value.code, command
    assert Image.open("filled.png").size == (64, 64) and Path("runs/longer/checkpoints/last.ckpt").is_file()
