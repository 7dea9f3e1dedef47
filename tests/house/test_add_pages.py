"""docs/add_a_method.md, add_a_metric.md and add_a_mask_law.md, followed to the letter in a copy of the checkout.

What they add is trained, measured, drawn and compared, and needs nothing that the pages do not say.
"""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from setuptools import find_packages

from tests.support.house import OURS, ROOT
from tests.support.pages import checkout, follow

COMMANDS = """
import sys
from experiments.cli import main

def run(*words):
    try:
        main(list(words))
    except SystemExit as end:
        assert not end.code, (words, end.code)

small = ["--trainer.max_steps=2", "--trainer.accelerator=cpu", "--trainer.num_sanity_val_steps=0"]
run("fit", "--config", "tiny_gan/photos", "--data.init_args.mask=Diamond", *small)
run("benchmark", "colours.yaml", "--methods", "Telea", "runs/tiny_gan/checkpoints/last.ckpt", "--out", "out")
run("compare", "out", "--out", "compare.html")
run("masks", "show", "Diamond", "--out", "sheet.png", "--count", "3", "--size", "32")
run("masks", "show", "{class_path: Diamond, init_args: {radius: 0.1}}", "--out", "small.png", "--size", "32")
"""
PROTOCOL = """
name: colours
data: {class_path: datamodules.SamplePhotos}
split: test
size: 64
mask: {class_path: masks.Diamond}
metrics: [psnr, colour_distance]
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkout(tmp_path_factory.mktemp("house") / "checkout")


@pytest.fixture(scope="module")
def added(house: Path) -> dict[str, dict[str, int]]:
    return {page: follow(f"add_a_{page}.md", house) for page in ("method", "metric", "mask_law")}


def run(code: list[str], folder: Path, *path: Path) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "WANDB_MODE": "disabled",
        "COLUMNS": "160",
    }
    done = subprocess.run(
        [sys.executable, "-P", *code], cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def elsewhere(house: Path, added: dict[str, dict[str, int]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "colours.yaml").write_text(PROTOCOL)
    (folder / "said.txt").write_text(run(["-c", COMMANDS], folder, house))
    return folder


def test_a_method_is_one_folder_an_import_line_a_configuration_and_a_row(house: Path, added: dict[str, dict[str, int]]):
    assert added["method"].pop("lit_inpaint/methods/tiny_gan/method.py") <= 60
    assert added["method"] == {
        "lit_inpaint/methods/tiny_gan/__init__.py": 0,
        "lit_inpaint/methods/__init__.py": 2,
        "experiments/configs/tiny_gan/photos.yaml": 5,
        "tests/support/contract.py": 1,
    }
    assert '\n    ("TinyGAN", {"width": 4}),\n' in (house / "tests" / "support" / "contract.py").read_text()


def test_the_method_of_the_page_trains_and_is_compared(elsewhere: Path):
    assert "TinyGAN" in (elsewhere / "compare.md").read_text()
    (pictures,) = (elsewhere / "out" / "images").glob("*/TinyGAN-tiny_gan")
    assert list(pictures.rglob("*.png"))


def test_a_metric_of_a_set_is_one_file_and_an_import_line_and_stands_in_every_table(
    added: dict[str, dict[str, int]], elsewhere: Path
):
    assert added["metric"].pop("lit_inpaint/metrics/colour.py") <= 35
    assert added["metric"] == {"lit_inpaint/metrics/__init__.py": 2, "docs/metrics.md": 1}
    (table,) = (elsewhere / "out").glob("colours-*.md")
    for path in (table, *(elsewhere / f"compare.{kind}" for kind in ("md", "csv", "tex", "html"))):
        text = path.read_text().replace("\\_", "_")
        assert "colour_distance" in text or "Colour distance" in text, path.name
        assert path.suffix not in {".md", ".tex"} or re.search(r"\b0\.\d{5}\b", text), path.name  # its decimals
    assert "Colour" in (elsewhere / "said.txt").read_text()  # on the screen, where a heading may take two lines


def test_a_mask_law_is_one_file_and_an_import_line_and_is_shown(added: dict[str, dict[str, int]], elsewhere: Path):
    assert added["mask_law"].pop("masks/diamond.py") <= 35
    assert added["mask_law"] == {"masks/__init__.py": 2, "docs/masks.md": 2}
    assert (elsewhere / "sheet.png").is_file() and (elsewhere / "small.png").is_file()
    assert "Diamond" in (elsewhere / "runs" / "tiny_gan" / "run.json").read_text()


def test_a_wheel_takes_every_folder_with_code(house: Path, added: dict[str, dict[str, int]]):
    """setuptools leaves out a folder without ``__init__.py``, without a word."""
    assert "lit_inpaint.methods.tiny_gan" in find_packages(str(house), include=[f"{name}*" for name in OURS])
    code = {path.parent for name in OURS for path in (ROOT / name).rglob("*.py")}
    assert not [folder for folder in code if not (folder / "__init__.py").is_file()]


@pytest.mark.slow
def test_a_wheel_built_after_following_the_pages_has_all_three(
    house: Path, added: dict[str, dict[str, int]], tmp_path: Path
):
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, house], check=True, timeout=280)
    (wheel,) = tmp_path.glob("*.whl")
    new = {"lit_inpaint/methods/tiny_gan/method.py", "lit_inpaint/metrics/colour.py", "masks/diamond.py"}
    assert new | {"experiments/configs/tiny_gan/photos.yaml"} <= set(zipfile.ZipFile(wheel).namelist())
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "site", wheel], check=True, timeout=120)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "colours.yaml").write_text(PROTOCOL)
    run(["-c", COMMANDS], tmp_path / "elsewhere", tmp_path / "site")


ACCEPTED = {  # the tests that see what is new: files, and names of tests
    "method": ("lit_inpaint/test_methods.py lit_inpaint/test_fake_cuda.py", "TinyGAN or committed_numbers"),
    "metric": ("lit_inpaint/test_metrics.py lit_inpaint/test_fake_cuda.py", "docs or version or committed_numbers"),
    "mask_law": (
        "masks/test_masks.py masks/test_masks_files.py lit_inpaint/test_arguments.py",
        "Diamond or every_generator or page_on_masks",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("page", ACCEPTED)
def test_the_tests_of_the_house_accept_what_a_page_adds(
    page: str, house: Path, added: dict[str, dict[str, int]], monkeypatch: pytest.MonkeyPatch
):
    pytest_here = ["-m", "pytest", "-p", "no:cacheprovider"]  # setup.cfg has one -q; a second hides the count
    monkeypatch.setenv("FAKE_CUDA_WRITE", "1")  # step 6 of the page on methods
    run([*pytest_here, "tests/lit_inpaint/test_fake_cuda.py", "-k", "TinyGAN"], house, house)
    monkeypatch.delenv("FAKE_CUDA_WRITE")
    files, names = ACCEPTED[page]
    said = run([*pytest_here, *(f"tests/{file}" for file in files.split()), "-k", names], house, house)
    assert " passed" in said and "failed" not in said
