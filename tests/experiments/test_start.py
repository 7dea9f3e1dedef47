"""How commands start: what they import, and that they say something before they import torch."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.cli import COMMANDS, main
from lit_inpaint import methods
from lit_inpaint.options import loading
from tests.support.house import ROOT

HEAVY = ("lightning", "torchmetrics", "torchvision", "lpips", "albumentations", "pandas", "matplotlib", "wandb", "rich")
QUICK = {"doctor", "configs"}  # print within a second
CLASSICS = [
    name
    for name in methods.__all__
    if not (cls := getattr(methods, name)).trainable and not cls.imports and not cls.needed
]


def imports(*words: str) -> set[str]:
    """The modules that a command has imported at its end, in a process of its own."""
    code = (
        "import contextlib, sys\nfrom experiments.cli import main\n"
        "with contextlib.suppress(SystemExit):\n    main(sys.argv[1:])\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=env)
    return set(done.stderr.splitlines()[-1].split())


def test_telea_completes_a_photo_with_torch_and_opencv_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    hole = np.zeros((32, 40), np.uint8)
    hole[8:16, 8:16] = 255
    Image.fromarray(hole).save("mask.png")
    Image.fromarray(np.full((32, 40, 3), 90, np.uint8)).save("photo.png")
    found = imports("inpaint", "--method", "Telea", "--image", "photo.png", "--mask", "mask.png", "--out", "filled.png")
    assert Path("filled.png").is_file() and {"torch", "cv2", "lit_inpaint.methods.telea.method"} <= found
    assert not [name for name in found if name.split(".")[0] in (*HEAVY, "scipy", "numba", "skimage")]
    assert len(found) < 1800 and not {"lit_inpaint.stage", "datamodules.datamodule", "torch._dynamo"} & found


def test_no_classic_needs_lightning():
    code = "import sys; from lit_inpaint import load_method\n"
    code += "for name in sys.argv[1:]: load_method(name)\n"
    code += f"print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, *CLASSICS], capture_output=True, text=True, cwd=ROOT)
    assert len(CLASSICS) == 6 and done.stdout.strip() == "[]", (CLASSICS, done.stdout, done.stderr[-1000:])


def test_dots_follow_while_imports_last(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    said = ""
    with loading("fit", every=0.01):
        while "fit ....." not in said:
            said += capsys.readouterr().err
    said += capsys.readouterr().err
    assert re.fullmatch(r"lit-inpaint: loading fit \.{5,}\n", said)


def test_a_fresh_process_knows_every_class_by_its_short_name():
    """Classes are imported when they are used: nothing else in this process has asked for one."""
    code = (
        "import contextlib, sys\nfrom experiments.cli import main\n"
        "for words in sys.argv[1:]:\n"
        "    with contextlib.suppress(SystemExit):\n        main(words.split() + ['--print_config'])\n"
    )
    words = [
        "test --model Telea --data SamplePhotos --data.mask CenterRectangle",
        "fit --model ICTTransformer --data DrawnFaces --data.mask LaMaThin",
    ]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=env)
    for name in ("Telea", "SamplePhotos", "ICTTransformer", "DrawnFaces", "LaMaThin"):
        assert re.search(rf"class_path: [\w.]*\b{name}\n", done.stdout), done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("fit --model Telea --model.init_args.radiuss 3", "there is no setting 'radiuss'. Did you mean 'radius'?"),
        ("fit --model DeepFillV2 --model.lr 3", "there is no setting 'lr'. Did you mean 'learning_rate'?"),
        ("fit --model ICTUpsampler --model.widht 3", "there is no setting 'widht'. Did you mean 'width'?"),
        ("fit --model Telea --callbacks x", "there is no setting 'callbacks'. Did you mean 'trainer.callbacks'?"),
        ("fit --model Telea --bands rgb", "there is no setting 'bands'. Did you mean 'data.init_args.bands'?"),
        ("fit --model Telea --root x", "there is no setting 'root'. Did you mean 'data.init_args.root'?"),
        ("fit --model LaMa --blocks 3", "there is no setting 'blocks'. Did you mean 'model.init_args.blocks'?"),
        (
            "fit --data.root x --data ImageFolder",
            "--data.root needs a class first: give --data NAME before it, such as",
        ),
        (
            "fit --model.width 8",
            "--model.width needs a class first: give --model NAME before it, such as --model AOTGAN.",
        ),
        (
            "fit --model LaMa --data SamplePhotos --data.mask.height 0.5",
            "mask needs a class first: name one before its",
        ),
        ("fit --config flat.yaml", "arguments of data stand in init_args: data: {class_path: NAME, init_args: {...}}."),
        ("fit --model Telia", "there is no class 'Telia' for 'model'. Did you mean 'Telea'?"),
        ("fit --model Telea --data ImageFolder", "ImageFolder needs root, mask: required in its init_args."),
        ("fit --model Telea", "--data is required, or a --config that sets them"),
        ("test", "--data and --model are required, or a --config that sets them"),
    ],
)
def test_a_wrong_or_missing_argument_is_one_line_about_it(
    words: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "flat.yaml").write_text("data: {class_path: SamplePhotos, mask: CenterRectangle}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(words.split())
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and line.startswith(f"lit-inpaint: {said}") and "Union" not in line


@pytest.mark.parametrize("command", sorted({name for group in COMMANDS.values() for name in group} - QUICK))
def test_a_command_says_so_before_it_imports_torch(command: str, tmp_path: Path):
    ours, theirs = pty.openpty()
    what = ["narrow_vs_wide", "--workers", "0"] if command == "sweep" else ["missing"]  # it reads its file before
    words = [sys.executable, "-X", "importtime", "-m", "experiments", command, *what]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=theirs, cwd=tmp_path, env=env)
    os.close(theirs)
    said = b""
    try:
        with contextlib.suppress(OSError):  # Linux's end of file of a terminal
            while f"loading {command} ...".encode() not in said and b"| torch\r" not in said:
                said += os.read(ours, 65536)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(ours)
    before, line, _ = said.partition(f"lit-inpaint: loading {command} ...".encode())
    assert line and not re.search(rb"\| +(torch|lightning|scipy)[.\r]", before)
