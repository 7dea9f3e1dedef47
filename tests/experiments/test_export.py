"""Exported ONNX and safetensors files compute and hold the same as the checkpoint."""

import json
from pathlib import Path

import pytest
import torch

from experiments import cli
from experiments.weights.export import Whole, main, write_official, write_onnx
from experiments.weights.imports import main as import_weights
from lit_inpaint import methods
from lit_inpaint.classical import ClassicalModule
from lit_inpaint.load import load_method
from tests.support.contract import ROWS, make
from tests.support.exporting import checkpoint, network


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "gain", "arguments"),
    [
        ("DeepFillV2", 64, 2.0, {"width": 16}),
        ("AOTGAN", 64, 1.0, {}),
        ("PartialConv", 256, 1.0, {}),
        ("LaMa", 64, 1.0, {}),
    ],
)
def test_onnx_computes_what_the_network_does(
    name: str, size: int, gain: float, arguments: dict[str, object], tmp_path: Path
):
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX needs the extra `export`")
    pytest.importorskip("onnxscript", reason="ONNX needs the extra `export`")
    method = network(name, gain, **arguments)
    write_onnx(method, tmp_path / "x.onnx", size)
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(5)) * 2 - 1
    mask = torch.zeros(1, 1, size, size)
    mask[..., 5:30, 20:50] = 1  # another image and hole than those with which it was written
    session = onnxruntime.InferenceSession(str(tmp_path / "x.onnx"))
    (found,) = session.run(None, {"image": image.numpy(), "mask": mask.numpy()})
    with torch.no_grad():
        expected = Whole(method)(image, mask)
    assert expected[mask.expand_as(expected) == 1].std() > 0.02, "an almost constant output would show nothing"
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-4)


def test_safetensors_hold_the_completing_networks_and_what_rebuilds_them(tmp_path: Path, capsys: pytest.CaptureFixture):
    from safetensors import safe_open

    method = network("DeepFillV2", width=8)
    file = checkpoint(method, tmp_path / "x.ckpt")
    assert main([str(file), "--format", "safetensors"]) == 0 and "equal to the original" in capsys.readouterr().out
    with safe_open(tmp_path / "x.safetensors", "pt") as opened:
        assert opened.metadata()["method"] == "DeepFillV2"
        rebuilt = methods.DeepFillV2(width=json.loads(opened.metadata()["hyper_parameters"])["width"])
        rebuilt.load_state_dict({k: opened.get_tensor(k) for k in opened.keys()}, strict=False)  # noqa: SIM118
    state = rebuilt.generator.state_dict()
    assert all(torch.equal(state[k], v) for k, v in method.generator.state_dict().items())
    with pytest.raises(ValueError, match="exists"):
        main([str(file), "--format", "safetensors"])


def test_safetensors_hold_every_network_that_completes_whichever_are_averaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from safetensors import safe_open

    file = checkpoint(network("DeepFillV2", width=8), tmp_path / "x.ckpt")
    monkeypatch.setattr(methods.DeepFillV2, "averaged", ("generator.refinement",))
    assert main([str(file), "--format", "safetensors"]) == 0
    with safe_open(tmp_path / "x.safetensors", "pt") as opened:
        names = set(opened.keys())
    wanted = {name for name in load_method(file).state_dict() if name.startswith("generator.")}
    assert names == wanted and f"{len(wanted)} tensors of generator of DeepFillV2" in capsys.readouterr().out


def test_what_is_no_network_or_no_size_is_refused(tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="ONNX needs the extra `export`")
    file = checkpoint(network("DeepFillV2", width=8), tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="a multiple of 8"):
        main([str(file), "--format", "onnx", "--size", "100"])
    with pytest.raises(ValueError, match="no checkpoint"):
        main([str(tmp_path / "none.ckpt"), "--format", "onnx"])
    assert [p.name for p in tmp_path.iterdir()] == ["x.ckpt"]


# What leaves in a published layout: method, arguments, and the format as which it comes back.
OFFICIAL: list[tuple[str, dict[str, object], str]] = [
    ("AOTGAN", {"width": 8, "blocks": 2, "discriminator_width": 4}, "official"),
    ("ContextEncoder", {"width": 8, "bottleneck": 16}, "boyuanjiang"),
    ("DeepFillV1", {"width": 4, "discriminator_width": 4, "variant": "daa233"}, "daa233"),
    ("DeepFillV1", {"width": 4, "discriminator_width": 4}, "daa233_converted"),
    ("DeepFillV1", {"width": 4, "discriminator_width": 4, "variant": "mmagic"}, "mmagic"),
    ("DeepFillV2", {"width": 12, "discriminator_width": 4, "variant": "mmagic"}, "mmagic"),
    ("DeepFillV2", {"width": 8, "discriminator_width": 4}, "tensorflow"),
    ("DeepFillV2", {"width": 8, "discriminator_width": 4, "variant": "nipponjo"}, "nipponjo"),
    ("GLCIC", {"width": 8, "features": 16, "size": 64, "local_size": 32, "variant": "otenim"}, "otenim"),
    ("GLCIC", {"width": 8, "features": 16, "size": 64, "local_size": 32, "variant": "mmagic"}, "mmagic"),
    ("LaMa", {"width": 4, "blocks": 1, "discriminator_width": 4}, "official"),
    ("PartialConv", {"levels": 4, "width": 8, "pixels": "signed"}, "mmagic"),
    ("PartialConv", {"levels": 4, "width": 8, "pixels": "imagenet"}, "naoto0804"),
]


@pytest.mark.parametrize(("name", "arguments", "format"), OFFICIAL, ids=[f"{n}-{f}" for n, _, f in OFFICIAL])
def test_an_official_file_comes_back_and_completes_as_before(
    name: str, arguments: dict[str, object], format: str, tmp_path: Path, capsys: pytest.CaptureFixture
):
    method = network(name, 2.0 if name == "DeepFillV2" else 1.0, **arguments)
    for layer in method.modules():  # statistics and biases that a training leaves
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(layer.running_mean)
            torch.nn.init.uniform_(layer.running_var, 0.5, 2)
        elif isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d) and layer.bias is not None:
            torch.nn.init.normal_(layer.bias, std=0.1 if name == "GLCIC" else 0)
    source = checkpoint(method, tmp_path / "x.ckpt")
    out = tmp_path / ("x.npz" if format == "tensorflow" else "x.pth")
    assert main([str(source), "--format", "official", "--out", str(out)]) == 0
    assert f"in the layout '{format}'" in capsys.readouterr().out
    assert import_weights([name, str(out), "--out", str(tmp_path / "back.ckpt")]) == 0
    back = load_method(tmp_path / "back.ckpt")
    side = method.fixed_size or 96
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mask = torch.zeros(1, 1, side, side)
    mask[..., side // 4 + 4 : side // 4 + 30, side // 4 + 4 : side // 4 + 30] = 1
    if format == "otenim":
        back.mean = method.mean  # its config.json holds it, not the weights
    with torch.no_grad():
        expected, found = method(image, mask), back(image, mask)
    assert expected[mask.expand_as(expected) == 1].std() > 1e-4
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_what_a_published_program_has_no_place_for_is_refused(tmp_path: Path):
    for name, arguments, said in (
        ("GLCIC", {"width": 8, "features": 16, "size": 64, "local_size": 32}, "no published program"),
        ("PartialConv", {"levels": 4, "width": 8}, "pixels unit"),
        (
            "ContextEncoder",
            {"size": 64, "overlap": 2, "width": 8, "bottleneck": 16},
            "only has region centre at 128 px",
        ),
        ("Telea", {}, "has no network"),
        ("MIGAN", {"size": 64}, "no published layout; use safetensors instead"),
        ("DeepFillV2", {"width": 4, "discriminator_width": 2}, "NAME.npz"),
    ):
        method = getattr(methods, name)(**arguments)
        with pytest.raises(ValueError, match=said):
            write_official(method, tmp_path / "x.pth")
    assert not list(tmp_path.iterdir())


FEED_FORWARD = {"AOTGAN", "ContextEncoder", "DeepFillV1", "DeepFillV2", "GLCIC", "LaMa", "MIGAN", "PartialConv"}


@pytest.mark.parametrize("name", [name for name, _ in ROWS if name not in FEED_FORWARD])
def test_a_method_that_is_no_feed_forward_network_is_refused_and_why_is_said(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Janspiry/Palette-Image-to-Image-Diffusion-Models #81: the sampler's loop as ONNX."""
    method = make(name, dict(ROWS)[name])
    given, classical = name, isinstance(method, ClassicalModule)
    if name == "DiffusersInpaint":  # a pipeline is given by its YAML
        given, classical = str(tmp_path / "x.yaml"), False
        made = {"class_path": name, "init_args": dict(ROWS)[name]}
        Path(given).write_text(json.dumps({"model": made}))
    elif not classical:
        given = str(checkpoint(method, tmp_path / "x.ckpt"))
    said = "has no network, so" if classical else "is not a feed-forward network: it samples by many network calls"
    for format, more in (("onnx", []), ("onnx", ["--dynamic"]), ("safetensors", []), ("official", [])):
        if format == "official" and method.exports:
            continue
        with pytest.raises(SystemExit) as end:
            cli.main(["export", given, "--format", format, "--out", str(tmp_path / "out"), *more])
        (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("lit-inpaint:")]
        told = f"{name} has no published layout." if format == "official" and not classical else f"{name} {said}"
        assert end.value.code == 2 and told in line, line
        assert ("--format official writes its weights" in line) == bool(method.exports and format != "official")
        assert {path.name for path in tmp_path.iterdir()} <= {"x.ckpt", "x.yaml"}


def test_every_other_method_has_a_file_of_its_network(tmp_path: Path):
    assert {name for name, _ in ROWS} >= FEED_FORWARD
    for name in FEED_FORWARD:
        file = checkpoint(make(name, dict(ROWS)[name]), tmp_path / f"{name}.ckpt")
        assert main([str(file), "--format", "safetensors"]) == 0
        assert file.with_suffix(".safetensors").is_file()
