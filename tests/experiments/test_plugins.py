"""Classes from outside: trained, resumed, tested, benchmarked and used from a lab's own files."""

import importlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from experiments import cli
from experiments.run import Run
from lit_inpaint import plugins
from lit_inpaint.classes import class_of
from lit_inpaint.load import load_method, read_checkpoint
from tests.support import processes
from tests.support.lab import write_lab
from tests.support.outside import write_package

ROOT = Path(__file__).parents[2]
DATA = {"mask": "CenterRectangle", "image_size": 32, "batch_size": 2, "num_workers": 0, "eval_repeats": 1}
FIT = {
    "data": {"class_path": "SamplePhotos", "init_args": DATA},
    "trainer": {"accelerator": "cpu", "max_steps": 1, "num_sanity_val_steps": 0, "default_root_dir": "run"},
}
PROTOCOL = {"name": "own", "data": {"class_path": "SamplePhotos"}, "size": 32, "limit": 2, "metrics": ["psnr"]}


def typed(argv: list[str]) -> None:
    """A command as it is typed in the current folder: in a process whose path is that of ``lit-inpaint``."""
    sys.path[:] = [p for p in sys.path if os.path.realpath(p) != os.getcwd()]
    sys.argv[1:] = argv
    cli.main()


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    write_package(tmp_path, "ours")
    write_lab(tmp_path)  # its own masks.py, experiments/ and datamodules/, which must not be imported
    (tmp_path / "fit.yaml").write_text(yaml.safe_dump(FIT))
    return tmp_path


Command = Callable[..., str]


@pytest.fixture
def run(lab: Path) -> Command:
    def run(*argv: str, code: int = 0, env: dict[str, str] | None = None) -> str:
        log = lab / f"log-{len(list(lab.glob('log-*')))}.txt"
        process = processes.start(
            typed, list(argv), folder=lab, log=log.name, env={"COLUMNS": "200", "WANDB_MODE": "disabled", **(env or {})}
        )
        process.join(250)
        assert process.exitcode == code, f"{argv}: {process.exitcode}, {log.read_text()[-3000:]}"
        return log.read_text()

    return run


def picture(path: Path, hole: bool = False) -> str:
    pixels = np.full((24, 24), 200, np.uint8)
    if hole:
        pixels[:] = 0
        pixels[8:16, 8:16] = 255
    assert cv2.imwrite(str(path), pixels)
    return path.name


def test_a_method_of_a_labs_own_file_is_trained_resumed_tested_benchmarked_and_used(lab: Path, run: Command):
    run("fit", "--config", "fit.yaml", "--model", "ours.methods.MyNet", "--data.init_args.mask", "ours.laws.Stripe")
    checkpoint, command = "run/checkpoints/last.ckpt", Run(lab / "run").command
    assert yaml.safe_load((lab / "run/config.yaml").read_text())["import"] == ["ours.methods"]
    assert command is not None and command.endswith(" --import ours.methods")
    words = command.split()[1:]
    assert words[2] == f"{lab}/run/config.yaml"
    run(*words, "--trainer.max_steps", "2")
    assert torch.load(lab / checkpoint, weights_only=True)["global_step"] == 2

    said = run("test", "--ckpt_path", checkpoint, "--config", "fit.yaml", code=2)
    assert "holds a MyNet of the module ours.methods" in said and "add --import ours.methods." in said
    assert len(said.splitlines()) == 1
    run("test", "--ckpt_path", checkpoint, "--config", "fit.yaml", "--import", "ours.methods")
    (lab / "own.yaml").write_text(yaml.safe_dump(FIT | {"import": ["ours.methods"]}))
    run("test", "--ckpt_path", checkpoint, "--config", "own.yaml")  # by the key of a YAML

    protocol = PROTOCOL | {"metrics": ["psnr", "ours.scores.largest"], "mask": {"class_path": "ours.laws.Stripe"}}
    (lab / "protocol.yaml").write_text(yaml.safe_dump(protocol))
    methods = ["Telea", "ours.methods.Grey", f"mine={checkpoint}"]
    devices = ["--device", "cpu", "cpu"]  # two workers
    said = run("benchmark", "protocol.yaml", "--methods", *methods, "--out", "out", "--import=ours.methods", *devices)
    assert "lit-inpaint compare out --import ours.methods\n" in said
    records = {p.stem: json.loads(p.read_text()) for p in (lab / "out/records").rglob("*.json")}
    assert set(records) == {"Telea", "ours.methods.Grey", "mine"}
    assert all("ours.scores.largest" in record["metrics"] for record in records.values())

    photo, hole = picture(lab / "photo.png"), picture(lab / "hole.png", hole=True)
    files = ["--image", photo, "--mask", hole]
    run("inpaint", "--method", checkpoint, *files, "--out", "a.png", env={plugins.VARIABLE: "ours.methods"})
    run("inpaint", "--method", "ours.methods.Grey", *files, "--out", "b.png")
    filled = cv2.imread(str(lab / "b.png"))
    assert (filled[8:16, 8:16] == 191).all() and filled[0, 0].tolist() == [200] * 3  # 0.5 in [-1, 1]
    assert "returned (1, 3, 12, 12); expected the whole image, (1, 3, 24, 24)" in run(
        "inpaint", "--method", "ours.methods.Small", *files, "--out", "c.png", code=2
    )


def test_what_an_imported_module_holds_is_listed_and_known_by_name(lab: Path, run: Command):
    listed = json.loads(run("methods", "--json", "--import", "ours.methods"))
    assert [row["paper"] for row in listed if row["name"] == "MyNet"] == ["A lab, its paper, 2026"]
    assert "Own method." in run("methods", "ours.methods.MyNet")
    assert "MyNet" not in run("methods")
    assert run("masks", "show", "Stripe", "--import", "ours.laws", "--out", "s.png", "--size", "32") == "s.png\n"
    assert "'Stripe' is not a mask generator" in run("masks", "show", "Stripe", "--out", "t.png", code=2)


@pytest.mark.parametrize("command", [["fit"], ["methods"], ["masks", "show", "Half", "--out", "a.png"]])
def test_a_missing_module_is_one_line_that_names_it(lab: Path, run: Command, command: list[str]):
    said = run(*command, "--import", "nowhere", code=2)
    assert said == f"lit-inpaint: there is no module 'nowhere', neither installed nor in {lab}.\n"


def test_a_module_that_needs_one_that_is_missing_names_both(lab: Path, run: Command):
    (lab / "broken.py").write_text("import nowhere\n")
    assert "module 'broken' cannot be imported: No module named 'nowhere'" in run(
        "methods", "--import", "broken", code=2
    )


def checkpoint_of(path: Path, **content: Any) -> Path:
    given = {"method": "DeepFillV2", "format": 1, "state_dict": {}, "hyper_parameters": {}} | content
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(given, path)
    return path


@pytest.mark.parametrize(
    "content",
    [
        {"method": "Evil", "module": "marker"},
        {"method": "marker.Evil", "module": "marker"},
        {"module": "marker"},  # the name of one of ours
        {"hyper_parameters": {"width": {"class_path": "marker.Evil"}}},
        {"method": "ICT", "hyper_parameters": {"sampler": "marker.Evil"}},
        {"method": "DDPM", "hyper_parameters": {"sampler": {"class_path": "marker.Evil"}}},
        {"method": "DDPM", "hyper_parameters": {"validation_sampler": "marker.Evil"}},
        {"method": "DDPM", "hyper_parameters": {"sampler": "{class_path: marker.Evil}"}},  # read as YAML
        {"method": "DDPM", "hyper_parameters": {"sampler": '{"class_path": "mark\\u0065r.Evil"}'}},
        {"method": "DDPM", "hyper_parameters": {"sampler": "marker.yaml"}},  # read as a file
    ],
)
def test_a_checkpoint_is_never_a_reason_to_import_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, Any]
):
    (tmp_path / "marker.py").write_text("from pathlib import Path\nPath('loaded').touch()\nEvil = object\n")
    (tmp_path / "marker.yaml").write_text("class_path: marker.Evil\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = checkpoint_of(tmp_path / "run/checkpoints/last.ckpt", **content)
    with pytest.raises(ValueError, match=r"--import marker|does not fit"):
        load_method(path)
    for argv in (["fit", "--ckpt_path", str(path)], ["fit", "--init_from", str(path)], ["runs", "."]):
        with pytest.raises(SystemExit):
            cli.main(argv)
    assert not (tmp_path / "loaded").exists() and "marker" not in sys.modules


def test_a_checkpoint_that_asks_for_a_module_says_which_flag_imports_it(tmp_path: Path):
    path = checkpoint_of(tmp_path / "x.ckpt", method="DDPM", hyper_parameters={"sampler": "marker.Evil"})
    with pytest.raises(ValueError, match="it names the module marker; if you trust it, add --import marker"):
        load_method(path)


def test_another_module_s_class_of_the_same_name_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A class that has moved is found by its name; one that is only called alike would be as well."""
    for module in ("first", "second"):
        text = "from lit_inpaint.methods import PartialConv\n\n\nclass Alike(PartialConv):\n    pass\n"
        (tmp_path / f"{module}_of_test.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("second_of_test")
    path = checkpoint_of(tmp_path / "x.ckpt", method="Alike", module="first_of_test")
    with pytest.warns(UserWarning, match="module first_of_test; that of second_of_test"):
        class_of(read_checkpoint(path), path)
    importlib.import_module("first_of_test")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert class_of(read_checkpoint(path), path).__module__ == "first_of_test"


def test_runs_compare_and_a_resume_command_import_nothing_that_a_folder_names(lab: Path, run: Command):
    (lab / "marker.py").write_text("raise SystemExit('imported')\n")
    folder = lab / "runs/one"
    folder.mkdir(parents=True)
    config = {"import": ["marker"], "model": {"class_path": "marker.Evil"}, **FIT}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "run.json").write_text(json.dumps({"method": "Evil", "dataset": "marker.Data"}))
    (folder / "metrics.csv").write_text("images_seen,val/marker.evil\n1,2\n")
    checkpoint_of(folder / "checkpoints/last.ckpt", method="Evil", module="marker", global_step=1)
    assert "--import marker" in run("runs", "runs", "--json")
    run("compare", "runs", "--out", "page.html")


SETUP = """
[metadata]
name = ours
version = 1
[options]
packages = ours
[options.entry_points]
lit_inpaint.methods =
    mynet = ours.methods:MyNet
lit_inpaint.datamodules =
    two = ours.data:TwoPhotos
lit_inpaint.masks =
    stripe = ours.laws:Stripe
lit_inpaint.metrics =
    largest = ours.scores:largest
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_installed_wheel_is_known_by_its_entry_points(tmp_path: Path):
    source, site, lab = tmp_path / "source", tmp_path / "site", tmp_path / "lab"
    write_package(source, "ours")
    (source / "setup.cfg").write_text(SETUP)
    (source / "pyproject.toml").write_text('[build-system]\nrequires = ["setuptools"]\n')
    pip = [sys.executable, "-m", "pip", "--quiet"]
    built = ["wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    subprocess.run([*pip, *built], check=True, timeout=200)
    subprocess.run([*pip, "install", "--no-deps", "--target", site, *tmp_path.glob("*.whl")], check=True, timeout=200)
    lab.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "OMP_NUM_THREADS": "1"}

    def lit_inpaint(*words: str) -> str:
        command = [sys.executable, "-P", "-m", "experiments", *words]
        done = subprocess.run(command, cwd=lab, env=environment, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, f"{words}: {done.stdout[-1500:]} {done.stderr[-2500:]}"
        return done.stdout

    assert "MyNet" in lit_inpaint("methods")
    lit_inpaint("masks", "show", "Stripe", "--out", "s.png", "--size", "32")
    data = {"class_path": "TwoPhotos", "init_args": DATA | {"mask": "Stripe"}}
    (lab / "fit.yaml").write_text(yaml.safe_dump(FIT | {"model": {"class_path": "MyNet"}, "data": data}))
    lit_inpaint("fit", "--config", "fit.yaml")
    command = Run(lab / "run").command
    assert command is not None and "--import" not in command
    lit_inpaint(*command.split()[1:], "--trainer.max_steps", "2")
    protocol = PROTOCOL | {"metrics": ["psnr", "largest"], "mask": {"class_path": "Stripe"}, "data": data}
    protocol["data"] = {"class_path": "TwoPhotos"}
    (lab / "protocol.yaml").write_text(yaml.safe_dump(protocol))
    methods = ["Telea", "mine=run/checkpoints/last.ckpt"]
    lit_inpaint("benchmark", "protocol.yaml", "--methods", *methods, "--out", "out")
    assert len(list((lab / "out/records").rglob("*.json"))) == 2
