"""What leaves as ONNX or safetensors computes and holds what the checkpoint does."""

import json
from pathlib import Path

import pytest
import torch

from experiments.export import main
from lit_inpaint import methods
from lit_inpaint.module import InpaintingModule


def network(name: str, **arguments: object) -> InpaintingModule:
    """Untrained, but with weights so large that its output fills [-1, 1]."""
    torch.manual_seed(0)
    method = getattr(methods, name)(**arguments).eval()
    for parameter in method.generator.parameters():
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="linear")
    return method


def checkpoint(method: InpaintingModule, path: Path) -> Path:
    hyper_parameters = {k: v for k, v in method.hparams.items() if not k.startswith("_")}
    torch.save(
        {"method": type(method).__name__, "state_dict": method.state_dict(), "hyper_parameters": hyper_parameters}, path
    )
    return path


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


def test_what_is_no_network_or_no_size_is_refused(tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="ONNX needs the extra `export`")
    file = checkpoint(network("DeepFillV2", width=8), tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="a multiple of 8"):
        main([str(file), "--format", "onnx", "--size", "100"])
    with pytest.raises(ValueError, match="no checkpoint"):
        main([str(tmp_path / "none.ckpt"), "--format", "onnx"])
    assert [p.name for p in tmp_path.iterdir()] == ["x.ckpt"]
