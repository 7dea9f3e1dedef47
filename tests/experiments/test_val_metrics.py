"""Metrics by name in validation: what is logged, who may monitor it, and what is refused before training.

advimman/lama#149 and huggingface/diffusers#7249 ask which checkpoint to keep; Lightning#524 and #490 are trainings that
ended at their first validation because nobody logged what EarlyStopping monitors.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from datamodules import SamplePhotos
from experiments.cli import main
from experiments.run import Run
from lit_inpaint import plugins
from lit_inpaint.load import load_method, read_checkpoint
from lit_inpaint.metrics import metric, round_to_8_bits
from masks import DeepFillV2Mask
from tests.support import killing
from tests.support.killing import Kill
from tests.support.runs import model
from tests.support.small_fits import METHODS, SMALL_FIT

OWN = """\
from lit_inpaint.metrics import Features, defined


def blocks(image):
    return image.unflatten(2, (2, -1)).unflatten(4, (2, -1)).mean((3, 5)).flatten(1)


def distance(fake, real):
    return {"means": float(((fake.mean(0) - real.mean(0)) ** 2).sum())}


@defined("1: distance of mean colours", title="Means", higher_is_better=False,
         features=Features("blocks", blocks, 12), score=distance, least=2)
def means(prediction, target, mask=None):
    raise NotImplementedError
"""
NAMES = ["lpips_alex", "psnr_pooled", "l1_relative_sum", "own_metrics.means"]
KEYS = [f"val/{name}" for name in NAMES]


def settings(name: str, ranks: int = 1, **data: Any) -> dict[str, Any]:
    """Three samples of one photograph (two ranks share them unevenly), the best network by a metric, and an early end
    that the metric asks for at the fourth validation."""
    config = killing.settings(model(name), ranks=ranks, steps=14)
    config["data"]["init_args"] |= {"limit_eval": 1, "eval_repeats": 3, "image_size": 64} | data
    best = {"dirpath": "run/best", "filename": "{step}", "monitor": "val/lpips_alex", "mode": "min", "save_top_k": 1}
    stop = {"monitor": "val/own_metrics.means", "mode": "min", "patience": 2, "min_delta": 10.0}
    own = [
        {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": best},
        {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": stop},
    ]
    config["trainer"]["callbacks"] += own
    return config | {"val_metrics": NAMES}


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")


def place(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "own_metrics.py").write_text(OWN)
    return folder


def values(folder: Path) -> dict[str, list[tuple[int, float]]]:
    return {key: Run(folder / "run").curve(key) for key in KEYS}


def by_hand(checkpoint: Path, images: int) -> dict[str, float]:
    """The numbers of the first validation samples, from the network of a checkpoint."""
    photos = SamplePhotos(DeepFillV2Mask(), image_size=64, limit_eval=1, eval_repeats=3).evaluation_set("val")
    method: Any = load_method(checkpoint)
    method.sampler = getattr(method, "validation_sampler", None)
    samples = [photos[index] for index in range(images)]
    truth, mask = (torch.stack([getattr(sample, part) for sample in samples]) for part in ("image", "mask"))
    with torch.no_grad():
        done = method(truth, mask, **method.draws(0, [sample.name for sample in samples]))
    done, truth = round_to_8_bits(done), round_to_8_bits(truth)
    squares = ((done - truth) / 2).square().mean((1, 2, 3))
    features = [x.unflatten(2, (2, -1)).unflatten(4, (2, -1)).mean((3, 5)).flatten(1).mean(0) for x in (done, truth)]
    return {
        "val/lpips_alex": metric("lpips_alex")(done, truth).mean().item(),
        "val/psnr_pooled": -10 * squares.mean().log10().item(),
        "val/l1_relative_sum": metric("l1_relative_sum")(done, truth).mean().item(),
        "val/own_metrics.means": (features[0] - features[1]).square().sum().item(),
    }


@pytest.mark.parametrize(("name", "images"), [("DeepFillV2", 3), ("PartialConv", 3), ("DDPM", 2)])
def test_every_validation_logs_the_metrics_asked_for_and_callbacks_use_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, images: int
):
    monkeypatch.chdir(place(tmp_path / "fit"))
    config = settings(name)
    if name == "DDPM":
        config["model"]["init_args"]["validation_images"] = images  # of three: the last is not sampled
    Path("fit.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(SystemExit) as end:
        main(["fit", "--config", "fit.yaml"])
    assert not end.value.code
    logged = values(Path())
    assert all(len(logged[key]) == 3 for key in KEYS)  # it stopped at the third validation, not after 14 steps
    assert "early stopping on val/own_metrics.means" in Path("run/status.json").read_text()
    for at, step in enumerate((3, 6, 9)):
        expected = by_hand(Path(f"run/checkpoints/step={step}.ckpt"), images)
        assert {key: logged[key][at][1] for key in KEYS} == pytest.approx(expected, rel=1e-4, abs=1e-6)
    (kept,) = Path("run/best").iterdir()
    lpips = [value for _, value in logged["val/lpips_alex"]]
    assert kept.name == f"step={3 * (1 + lpips.index(min(lpips)))}.ckpt"


@pytest.mark.slow
@pytest.mark.xdist_group("ddp")
def test_two_ranks_that_share_three_images_log_the_numbers_of_one(tmp_path: Path):
    found = {}
    for ranks in (1, 2):
        folder = place(tmp_path / str(ranks))
        assert killing.run(folder, settings("DeepFillV2", ranks), ranks=ranks) == [0] * ranks  # it has no BatchNorm
        found[ranks] = values(folder)
    assert [len(found[1][key]) for key in KEYS] == [3] * len(KEYS)
    for key in KEYS:
        assert [value for _, value in found[2][key]] == pytest.approx([value for _, value in found[1][key]], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kill", [Kill("in validation", 6), Kill("between steps", 7)], ids=lambda kill: kill.point)
def test_a_run_that_is_killed_keeps_its_best_network_and_its_early_end(tmp_path: Path, kill: Kill):
    config = settings("DeepFillV2")
    assert killing.run(place(tmp_path / "whole"), config) == [0]
    killing.killed_and_resumed(place(tmp_path / "killed"), config, kill)
    assert not killing.differences(tmp_path / "killed", tmp_path / "whole")
    assert values(tmp_path / "killed") == values(tmp_path / "whole")
    kept = [[path.name for path in (tmp_path / name / "run/best").iterdir()] for name in ("killed", "whole")]
    paths = [tmp_path / name / "run/checkpoints/last.ckpt" for name in ("killed", "whole")]
    states = [read_checkpoint(path)["callbacks"] for path in paths]
    stops, theirs = ([v for k, v in state.items() if k.startswith("EarlyStopping")] for state in states)
    assert kept[0] == kept[1] and stops == theirs and stops[0]["wait_count"] == 1


ONE = ["--trainer.max_steps", "1"]  # were it not refused
SMALL = ["fit", "--model", "DeepFillV2", *METHODS["DeepFillV2"], *SMALL_FIT, *ONE]
DATA = SMALL_FIT[: SMALL_FIT.index("--trainer.check_val_every_n_epoch")]
VALIDATE, VQVAE = ["validate", "--model", "Harmonic", *DATA], ["fit", "--model", "DSIVQVAE", *DATA, *ONE]
KEEP = "--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint"


def stopping(monitor: str) -> list[str]:
    callback = "--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping"
    return [callback, "--trainer.callbacks.monitor", monitor]


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line printed for a user error, before which nothing is written."""
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit) as end:
        main(list(argv))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lit-inpaint:")]
    assert end.value.code == 2 and len(lines) == 1 and sorted(Path().rglob("*")) == before, lines
    return lines[0]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([*SMALL, "--val_metrics", "[lpips]"], ["unknown metric 'lpips'", "Did you mean 'lpips_"]),
        ([*SMALL, "--val_metrics", "[fid]"], ["fid needs at least 1000 images, given 2", "kid and kid_paired"]),
        ([*SMALL, "--val_metrics", "[kid_paired]"], ["kid_paired needs at least 50 images, given 2"]),
        ([*VALIDATE, "--val_metrics", "[kid]"], ["kid needs at least 50 images, given 2"]),
        ([*SMALL, "--val_metrics", "[diversity_lpips]"], ["diversity_lpips cannot be", "`lit-inpaint benchmark`"]),
        ([*SMALL, "--val_metrics", "[clip_score]"], ["clip_score cannot be measured", "prompt"]),
        ([*SMALL, "--val_metrics", "lpips_alex"], ["val_metrics", "lpips_alex"]),
        ([*VALIDATE, "--val_metrics", "[lpips_alex]", "--data.image_size", "24"], ["lpips_alex", "at least 32x32"]),
        ([*SMALL, *stopping("val/lpips_alex")], ["val/lpips_alex", "--val_metrics '[lpips_alex]'"]),
        ([*SMALL, *stopping("val/psnr")], ["EarlyStopping monitors val/psnr with mode min", "set its mode to max"]),
        (
            [*SMALL, "--val_metrics", "[l1_relative_sum]", KEEP, "--trainer.callbacks.monitor=val/l1_relative_sum",
             "--trainer.callbacks.mode=max"],
            ["ModelCheckpoint monitors val/l1_relative_sum with mode max", "lower is better", "set its mode to min"],
        ),
        ([*VQVAE, *stopping("val/psnr")], ["'val/psnr'", "DSIVQVAE never logs", "val/loss"]),
        ([*VQVAE, "--val_metrics", "[l1_relative_sum]"], ["DSIVQVAE completes no images"]),
    ],
)  # fmt: skip
def test_what_no_validation_could_measure_or_monitor_is_one_line(
    capsys: pytest.CaptureFixture[str], argv: list[str], words: list[str]
):
    line = refused(capsys, *argv)
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("returned", "given"),
    [("error.mean()", "a tensor of shape ()"), ("float(error.mean())", "float"),
     ("error.mean((2, 3))", "a tensor of shape (1, 3)")],
)  # fmt: skip
def test_a_metric_that_returns_no_value_per_image_is_one_line_of_a_fit_and_of_a_benchmark(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, returned: str, given: str
):
    monkeypatch.syspath_prepend(".")
    monkeypatch.setenv(plugins.VARIABLE, "")  # to which --import adds
    name = f"own{len(returned)}"
    Path(f"{name}.py").write_text(
        "from lit_inpaint.metrics import defined\n\n"
        "@defined('1: mean error', title='Error', higher_is_better=False)\n"
        f"def error(prediction, target, mask=None):\n    error = (prediction - target).abs()\n    return {returned}\n"
    )
    said = f"error returned {given}, not one value per image, a tensor of shape (1,)"
    assert said in refused(capsys, *SMALL, "--val_metrics", f"[{name}.error]", "--import", name)
    protocol = {"name": "own", "data": {"class_path": "DrawnFaces"}, "size": 32, "limit": 1, "mask": "center"}
    Path("own.yaml").write_text(yaml.safe_dump(protocol | {"metrics": ["psnr", f"{name}.error"]}))
    with pytest.raises(SystemExit) as end:
        main(["benchmark", "own.yaml", "--methods", "Telea", "--out", "out", "--import", name])
    assert end.value.code == 1 and f"Telea under own: {said}" in capsys.readouterr().out


def test_a_metric_whose_weights_are_absent_says_how_to_get_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LIT_INPAINT_WEIGHTS", "nowhere")
    monkeypatch.setenv("TORCH_HOME", "nowhere")
    for name in ("lpips_vgg", "fd_dinov2"):
        line = refused(capsys, *SMALL, "--val_metrics", f"[{name}]")
        assert f"val_metrics: {name} cannot be measured" in line and "LIT_INPAINT_WEIGHTS" in line, line


def test_a_sampler_that_completes_few_images_is_said(capsys: pytest.CaptureFixture[str]):
    config = settings("DDPM", eval_repeats=50) | {"val_metrics": ["kid"]}
    config["trainer"]["callbacks"] = config["trainer"]["callbacks"][:-2]
    Path("fit.yaml").write_text(yaml.safe_dump(config))
    line = refused(capsys, "fit", "--config", "fit.yaml")
    assert "kid needs at least 50 images, given 1 (validation_images of DDPM)" in line
