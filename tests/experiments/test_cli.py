"""The command line as a user meets it: every mistake is one line with exit code 2, and nothing half-written is left."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import wandb
import yaml
from PIL import Image

from datamodules import SamplePhotos
from experiments.cli import COMMANDS, help_text, main, reason_of
from experiments.files.write import write_text
from lit_inpaint.load import read_checkpoint
from masks import CenterRectangle

SMALL = [
    "fit", "--model", "DeepFillV2", "--model.init_args.width", "8", "--model.init_args.discriminator_width", "4",
    "--data", "SamplePhotos", "--data.init_args.mask", "CenterRectangle", "--data.init_args.image_size", "32",
    "--data.init_args.batch_size", "2", "--data.init_args.num_workers", "0", "--data.init_args.eval_repeats", "1",
    "--trainer.max_steps", "2", "--trainer.val_check_interval", "2", "--trainer.check_val_every_n_epoch", "null",
    "--trainer.accelerator", "cpu", "--trainer.enable_model_summary", "false", "--trainer.default_root_dir", "run",
    "--trainer.num_sanity_val_steps", "0", "--trainer.log_every_n_steps", "1",
]  # fmt: skip


MISSING = "mps" if torch.cuda.is_available() else "cuda"  # a device that this machine lacks


def stopping(monitor: str) -> list[str]:
    callback = "--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping"
    return [callback, "--trainer.callbacks.monitor", monitor]


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    yield
    wandb.finish()


def call(*argv: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(argv))
    return int(end.value.code or 0)


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line printed for a user error."""
    before = {p for p in Path().rglob("*") if p.is_file()}
    assert call(*argv) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lit-inpaint:")]
    assert len(lines) == 1, lines
    assert {p for p in Path().rglob("*") if p.is_file()} == before  # nothing half-written
    return lines[0]


def picture(path: str, value: int = 128, size: tuple[int, int] = (40, 32)) -> str:
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(path)
    return path


def mask(path: str, share: float = 0.25, size: tuple[int, int] = (40, 32), grey: bool = False) -> str:
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[: round(share * size[1])] = 200 if grey else 255
    if grey:
        pixels[0] = 90
    Image.fromarray(pixels).save(path)
    return path


def test_help_imports_nothing_heavy_and_begins_with_what_a_newcomer_needs():
    code = (
        "import sys; from experiments.cli import help_text; help_text(); print({'torch', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "set()"
    assert "fit --config quickstart" in help_text().split("\n\n")[1]
    assert all(name in help_text() for group in COMMANDS.values() for name in group)


def test_a_pipe_gets_plain_text_where_jupyter_forces_colours(tmp_path: Path):
    words = ["benchmark", "quickstart", "--limit", "1", "--methods", "Telea", "--out", str(tmp_path / "results")]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "experiments", *words], cwd=Path(__file__).parents[2],
        env={**os.environ, "FORCE_COLOR": "1"}, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0 and "Telea" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["ft"], ["'ft'", "Did you mean 'fit'"]),
        (["fit", "--config", "quikstart"], ["quikstart", "quickstart.yaml"]),
        ([*SMALL, "--model.init_args.widht", "3"], ["'widht'", "Did you mean 'width'"]),
        ([*SMALL, "--model", "DeepFilV2"], ["'DeepFilV2'", "Did you mean 'DeepFillV2'"]),
        ([*SMALL, "--trainer.max_stepz", "3"], ["max_stepz", "Did you mean 'max_steps'"]),
        ([*SMALL, "--model", "Telea"], ["Telea", "no parameters"]),
        ([*SMALL, "--ckpt_path", "nowhere.ckpt"], ["nowhere.ckpt"]),
        (["masks", "show", "Narow", "--out", "sheet.png"], ["Did you mean 'Narrow'"]),
        # Lightning's own flags that a method with manual optimisation cannot honour: the argument that does it
        ([*SMALL, "--trainer.accumulate_grad_batches", "4"], ["model.init_args.accumulate to 4"]),
        ([*SMALL, "--trainer.gradient_clip_val", "1"], ["model.init_args.clip_norm"]),
        ([*SMALL, "--trainer.gradient_clip_algorithm", "value"], ["model.init_args.clip_norm"]),
        ([*SMALL, *stopping("val/fid")], ["'val/fid'", "--val_metrics '[fid]'"]),
        ([*SMALL, *stopping("psnr")], ["'psnr'", "Did you mean 'val/psnr'"]),
        ([*SMALL, "--trainer.accelerator", MISSING], ["can not run", "trainer.accelerator", "auto"]),
    ],
)
def test_a_mistake_in_a_command_is_one_line(capsys: pytest.CaptureFixture[str], argv: list[str], words: list[str]):
    line = refused(capsys, *argv)
    assert all(word in line for word in words), line


@pytest.mark.parametrize(("logger", "package"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow")])
def test_a_missing_package_is_named_before_training(capsys: pytest.CaptureFixture[str], logger: str, package: str):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed here")
    line = refused(capsys, *SMALL, "--config", f"loggers/{logger}")
    assert "Logger needs a package that is not installed" in line and package in line and "pip install" in line


def test_a_mistake_that_a_worker_finds_is_told_without_its_traceback():
    try:
        raise ValueError("m.png: 3 % of its pixels are grey")
    except ValueError:
        wrapped = torch._utils.ExceptionWrapper(where="in DataLoader worker process 0")
    with pytest.raises(ValueError, match="Traceback") as told:
        wrapped.reraise()
    assert reason_of(told.value).strip() == "m.png: 3 % of its pixels are grey"


@pytest.mark.parametrize(
    "command",
    [
        ["inpaint", "--method", "Telea", "--image", "a.png", "--mask", "m.png", "--out", "file/o.png"],
        ["inpaint", "--method", "Telea", "--image", "a.png", "b.png", "--mask", "m.png", "--out", "file"],
        ["masks", "write", "CenterRectangle", "--count", "1", "--out", "file/new"],
        ["benchmark", "quickstart", "--methods", "Telea", "--out", "file"],
    ],
)
def test_a_file_in_the_place_of_a_folder_is_named(capsys: pytest.CaptureFixture[str], command: list[str]):
    picture("a.png"), picture("b.png"), mask("m.png")
    Path("file").write_text("mine")
    assert "file is a file where a folder is needed" in refused(capsys, *command)
    assert Path("file").read_text() == "mine"


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path):
    (tmp_path / "out" / "mine").mkdir(parents=True)
    with pytest.raises(OSError, match="directory") as told:
        write_text(tmp_path / "out", "text")
    assert reason_of(told.value) == f"{tmp_path / 'out'}: Is a directory"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_loss_that_is_not_finite_ends_the_run_with_one_line(capsys: pytest.CaptureFixture[str]):
    assert call(*SMALL, "--model.init_args.learning_rate", "1e30") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lit-inpaint:")]
    assert "loss is nan at step 1" in line and "non_finite" in line


def test_installed_data_and_masks_are_found_by_name(capsys: pytest.CaptureFixture[str]):
    mask = ["--data.init_args.mask", "masks/pconv_training.yaml"]
    assert call("fit", "--model", "PartialConv", "--data", "data/sample_photos.yaml", *mask, "--print_config") == 0
    data = yaml.safe_load(capsys.readouterr().out)["data"]
    assert data["class_path"] == "datamodules.SamplePhotos"
    assert data["init_args"]["mask"]["init_args"]["generator"]["init_args"]["threshold"] == 153
    line = refused(capsys, "fit", "--model", "PartialConv", "--data", "data/sample_foto.yaml")
    assert "Did you mean 'data/sample_photos.yaml'" in line


def test_a_folder_without_images_is_one_line(capsys: pytest.CaptureFixture[str]):
    Path("photos").mkdir()
    at = SMALL.index("SamplePhotos")
    argv = [*SMALL[:at], "ImageFolder", "--data.init_args.root", "photos", *SMALL[at + 1 :]]
    argv = [
        a for a, b in zip(argv, ["", *argv[:-1]], strict=True) if "eval_repeats" not in a and "eval_repeats" not in b
    ]
    assert "photos" in refused(capsys, *argv)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda: Path("x.png").unlink(), ["x.png"]),
        (lambda: Path("x.png").write_bytes(b""), ["x.png"]),
        (lambda: Path("x.png").write_bytes(Path("x.png").read_bytes()[:60]), ["x.png"]),
        (lambda: mask("m.png", size=(30, 32)), ["30x32", "40x32", "the same size"]),
        (lambda: mask("m.png", grey=True), ["%", "--mask-threshold"]),
    ],
)
def test_a_bad_input_file_is_one_line(capsys: pytest.CaptureFixture[str], spoil, words: list[str]):
    picture("x.png"), mask("m.png")
    spoil()
    line = refused(capsys, "inpaint", "--method", "Telea", "--image", "x.png", "--mask", "m.png", "--out", "out.png")
    assert all(word in line for word in words), line


def test_an_unknown_method_is_one_line_with_the_nearest_name(capsys: pytest.CaptureFixture[str]):
    picture("x.png"), mask("m.png")
    line = refused(capsys, "inpaint", "--method", "Tela", "--image", "x.png", "--mask", "m.png", "--out", "out.png")
    assert "Did you mean 'Telea'" in line


def test_inpaint_fills_the_hole_alone_and_overwrites_nothing(capsys: pytest.CaptureFixture[str]):
    picture("x.png", 77), mask("m.png")
    command = ["inpaint", "--method", "Harmonic", "--image", "x.png", "--mask", "m.png", "--out", "out.png"]
    assert call(*command) == 0
    assert "25.0%" in capsys.readouterr().out
    assert (np.asarray(Image.open("out.png")) == 77).all()
    assert "--overwrite" in refused(capsys, *command)


def test_no_completion_replaces_a_file_or_another_completion(capsys: pytest.CaptureFixture[str]):
    picture("x.png"), mask("m.png"), picture("out-1.png")
    command = ["inpaint", "--method", "PatchMatch", "--mask", "m.png", "--samples", "2"]
    assert "out-1.png exists" in refused(capsys, *command, "--image", "x.png", "--out", "out.png")
    Path("in").mkdir()
    picture("in/a.png"), picture("in/a.jpg")
    assert "two images of in" in refused(capsys, *command, "--image", "in", "--out", "filled")


def test_a_filled_image_can_be_read_by_whoever_could_read_any_new_file():
    picture("x.png"), mask("m.png")
    assert call("inpaint", "--method", "Telea", "--image", "x.png", "--mask", "m.png", "--out", "out.png") == 0
    assert Path("out.png").stat().st_mode == Path("x.png").stat().st_mode


def test_an_image_that_is_all_hole_is_named(capsys: pytest.CaptureFixture[str]):
    picture("x.png"), mask("m.png", share=1)
    command = ["inpaint", "--method", "Telea", "--image", "x.png", "--mask", "m.png", "--out", "out.png"]
    assert call(*command) == 2
    warning, line = capsys.readouterr().err.splitlines()
    assert "--mask-white" in warning
    assert "x.png: every pixel is hole" in line and not Path("out.png").exists()


def test_a_large_hole_is_a_warning_that_names_the_polarity_option(capsys: pytest.CaptureFixture[str]):
    picture("x.png"), mask("m.png", share=0.75)
    assert call("inpaint", "--method", "Telea", "--image", "x.png", "--mask", "m.png", "--out", "out.png") == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert "75%" in line and "--mask-white" in line
    assert Path("out.png").is_file()


def test_a_folder_is_done_in_spite_of_one_bad_file(capsys: pytest.CaptureFixture[str]):
    Path("in").mkdir()
    picture("in/a.png"), picture("in/b.png"), mask("m.png")
    Path("in/b.png").write_bytes(b"no image")
    assert call("inpaint", "--method", "Telea", "--image", "in", "--mask", "m.png", "--out", "filled") == 1
    said = capsys.readouterr()
    assert Path("filled/a.png").is_file() and not Path("filled/b.png").exists()
    assert "b.png" in said.err and "1 of 2" in said.out


def test_predict_leaves_every_test_image_with_its_hole_filled_and_overwrites_none(capsys: pytest.CaptureFixture[str]):
    data = SMALL[SMALL.index("--data") : SMALL.index("--trainer.max_steps")]
    assert call("predict", "--model", "Harmonic", *data) == 0
    names = {p.relative_to("predictions").as_posix() for p in Path("predictions").rglob("*.png")}
    assert names == {"skimage/astronaut.png", "skimage/camera.png", "skimage/coffee.png"}
    photos = SamplePhotos(CenterRectangle(), image_size=32, eval_repeats=1)
    (sample,) = [s for s in photos.evaluation_set("test") if "coffee" in s.name]
    filled = np.asarray(Image.open("predictions/skimage/coffee.png"))
    truth = ((sample.image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    changed = (filled != truth).any(-1)
    assert changed.any() and not changed[sample.mask[0].numpy() == 0].any()
    assert "predictions exists" in refused(capsys, "predict", "--model", "Harmonic", *data)


def test_methods_lists_the_published_parameter_counts(capsys: pytest.CaptureFixture[str]):
    assert call("methods", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["DeepFillV2"]["networks"] == {"generator": 4_052_478, "discriminator": 5_946_816}
    assert rows["Telea"]["networks"] == {} and not rows["Telea"]["trainable"]


def test_a_run_is_resumed_tested_and_never_overwritten(capsys: pytest.CaptureFixture[str]):
    assert call(*SMALL) == 0
    first = {p: p.read_bytes() for p in Path("run").glob("*.*") if p.name != "status.json"}  # which says how it is now
    assert {p.name for p in first} >= {"config.yaml", "metrics.csv", "run.json", "wandb_id.txt"}
    checkpoint = "run/checkpoints/last.ckpt"
    assert read_checkpoint(Path(checkpoint))["global_step"] == 2

    line = refused(capsys, *SMALL, "--ckpt_path", checkpoint, "--model.init_args.learning_rate", "0.5")
    assert "0.5" in line and "0.0001" in line and "--init_from" in line

    longer = [
        "4" if a == "2" and b == "--trainer.max_steps" else a for a, b in zip(SMALL, ["", *SMALL[:-1]], strict=True)
    ]
    assert call(*longer, "--ckpt_path", checkpoint) == 0
    assert read_checkpoint(Path(checkpoint))["global_step"] == 4
    assert all(p.read_bytes() == content for p, content in first.items())
    assert Path("run/metrics-1.csv").is_file() and Path("run/config-1.yaml").is_file()

    data = SMALL[SMALL.index("--data") : SMALL.index("--trainer.max_steps")]
    files = {p for p in Path().rglob("*") if p.is_file()}
    assert call("test", "--ckpt_path", checkpoint, *data) == 0  # the model is taken from the checkpoint
    assert "test/psnr" in capsys.readouterr().out
    assert {p for p in Path().rglob("*") if p.is_file()} == files

    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert (
        call(
            *SMALL,
            "--init_from",
            checkpoint,
            "--model.init_args.learning_rate",
            "0.5",
            "--trainer.default_root_dir",
            "new",
        )
        == 0
    )
    assert read_checkpoint(Path("new/checkpoints/last.ckpt"))["global_step"] == 2
    assert any(
        not torch.equal(v, state[k])
        for k, v in read_checkpoint(Path("new/checkpoints/last.ckpt"))["state_dict"].items()
    )
