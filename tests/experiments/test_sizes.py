"""Unsupported image sizes are one line that names the setting, before training if shapes reveal them."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from experiments import cli
from experiments.train.sizes import check_size
from lit_inpaint.methods import DeepFillV2, PartialConv

SMALL = {
    "ContextEncoder": ["size=64", "overlap=2", "width=4", "bottleneck=8"],
    "PartialConv": ["levels=2", "width=2", "perceptual_weight=0", "style_weight=0"],
    "DeepFillV1": ["width=4", "discriminator_width=4", "size=64", "local_size=32"],
    "DeepFillV2": ["width=4", "discriminator_width=4"],
    "GLCIC": ["width=8", "features=16", "size=64", "local_size=32"],
    "DDPM": [
        "model_channels=32",
        "num_res_blocks=1",
        "channel_mult=[1,1]",
        "num_head_channels=32",
        "diffusion_steps=2",
        "noise_schedule=cosine",
    ],
    "LaMa": ["width=4", "blocks=1", "discriminator_width=4", "perceptual_weight=0"],
}


def refused(capsys: pytest.CaptureFixture[str], name: str, **data: object) -> list[str]:
    """The one line that a fit of at most three steps ends with."""
    settings = {"num_workers": 0, "eval_repeats": 1, "mask": "CenterRectangle"} | data
    argv = ["fit", "--model", name, *(f"--model.init_args.{setting}" for setting in SMALL[name]), "--data=SamplePhotos"]
    argv += [f"--data.init_args.{key}={value}" for key, value in settings.items()]
    argv += [
        f"--trainer.{s}" for s in ("accelerator=cpu", "max_steps=3", "default_root_dir=run", "num_sanity_val_steps=0")
    ]
    with pytest.raises(SystemExit) as end:
        cli.main(argv)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lit-inpaint:")]
    assert end.value.code == 2 and len(lines) == 1, lines
    return lines


class Data:
    def __init__(self, image_size: int, batch_size: int, drop_last: bool = True, samples: int = 8) -> None:
        self.image_size, self.batch_size, self.drop_last, self.samples = image_size, batch_size, drop_last, samples

    def training_set(self) -> range:
        return range(self.samples)


@pytest.mark.parametrize(
    ("method", "size", "batch", "said"),
    [
        (PartialConv(perceptual_weight=0, style_weight=0), 64, 2, "64x64"),  # eight halvings
        (PartialConv(levels=3, width=2), 36, 2, "36x36"),
        (PartialConv(levels=2, width=2), 4, 1, "Expected more than 1 value per channel"),  # BatchNorm, one 1x1 map
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else str(value),
)
def test_shapes_alone_tell_what_a_generator_cannot_take(method: torch.nn.Module, size: int, batch: int, said: str):
    with pytest.raises(ValueError, match=said) as told:
        check_size(method, Data(size, batch))
    assert f"images of {size}x{size} in batches of {batch}" in str(told.value) and "image_size" in str(told.value)


def test_what_can_be_trained_is_not_refused_and_nothing_of_the_method_changes():
    for method, size, batch in ((PartialConv(levels=2, width=2), 4, 2), (DeepFillV2(width=4), 64, 1)):
        before = {k: v.clone() for k, v in method.state_dict().items()}
        check_size(method, Data(size, batch))
        assert all(torch.equal(before[k], v) for k, v in method.state_dict().items()) and method.training


@pytest.mark.parametrize(("samples", "world", "refused"), [(5, 1, True), (6, 1, False), (10, 2, True), (12, 2, False)])
def test_a_last_batch_that_batch_norm_cannot_take_is_refused_before_training(samples: int, world: int, refused: bool):
    method = PartialConv(levels=2, width=2)
    check_size(method, Data(4, 2, drop_last=True, samples=samples), world)
    told = pytest.raises(ValueError, match=r"in batches of 1.*drop_last \(to true\)") if refused else nullcontext()
    with told:
        check_size(method, Data(4, 2, drop_last=False, samples=samples), world)


@pytest.mark.parametrize(
    ("name", "size", "batch"),
    [("PartialConv", 6, 2), ("PartialConv", 4, 1), ("DeepFillV1", 2, 1), ("DeepFillV1", 31, 2), ("GLCIC", 1, 1),
     ("DDPM", 31, 2), ("DDPM", 1, 1), ("LaMa", 1, 1), ("DeepFillV2", 1, 1), ("DeepFillV2", 31, 2)],
)  # fmt: skip
def test_every_size_is_one_line(
    name: str,
    size: int,
    batch: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    lines = refused(capsys, name, image_size=size, batch_size=batch)
    assert f"{size}x{size}" in lines[0] or f"{size}, {size}" in lines[0] or "image_size" in lines[0], lines


def test_a_last_batch_that_only_training_reveals_is_one_line_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    mask = '{"class_path": "CenterRectangle", "init_args": {"height": 0.25, "width": 0.25}}'
    data = {"image_size": 64, "batch_size": 2, "samples_per_epoch": 3, "drop_last": "false", "mask": mask}
    (line,) = refused(capsys, "ContextEncoder", **data)
    assert "in batches of 1" in line and "drop_last (to true)" in line
