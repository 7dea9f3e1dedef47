"""A lab's own `masks.py`, `experiments/` and `datamodules/` do not shadow ours; a script gets an error."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from lit_inpaint.load import read_checkpoint
from tests.support import killing
from tests.support.lab import FILES, write_lab

ROOT = Path(__file__).parents[2]
DEEPFILL = {"class_path": "DeepFillV2", "init_args": {"width": 8, "discriminator_width": 4}}


def python(folder: Path, *words: str, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(path), "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONSAFEPATH", None)
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=500
    )


@pytest.mark.parametrize("name", FILES)
def test_import_lit_inpaint_beside_a_file_of_our_name_is_one_line_that_names_it(name: str, tmp_path: Path):
    write_lab(tmp_path, (name,))
    (tmp_path / "script.py").write_text("import lit_inpaint\nprint('imported')\n")
    said = python(tmp_path, "script.py")
    assert said.returncode == 1 and not said.stdout
    line = said.stderr.splitlines()[-1]
    assert line.startswith(f"ImportError: {tmp_path / FILES[name]} shadows the package '{name}' of lit-inpaint")
    assert "rename it" in line and "-P" in line
    assert python(tmp_path, "-P", "script.py").stdout == "imported\n"


CHILDREN = """
import importlib.util, multiprocessing, subprocess, sys
from concurrent.futures import ProcessPoolExecutor
from experiments.cli import current_folder_last
current_folder_last()
print(sys.path[-1])
for method in ("fork", "spawn", "forkserver"):
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        print(pool.submit(importlib.util.find_spec, "masks").result().origin)
code = "import importlib.util as u; print(*(u.find_spec(n).origin for n in ('masks', 'experiments', 'datamodules')))"
print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
"""


def test_children_of_every_kind_find_our_packages_and_the_current_folder_comes_last(tmp_path: Path):
    said = python(write_lab(tmp_path), "-P", "-c", CHILDREN)
    ours = [str(ROOT / name / "__init__.py") for name in FILES]
    assert said.stdout.split() == [str(tmp_path), *[ours[0]] * 3, *ours], said.stderr[-2000:]


EDITABLE = """
import sys
from importlib.machinery import PathFinder
root, ours = sys.argv[1:3]
class Editable:  # as setuptools installs it: appended, so every folder of the path comes first
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [root]) if name in ours.split() else None
sys.path[:] = [entry for entry in sys.path if entry != root]
sys.meta_path.append(Editable)
sys.argv[1:] = sys.argv[3:]
"""


@pytest.mark.parametrize("command", ["--version", "doctor", "imported"])
def test_an_editable_install_is_found_before_the_current_folder(command: str, tmp_path: Path):
    code = EDITABLE + "from experiments.cli import main\nmain()"
    if command == "imported":
        code = EDITABLE + "from lit_inpaint.plugins import imported\nimported('own')\nimport masks.build\nprint('ours')"
    (write_lab(tmp_path) / "own.py").write_text("")
    words = ("-P", "-c", code, str(ROOT), " ".join([*FILES, "lit_inpaint"]), command)
    said = python(tmp_path, *words, path=tmp_path / "empty")
    assert "Traceback" not in said.stderr, said.stderr
    assert any(word in said.stdout for word in ("lit-inpaint 0.", "ok packages", "ours")), said


def test_a_file_of_our_name_in_a_folder_of_pythonpath_is_one_line_of_the_command_line(tmp_path: Path):
    lab = write_lab(tmp_path / "lab", ("masks",))
    code = f"import sys; sys.path.insert(0, {str(lab)!r}); from experiments.cli import main; main()"
    said = python(tmp_path, "-P", "-c", code, "runs")
    assert said.returncode == 2 and said.stderr.startswith(f"lit-inpaint: {lab}/masks.py shadows the package 'masks'")
    assert len(said.stderr.splitlines()) == 1


QUICKSTART = """
from experiments.train import quickstart
typed, quickstart.CLASSICS = quickstart.run, ["Telea"]
shorter = {
    "fit": ["--trainer.max_steps=2", "--trainer.val_check_interval=2"],
    "test": ["--trainer.limit_test_batches=1"], "benchmark": ["--limit=2"],
}
quickstart.run = lambda *words: typed(*words, *shorter.get(words[0], []))
quickstart.main()
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_of_a_wheel_works_in_a_folder_with_the_names_of_our_packages(tmp_path: Path):
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, ROOT], check=True, timeout=280)
    site, lab = tmp_path / "site", write_lab(tmp_path / "lab")
    subprocess.run([*pip, "install", "--no-deps", "--target", site, *tmp_path.glob("*.whl")], check=True, timeout=120)
    program = str(site / "bin" / "lit-inpaint")

    def lit_inpaint(*words: str) -> str:
        done = python(lab, program, *words, path=site)
        assert done.returncode == 0, f"{words}: {done.stdout[-1500:]} {done.stderr[-1500:]}"
        return done.stdout

    # fit with a worker, kill -9, and the command that `runs` prints
    settings = killing.settings(DEEPFILL, workers=1, steps=8)
    (lab / "fit.yaml").write_text(yaml.safe_dump(settings))
    environment = {**os.environ, "PYTHONPATH": str(site), "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen(
        [sys.executable, program, "fit", "--config", "fit.yaml"], cwd=lab, env=environment, start_new_session=True
    )
    end = time.monotonic() + 200
    while not (lab / "run/checkpoints/last.ckpt").exists() and run.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, "it ended before it was killed"
    (found,) = json.loads(lit_inpaint("runs", "run", "--json"))
    name, *words = shlex.split(found["resume"])
    assert name == "lit-inpaint"
    lit_inpaint(*words)
    assert read_checkpoint(lab / "run/checkpoints/last.ckpt")["global_step"] == 8

    # two ranks, two workers of a sweep, two methods of a benchmark, the quickstart
    for key in ("logger", "callbacks", "enable_progress_bar"):  # ours instead, each in the folder of its run
        del settings["trainer"][key]
    (lab / "trial.yaml").write_text(yaml.safe_dump(settings))
    ranks = ["--trainer.devices=2", "--trainer.max_steps=1", "--data.init_args.batch_size=1"]
    lit_inpaint("fit", "--config", "trial.yaml", *ranks, "--trainer.default_root_dir=ranks")
    command = ["lit-inpaint", "fit", "--config", "trial.yaml", "--trainer.max_steps=3", "${args}"]
    grid = {"trainer.limit_val_batches": {"values": [1, 2]}}
    sweep = {"name": "lab", "method": "grid", "metric": {"name": "val/psnr", "goal": "maximize"}}
    (lab / "lab.yaml").write_text(yaml.safe_dump({**sweep, "command": command, "parameters": grid}))
    assert "2 of 2 trials: 2 complete" in lit_inpaint("sweep", "lab.yaml", "--workers", "2")
    methods = ["Telea", "mine=run/checkpoints/last.ckpt"]
    lit_inpaint("benchmark", "quickstart", "--limit", "2", "--methods", *methods, "--out", "scores")
    assert len(list((lab / "scores").glob("records/*/*.json"))) == 2
    done = python(lab, "-P", "-c", QUICKSTART, path=site)
    assert done.returncode == 0 and (lab / "runs/quickstart/compare.html").is_file(), done.stderr[-2000:]

    (lab / "script.py").write_text("import lit_inpaint\n")
    said = python(lab, "script.py", path=site).stderr
    assert said.splitlines()[-1].startswith(f"ImportError: {lab}/masks.py shadows the package 'masks'")
