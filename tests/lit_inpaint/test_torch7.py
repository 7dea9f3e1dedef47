"""Torch7's files are read without Torch7.

The reader was run on the files of bshillingford/python-torchfile (8e88873), which Torch7 wrote: floattensor.t7 sums to
12.97242, the nn.Linear of gmodule_with_linear_identity.t7 holds weights of sum 0.1502022 and biases of sum -0.2020730,
as that repository's own reader says. Nothing of them is here: these tests read what the writer below makes. The
authors' released inpainting networks were not at hand.
"""

import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from experiments.weights.imports import main as import_weights
from lit_inpaint.foreign import torch7
from lit_inpaint.load import load_method
from lit_inpaint.methods import GLCIC, ContextEncoder


class Writer:
    """File.lua's writeObject, as far as networks need it."""

    def __init__(self) -> None:
        self.out, self.index = b"", 0

    def int(self, *values: int) -> "Writer":
        self.out += struct.pack(f"<{len(values)}i", *values)
        return self

    def string(self, text: str) -> None:
        self.int(len(text))
        self.out += text.encode()

    def value(self, value: Any) -> None:
        if isinstance(value, str):
            self.int(2).string(text=value)
        elif isinstance(value, int | float):
            self.int(1)
            self.out += struct.pack("<d", value)
        elif isinstance(value, Tensor):
            self.tensor(value)
        elif "torch7" in value:
            self.begin(4, "V 1", value["torch7"])
            self.value({k: v for k, v in value.items() if k != "torch7"})
        else:
            self.begin(3).int(len(value))
            for key, content in value.items():
                self.value(key)
                self.value(content)

    def begin(self, kind: int, *names: str) -> "Writer":
        self.index += 1
        self.int(kind, self.index)
        for name in names:
            self.string(name)
        return self

    def tensor(self, tensor: Tensor) -> None:
        self.begin(4, "V 1", "torch.FloatTensor").int(tensor.ndim)
        self.out += struct.pack(f"<{2 * tensor.ndim + 1}q", *tensor.shape, *tensor.stride(), 1)
        self.begin(4, "V 1", "torch.FloatStorage")
        self.out += struct.pack("<q", tensor.numel()) + tensor.contiguous().numpy().tobytes()


def write(value: Any, path: Path) -> Path:
    writer = Writer()
    writer.value(value)
    path.write_bytes(writer.out)
    return path


def sequential(network: nn.Module, old: bool) -> dict[str, Any]:
    """Encode as Lua does; ``old`` files hold 1 / sqrt(var + eps) and kernels as matrices."""
    layers: list[dict[str, Any]] = []
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean)
            statistics = {"running_mean": module.running_mean, "running_var": module.running_var, "eps": 1e-5}
            if old:
                statistics["running_std"] = (statistics.pop("running_var") + 1e-5).rsqrt()
            layers.append({"torch7": "nn.SpatialBatchNormalization", "weight": module.weight.data,
                           "bias": module.bias.data, **statistics})  # fmt: skip
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            weight = module.weight.data.flatten(1) if old else module.weight.data
            kind = "Convolution" if isinstance(module, nn.Conv2d) else "FullConvolution"
            layers += [
                {"torch7": f"nn.Spatial{kind}", "weight": weight, "bias": module.bias.data},
                {"torch7": "nn.ReLU"},
            ]
    first = {"torch7": "nn.Sequential", "modules": dict(enumerate(layers[:7], start=1))}
    return {"torch7": "nn.Sequential", "modules": dict(enumerate([first, *layers[7:]], start=1))}


@pytest.mark.parametrize("old", [False, True])
def test_the_authors_layout_of_glcic_comes_back(old: bool, tmp_path: Path):
    torch.manual_seed(0)
    method = GLCIC(width=8, features=16, size=64, local_size=32, mean=(0.25, 0.5, 0.125)).eval()
    file = write({"model": sequential(method.generator, old), "mean": {1: 0.25, 2: 0.5, 3: 0.125}}, tmp_path / "x.t7")
    assert import_weights(["GLCIC", str(file), "--out", str(tmp_path / "x.ckpt")]) == 0
    image, mask = torch.rand(1, 3, 64, 64) * 2 - 1, torch.zeros(1, 1, 64, 64)
    mask[..., 20:40, 10:50] = 1
    with torch.no_grad():
        torch.testing.assert_close(
            load_method(tmp_path / "x.ckpt")(image, mask), method(image, mask), rtol=0, atol=1e-5
        )


def test_the_authors_layout_of_the_context_encoder_comes_back(tmp_path: Path):
    torch.manual_seed(0)
    method = ContextEncoder(width=4, bottleneck=8).eval()
    file = write(sequential(method.generator, False), tmp_path / "x.t7")
    assert import_weights(["ContextEncoder", str(file), "--out", str(tmp_path / "x.ckpt")]) == 0
    state = load_method(tmp_path / "x.ckpt").generator.state_dict()
    assert all(torch.equal(state[name], value) for name, value in method.generator.state_dict().items())


def test_tables_views_and_references_are_what_lua_had(tmp_path: Path):
    shared = Writer()
    shared.begin(3).int(2)
    shared.value("a")
    shared.begin(3).int(0)
    shared.value("again")
    shared.int(3, 2)  # the table of "a"
    (tmp_path / "x.t7").write_bytes(shared.out)
    found = torch7.read(tmp_path / "x.t7")
    assert found["a"] is found["again"]
    tensor = torch.arange(12.0).view(3, 4)
    assert torch.equal(torch7.read(write({1: tensor, "n": 1.5}, tmp_path / "y.t7"))[1], tensor)


def test_code_damage_and_lies_about_sizes_are_refused(tmp_path: Path):
    def refused(content: bytes, said: str) -> None:
        (tmp_path / "x.t7").write_bytes(content)
        with pytest.raises(ValueError, match=said) as error:
            torch7.read(tmp_path / "x.t7")
        assert "\n" not in str(error.value)

    whole = write({1: torch.ones(2, 3)}, tmp_path / "whole.t7").read_bytes()
    for cut in range(len(whole)):
        refused(whole[:cut], "truncated or damaged")
    refused(struct.pack("<ii", 8, 1), "a function, which is not supported")
    refused(struct.pack("<ii", 2, 2**30), "truncated or damaged")
    refused(whole.replace(struct.pack("<qq", 2, 3), struct.pack("<qq", 2**40, 2**40)), "beyond its storage")
    refused(b"".join(struct.pack("<iiiid", 3, i, 1, 1, 1.0) for i in range(1, 300)), "deeper than 200 levels")
