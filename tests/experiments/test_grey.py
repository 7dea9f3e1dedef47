"""Grey pictures, one channel, from the data to the completed file.

JiahuiYu/generative_inpainting #302 and #213 (a grey picture comes back coloured; one channel asked for),
nipponjo/deepfillv2-pytorch #19 (one-channel DeepFill v2), openai/improved-diffusion #121 (one-channel DDPM),
jingyuanli001/RFR-Inpainting #52 (grey data is only taken as RGB).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import SamplePhotos
from datamodules.evaluation import to_image
from experiments import cli
from experiments.evaluate.protocol import load_protocols, protocol_hash
from experiments.train.sizes import check_size
from experiments.weights.export import write_official
from lit_inpaint.backbones import BackboneMissingError, backbone
from lit_inpaint.load import load_method
from lit_inpaint.losses.perceptual import VGG16Features
from lit_inpaint.metrics import metric
from masks import Wide
from masks.convention import to_grey, to_pixels
from masks.files import write_mask
from tests.support import killing
from tests.support.contract import make
from tests.support.protocols import records, run, write_protocol

SMALL: dict[str, dict[str, Any]] = {
    "DDPM": {
        "image_size": 64, "model_channels": 32, "num_res_blocks": 1, "channel_mult": [1, 1], "num_head_channels": 32,
        "attention_resolutions": [32], "diffusion_steps": 2, "noise_schedule": "cosine",
    },
    "DeepFillV2": {"width": 8, "discriminator_width": 4},
    "PartialConv": {"levels": 4, "width": 8, "perceptual_weight": 0, "style_weight": 0},
}  # fmt: skip


def call(*argv: object) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in argv])
    return int(end.value.code or 0)


def settings(name: str, arguments: dict[str, Any], channels: int) -> dict[str, Any]:
    config = killing.settings({"class_path": name, "init_args": arguments}, steps=3)
    config["data"]["init_args"] |= {"channels": channels, "limit_eval": 2, "eval_batch_size": 2}
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of fits of three steps on grey images."""
    root = tmp_path_factory.mktemp("grey")
    for name, arguments in SMALL.items():
        code = killing.run(root / name, settings(name, arguments | {"channels": 1}, 1))
        assert code == [0], (root / name / "log-0-0.txt").read_text()[-1500:]
    return {name: root / name / "run/checkpoints/last.ckpt" for name in SMALL}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A grey photograph of 64x80, and m.png with a hole in it."""
    pixels = np.asarray(Image.open(SamplePhotos(mask=Wide()).files("test").path(0)).convert("L"))
    Image.fromarray(pixels[100:164, 200:280]).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([pixels[100:164, 200:280]] * 2 + [pixels[0:64, 0:80]], -1)).save(tmp_path / "colour.png")
    hole = np.zeros((64, 80), np.uint8)
    hole[20:40, 30:60] = 1
    write_mask(hole, tmp_path / "m.png")
    return tmp_path / "grey.png"


def test_a_grey_file_keeps_its_levels_and_a_colour_file_becomes_its_luma():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    grey = to_image(np.stack([levels] * 3, -1), channels=1)
    assert grey.shape == (1, 16, 16) and np.array_equal(to_pixels(grey)[..., 0], levels)
    colours = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    found, pillow = to_image(colours, channels=1), np.asarray(Image.fromarray(colours).convert("L")).astype(int)
    assert np.abs(to_pixels(found)[..., 0] - pillow).max() <= 1
    assert (to_grey(to_image(colours)[None])[0] - found).abs().max() <= 1.01 / 255
    with pytest.raises(ValueError, match="channels is 2; expected 3 for colour or 1 for grey"):
        SamplePhotos(mask=Wide(), channels=2)


def test_grey_is_part_of_the_hash_and_colour_is_not(tmp_path: Path, photos: Path):
    of = {
        key: protocol_hash(SamplePhotos(mask=Wide(), image_size=64, **given), "val", ["psnr"])[0]
        for key, given in {"none": {}, "3": {"channels": 3}, "1": {"channels": 1}}.items()
    }
    assert of["none"] == of["3"] != of["1"]
    made = [load_protocols(write_protocol(tmp_path, **more), images=photos)[0] for more in ({}, {"channels": 1})]
    assert made[0].hash != made[1].hash and made[1].images[0].image.shape == (1, 64, 64)


def test_three_methods_train_validate_and_are_measured_on_grey(trained: dict[str, Path], tmp_path: Path):
    protocol = write_protocol(
        tmp_path, data={"class_path": "SamplePhotos"}, limit=2, channels=1, metrics=["psnr", "ssim", "l1_hole"]
    )
    methods = [f"{name}={path}" for name, path in trained.items()]
    assert run(protocol, "--methods", *methods, "Telea", "--out", tmp_path / "out", "--device", "cpu") == 0
    found = {key.rpartition("/")[2]: record for key, record in records(tmp_path / "out").items()}
    assert set(found) == {*SMALL, "Telea"} and found["DDPM"].protocol.definition["channels"] == 1
    for name, record in found.items():
        assert all(result.mean is not None for result in record.metrics.values()), name
        assert (record.adaptation is None) == (name in SMALL), record.adaptation
    assert "grey repeated to three channels and back" in str(found["Telea"].adaptation)
    assert {Image.open(path).mode for path in (tmp_path / "out/images").rglob("*.png")} == {"L"}


def test_a_grey_picture_stays_grey_and_a_colour_one_is_refused(
    trained: dict[str, Path], picture: Path, capsys: pytest.CaptureFixture[str]
):
    folder = picture.parent
    for name, checkpoint in trained.items():
        out = folder / f"{name}.png"
        assert (
            call("inpaint", "--method", checkpoint, "--image", picture, "--mask", folder / "m.png", "--out", out) == 0
        )
        said, before, after = capsys.readouterr().out, Image.open(picture), Image.open(out)
        hole = np.asarray(Image.open(folder / "m.png")) > 0
        assert after.mode == "L" and "to RGB" not in said and "to grey" not in said
        assert np.array_equal(np.asarray(before)[~hole], np.asarray(after)[~hole])
        assert not np.array_equal(np.asarray(before)[hole], np.asarray(after)[hole])
        method = load_method(checkpoint)
        again = method.complete(before, hole)
        assert again.mode == "L" and (name == "DDPM" or np.array_equal(np.asarray(again), np.asarray(after)))
        with pytest.raises(ValueError, match=r"image is in colour; this .* completes grey pictures"):
            method.complete(Image.open(folder / "colour.png"), hole)
    words = ("--image", folder / "colour.png", "--mask", folder / "m.png", "--out", folder / "no.png")
    assert call("inpaint", "--method", trained["DeepFillV2"], *words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "colour.png is in colour; this DeepFillV2 completes grey pictures" in line
    assert not (folder / "no.png").exists()


def test_a_method_of_colour_pictures_says_that_it_was_given_grey(picture: Path, capsys: pytest.CaptureFixture[str]):
    words = ("--image", picture, "--mask", picture.parent / "m.png", "--out", picture.parent / "out.png")
    assert call("inpaint", "--method", "Telea", *words) == 0
    assert "grey to RGB" in capsys.readouterr().out and Image.open(picture.parent / "out.png").mode == "RGB"
    method = make("AOTGAN", {"width": 8, "blocks": 1, "discriminator_width": 4}).eval()
    image, mask = torch.rand(2, 1, 48, 80) * 2 - 1, torch.zeros(2, 1, 48, 80)
    mask[..., 8:24, 30:60] = 1
    with torch.no_grad():
        found, three = method(image, mask), method(image.expand(-1, 3, -1, -1).clone(), mask)
    assert found.shape == image.shape and torch.equal(found[mask == 0], image[mask == 0])
    torch.testing.assert_close(found, torch.where(mask == 1, to_grey(three), image))
    assert method.recoloured(1) == "grey repeated to three channels and back" and method.recoloured(3) is None


def test_a_grey_checkpoint_under_a_protocol_in_colour_is_a_cell_with_its_reason(
    trained: dict[str, Path], tmp_path: Path
):
    protocol = write_protocol(tmp_path, data={"class_path": "SamplePhotos"}, limit=1, metrics=["psnr"])
    run(protocol, "--methods", f"M={trained['PartialConv']}", "Telea", "--out", tmp_path / "out", "--device", "cpu")
    text = "".join(path.read_text() for path in (tmp_path / "out").glob("*.md"))
    assert "completes grey ones (channels 1)" in text, text


@pytest.mark.parametrize(
    ("name", "arguments", "channels", "said"),
    [
        ("DeepFillV2", SMALL["DeepFillV2"], 1, "the data has channels 1, DeepFillV2 3. Give both the same"),
        ("PartialConv", SMALL["PartialConv"] | {"channels": 1}, 3, "the data has channels 3, PartialConv 1"),
        ("AOTGAN", {"width": 4, "style_weight": 0, "perceptual_weight": 0}, 1, "AOTGAN 3. It has no variant for grey"),
    ],
)
def test_data_and_network_of_different_channels_do_not_begin(
    name: str, arguments: dict[str, Any], channels: int, said: str
):
    with pytest.raises(ValueError, match=said) as told:
        check_size(make(name, arguments), SamplePhotos(mask=Wide(), image_size=64, channels=channels))
    assert "\n" not in str(told.value)


def test_a_grey_network_leaves_in_formats_that_know_it(trained: dict[str, Path], tmp_path: Path):
    checkpoint = trained["PartialConv"]
    assert call("export", checkpoint, "--format", "safetensors", "--out", tmp_path / "x.safetensors") == 0
    with pytest.raises(ValueError, match="this DeepFillV2 has channels 1, published programs 3"):
        write_official(load_method(trained["DeepFillV2"]), tmp_path / "x.npz")
    with pytest.raises(ValueError, match="channels is 1 and pixels imagenet"):
        make("PartialConv", {"levels": 3, "channels": 1, "pixels": "imagenet"})


def test_networks_of_losses_and_metrics_see_grey_repeated_to_three_channels():
    try:
        backbone("vgg16"), backbone("alexnet")
    except BackboneMissingError as missing:
        pytest.skip(str(missing))
    image = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    other, three = image.flip(3), image.expand(-1, 3, -1, -1).clone()
    for normalise in (True, False):
        features = VGG16Features(normalise=normalise)
        assert all(torch.equal(a, b) for a, b in zip(features(image), features(three), strict=True))
    for name in ("lpips_alex", "ssim", "psnr", "l1_mean"):
        measured, in_colour = (metric(name)(2 * a - 1, 2 * b - 1) for a, b in (
            (image, other), (three, other.expand(-1, 3, -1, -1).clone())
        ))  # fmt: skip
        torch.testing.assert_close(measured, in_colour)
