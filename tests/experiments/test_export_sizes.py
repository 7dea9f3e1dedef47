"""ONNX models of every batch, height and width, and of one size that is not square.

fabio-sim/LightGlue-ONNX #49 (export without an image size), ultralytics/yolov5 #7268 and xlite-dev/lite.ai.toolkit
#116 (one model for inputs of any size).
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import cli
from experiments.weights.export import Whole, write_dynamic_onnx, write_onnx
from lit_inpaint.module import InpaintingModule
from tests.support.exporting import checkpoint, network

pytest.importorskip("onnxruntime", reason="ONNX needs the extra `export`")
pytest.importorskip("onnxscript", reason="ONNX needs the extra `export`")
DYNAMIC: dict[str, tuple[float, dict[str, Any]]] = {  # gain and arguments
    "AOTGAN": (1.0, {"width": 16, "blocks": 2, "discriminator_width": 4}),
    "DeepFillV2": (2.0, {"width": 16, "discriminator_width": 4}),
    "GLCIC": (1.0, {"width": 16, "features": 16, "size": 64, "local_size": 32}),
    "LaMa": (1.0, {"width": 8, "blocks": 1, "discriminator_width": 4}),
    "PartialConv": (1.0, {"levels": 3, "width": 16}),
}
ELSEWHERE = ((1, 48, 80), (3, 96, 64), (2, 64, 144))  # multiples of 16; not those that the export compares at


def same(path: Path, method: InpaintingModule, shapes: tuple[tuple[int, int, int], ...]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch, height, width in shapes:
        image = torch.rand(batch, method.channels, height, width, generator=torch.Generator().manual_seed(5)) * 2 - 1
        mask = torch.zeros(batch, 1, height, width)
        mask[..., 5:30, 20:44] = 1
        (found,) = session.run(None, {"image": image.numpy(), "mask": mask.numpy()})
        with torch.no_grad():
            expected = Whole(method)(image, mask)
        assert expected[mask.expand_as(expected) == 1].std() > 0.02, "an almost constant output would show nothing"
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", DYNAMIC)
def test_one_model_computes_what_the_network_does_at_every_size(name: str, tmp_path: Path):
    gain, arguments = DYNAMIC[name]
    method = network(name, gain, **arguments)
    said = write_dynamic_onnx(method, tmp_path / "x.onnx")
    assert f"any batch, height and width in multiples of {method.multiple}, equal to the original" in said
    same(tmp_path / "x.onnx", method, ELSEWHERE)


@pytest.mark.slow
def test_the_command_writes_a_grey_model_of_every_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    method = network("PartialConv", levels=3, width=16, channels=1)
    file = checkpoint(method, tmp_path / "x.ckpt")
    with pytest.raises(SystemExit) as end:
        cli.main(["export", str(file), "--format", "onnx", "--dynamic", "--out", str(tmp_path / "x.onnx")])
    assert end.value.code in (None, 0), capsys.readouterr().err
    assert "(1 of 48x96, 2 of 96x56, 3 of 56x56)" in capsys.readouterr().out
    same(tmp_path / "x.onnx", method, ELSEWHERE)


@pytest.mark.slow
def test_a_size_that_is_not_square_is_written_height_first(tmp_path: Path):
    method = network("LaMa", width=8, blocks=1, discriminator_width=4)
    write_onnx(method, tmp_path / "x.onnx", (48, 80))
    same(tmp_path / "x.onnx", method, ((1, 48, 80),))
    with pytest.raises(ValueError, match=r"--size is 48x84 \(height x width\); LaMa takes a multiple of 8"):
        write_onnx(method, tmp_path / "y.onnx", (48, 84))


def test_what_has_no_model_of_every_size_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    encoder = network("ContextEncoder", size=64, overlap=2, width=8, bottleneck=16)
    with pytest.raises(ValueError, match="ContextEncoder has one size, 64x64: leave out --dynamic"):
        write_dynamic_onnx(encoder, tmp_path / "x.onnx")
    file = checkpoint(encoder, tmp_path / "x.ckpt")
    with pytest.raises(SystemExit):
        cli.main(["export", str(file), "--format", "safetensors", "--dynamic"])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "--dynamic is for --format onnx, not safetensors" in line
    assert [path.name for path in tmp_path.iterdir()] == ["x.ckpt"]
