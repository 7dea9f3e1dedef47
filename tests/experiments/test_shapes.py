"""Methods and commands at 48x80, height first, where a square would be the easy case.

jingyuanli001/RFR-Inpainting #10 (train at 128x256), Janspiry/Image-Super-Resolution-via-Iterative-Refinement #8
(train and test at 200x150), vickyFox/Region-wise-Inpainting #3 (photographs that are not square),
junyanz/pytorch-CycleGAN-and-pix2pix #1372 (64x1800 in and out).
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from datamodules import SamplePhotos
from experiments import cli
from experiments.evaluate.protocol import load_protocols
from experiments.records.files import read_record
from experiments.run import Run
from experiments.train.sizes import check_size
from lit_inpaint.load import load_method
from masks import Wide
from masks.convention import composite
from masks.size import by_name
from tests.support import killing
from tests.support.contract import make
from tests.support.killing import Kill
from tests.support.protocols import records, run, write_protocol

SHAPE = (48, 80)
UNET: dict[str, Any] = {
    "image_size": SHAPE, "model_channels": 32, "num_res_blocks": 1, "channel_mult": [1, 1],
    "attention_resolutions": [24],
}  # fmt: skip
SMALL: dict[str, dict[str, Any]] = {
    "AOTGAN": {"width": 8, "blocks": 1, "discriminator_width": 4, "style_weight": 0, "perceptual_weight": 0},
    "DDPM": UNET | {"num_head_channels": 32, "diffusion_steps": 2, "noise_schedule": "cosine"},
    "DeepFillV2": {"width": 8, "discriminator_width": 4},
    "LaMa": {"width": 4, "blocks": 1, "discriminator_width": 4, "perceptual_weight": 0},
    "PartialConv": {"levels": 4, "width": 8, "perceptual_weight": 0, "style_weight": 0},
}
SIBLINGS: dict[str, dict[str, Any]] = {
    "DeepFillV1": {"width": 4, "discriminator_width": 4, "size": SHAPE, "local_size": 32, "discriminator_updates": 1},
    "GLCIC": {
        "width": 8, "features": 16, "size": SHAPE, "local_size": 32, "completion_steps": 1, "discriminator_steps": 1,
    },
    "Palette": UNET | {"diffusion_steps": 4, "inference_steps": 2},
}  # fmt: skip


def settings(name: str, steps: int = 5) -> dict[str, Any]:
    model = {"class_path": name, "init_args": SMALL.get(name) or SIBLINGS[name]}
    config = killing.settings(json.loads(json.dumps(model)), steps=steps)
    config["data"]["init_args"] |= {"image_size": list(SHAPE), "limit_eval": 2, "eval_batch_size": 2}
    return config


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "DeepFillV2")) for n in SMALL])
def test_a_method_trains_is_killed_and_resumed_and_is_measured_at_48x80(name: str, tmp_path: Path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert killing.run(whole, settings(name)) == [0], (whole / "log-0-0.txt").read_text()[-1500:]
    assert killing.killed_and_resumed(cut, settings(name), Kill("between steps", 5)) == 3
    assert killing.differences(cut, whole) == []
    facts = json.loads((cut / "run/run.json").read_text())
    assert (
        facts["image_size"] == [48, 80] and facts["val_protocol_hash"] and len(Run(cut / "run").curves["val/psnr"]) == 1
    )

    checkpoint = cut / "run/checkpoints/last.ckpt"
    protocol = write_protocol(
        tmp_path, size=list(SHAPE), data={"class_path": "SamplePhotos"}, limit=2, metrics=["psnr"]
    )
    assert run(protocol, "--methods", f"M={checkpoint}", "--out", tmp_path / "out", "--device", "cpu") == 0
    (record,) = records(tmp_path / "out").values()
    assert record.protocol.definition["size"] == [48, 80]
    assert record.adaptation is None and record.metrics["psnr"].mean is not None
    pictures = [Image.open(path).size for path in (tmp_path / "out/images").rglob("*.png")]
    assert pictures and set(pictures) == {(80, 48)}


@pytest.mark.parametrize("name", SIBLINGS)
def test_methods_with_a_size_of_their_own_take_one_that_is_not_square(name: str, tmp_path: Path):
    config = settings(name, 3) | {"seed_everything": 1}
    assert killing.run(tmp_path, config) == [0], (tmp_path / "log-0-0.txt").read_text()[-1500:]
    method = load_method(tmp_path / "run/checkpoints/last.ckpt")
    assert method.fixed_size in (None, SHAPE) and "crop or resize" not in (tmp_path / "log-0-0.txt").read_text()
    config["data"]["init_args"]["image_size"] = [80, 48]
    if method.fixed_size is None:  # a discriminator is built for one size
        assert killing.run(tmp_path / "swapped", config) != [0]
        assert "image is 48x80; the" in (tmp_path / "swapped/log-0-0.txt").read_text()


def test_a_size_that_a_method_has_and_the_data_has_not_is_told_before_training():
    data = SamplePhotos(mask=Wide(), image_size=SHAPE, batch_size=2)
    for name, arguments, told in (
        ("DDPM", SMALL["DDPM"] | {"image_size": 64}, "64x64"),
        ("DDPM", SMALL["DDPM"] | {"image_size": (80, 48)}, r"80x48 \(height x width\)"),
    ):
        with pytest.warns(UserWarning, match=rf"completes images of {told}, the data has 48x80 \(height x width\)"):
            check_size(make(name, arguments), data)


def test_a_fixed_size_method_says_what_it_does_with_another_size():
    mask = torch.zeros(1, 1, 48, 80)
    mask[..., 10:20, 60:70] = 1
    image = torch.rand(1, 3, 48, 80, generator=torch.Generator().manual_seed(0)) * 2 - 1
    encoder = make("ContextEncoder", {"size": 64, "overlap": 2, "width": 8, "bottleneck": 16}).eval()
    assert encoder.adaptation(mask[0]) == "resized 80x48 to 64x64 and back"
    narrow = make("DDPM", SMALL["DDPM"] | {"image_size": (32, 40), "attention_resolutions": [16]}).eval()
    assert narrow.adaptation(mask[0]) == "cropped 40x32 around the hole"
    wide = make("DDPM", SMALL["DDPM"] | {"image_size": (80, 48)}).eval()
    assert wide.adaptation(mask[0]) == "resized 80x48 to 48x80 and back"
    for method, shape in ((encoder, (64, 64)), (narrow, (32, 40)), (wide, (80, 48))):
        seen, predict = list[tuple[int, ...]](), method.predict
        method.predict = (
            lambda x, m, seen=seen, predict=predict, **guides: (  # type: ignore[method-assign]
                seen.append(tuple(x.shape[-2:])) or predict(x, m, **guides)
            )
        )
        with torch.no_grad():
            found = method(image, mask)
        assert seen == [shape]
        assert found.shape == image.shape and torch.equal(composite(image, found, mask), image)
        assert not torch.equal(found, image)


def test_what_cannot_be_that_size_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    for name, arguments, said in (
        (
            "DDPM",
            UNET | {"image_size": (48, 81), "num_head_channels": 32},
            "image_size is .48, 81.; a UNet of 2 levels",
        ),
        ("DDPM", UNET | {"channel_mult": None}, "has no published channel_mult"),
        ("Palette", UNET | {"image_size": [48]}, r"image_size is \[48\]; expected"),
    ):
        with pytest.raises(ValueError, match=said) as told:
            make(name, arguments)
        assert "\n" not in str(told.value)
    monkeypatch.chdir(tmp_path)
    stage = ["grid=8", "colours=27", "palette=uniform", "layers=1", "width=16", "heads=2"]
    for name, arguments, said in (
        ("ContextEncoder", ["size=64", "overlap=2", "width=8", "bottleneck=16"], "is built for 64x64"),
        ("ICTTransformer", stage, "the tokens of ICT are a square"),
    ):
        argv = ["fit", "--model", name, *(f"--model.init_args.{argument}" for argument in arguments)]
        argv += ["--data=SamplePhotos", "--data.init_args.mask=CenterRectangle", "--data.init_args.image_size=[48,80]"]
        argv += ["--data.init_args.num_workers=0", "--trainer.max_steps=1", "--trainer.accelerator=cpu"]
        argv += ["--trainer.default_root_dir=run", "--trainer.num_sanity_val_steps=0"]
        with pytest.raises(SystemExit) as end:
            cli.main(argv)
        (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("lit-inpaint:")]
        assert end.value.code == 2 and said in line and "image_size" in line and "80x48" in line


def test_a_fit_of_the_command_line_takes_a_pair_and_its_interpolation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A configuration may say once how large images are: for the data and for the network."""
    monkeypatch.chdir(tmp_path)
    network = SIBLINGS["Palette"] | {"image_size": "${data.init_args.image_size}"}
    faces = {"mask": "CenterRectangle", "image_size": 64, "val": 2, "batch_size": 2, "num_workers": 0}
    parts = {"model": ("Palette", network), "data": ("DrawnFaces", faces)}
    config = {part: {"class_path": cls, "init_args": arguments} for part, (cls, arguments) in parts.items()}
    Path("fit.yaml").write_text(json.dumps(config))  # JSON is YAML
    argv = ["fit", "--config", "fit.yaml", "--data.init_args.image_size=[48,80]"]
    argv += ["--trainer.max_steps=1", "--trainer.accelerator=cpu", "--trainer.default_root_dir=run"]
    argv += ["--trainer.num_sanity_val_steps=0", "--trainer.enable_model_summary=false"]
    with pytest.raises(SystemExit) as end:
        cli.main(argv)
    assert end.value.code in (None, 0)
    assert load_method(tmp_path / "run/checkpoints/last.ckpt").fixed_size == SHAPE
    assert json.loads((tmp_path / "run/run.json").read_text())["image_size"] == [48, 80]


def test_a_protocol_and_its_kit_keep_height_and_width_apart(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    found = {}
    for size in (list(SHAPE), list(SHAPE[::-1]), [64, 64], 64):
        protocol = write_protocol(tmp_path, size=size, metrics=["psnr"], limit=2)
        found[str(size)] = load_protocols(protocol, images=photos)[0].hash
    assert len(set(found.values())) == 3 and found["[64, 64]"] == found["64"]

    protocol = write_protocol(tmp_path, size=list(SHAPE), metrics=["psnr"], limit=2)
    kit, out = tmp_path / "kit", tmp_path / "out"
    for argv in (["protocol", "export", str(protocol), "--images", str(photos), "--out", str(kit)],
                 ["protocol", "score", str(kit), "--outputs", f"E={kit / 'erased'}", "--out", str(out)]):  # fmt: skip
        with pytest.raises(SystemExit) as end:
            cli.main(argv)
        assert end.value.code in (None, 0)
    assert {Image.open(path).size for path in kit.glob("*/*.png")} == {(80, 48)}
    (record,) = records(out).values()
    assert record.hash == found[str(list(SHAPE))] and read_record(next(out.glob("records/*/E.json"))) == record
    protocol = write_protocol(tmp_path, size=[48, 80, 3], metrics=["psnr"])
    with pytest.raises(ValueError, match=r"try.yaml: size is \[48, 80, 3\]; expected a whole number"):
        load_protocols(protocol, images=photos)


def test_memory_of_a_step_is_measured_at_height_x_width(capsys: pytest.CaptureFixture[str]):
    argv = ["methods", "AOTGAN", "--memory", "--batch-size", "1", "width=4", "blocks=1", "discriminator_width=2"]
    argv += ["style_weight=0", "perceptual_weight=0", "--size"]
    with pytest.raises(SystemExit) as end:
        cli.main([*argv, "48x80"])
    assert end.value.code in (None, 0) and f"a training step at {by_name(SHAPE)}" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        cli.main([*argv, "48x"])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == 2 and "'48x' is not a size; give 256, or 321x481 for height x width" in line
