"""Classes from outside that are written otherwise than ours: each works, or one line says what it lacks."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from experiments.catalogue.methods import _networks
from experiments.catalogue.methods import main as methods
from experiments.weights.assemble import main as assemble
from experiments.weights.imports import main as import_weights
from experiments.weights.imports import weights_module
from lit_inpaint import load, plugins
from lit_inpaint.checkpoints import fits
from lit_inpaint.classes import method_class
from lit_inpaint.load import load_method
from lit_inpaint.methods import DeepFillV2
from lit_inpaint.stage import Stage
from tests.support.protocols import records, run, write_protocol

HERE = __name__
IMAGE, MASK = torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 8)


class Looking(DeepFillV2):
    """Looks at a value when it is made."""

    def __init__(self, rates: int = 3, width: int = 4, **optimisation: Any) -> None:
        super().__init__(width=width, discriminator_width=4, **optimisation)
        self.save_hyperparameters()
        self.rates = [rate.item() for rate in torch.linspace(0, 1, rates)]


class Alone(Stage):
    """A stage of one's own."""

    def __init__(self, **optimisation: Any) -> None:
        super().__init__(**optimisation)
        self.part = nn.Linear(2, 3)


class Scaled(nn.Module):
    def __init__(self, scale: float, kind: str = "float") -> None:
        super().__init__()
        self.scale, self.kind = scale, kind

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> Any:
        filled = torch.full_like(image, self.scale)
        made = {"int": filled.int(), "sparse": filled.to_sparse(), "complex": filled * 1j, "list": [filled]}
        return made.get(self.kind, filled)


class OneArgument(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image


class Sized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4))

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return image


# ---- the meta device -------------------------------------------------------------------------------------------------


def test_a_constructor_that_looks_at_values_is_listed_and_its_checkpoint_described(tmp_path: Path):
    assert _networks(Looking)["generator"] > 0
    described = load.described(Looking, {"rates": 2, "width": 4}, tmp_path / "x.ckpt")
    assert described == {"class_path": f"{HERE}.Looking", "init_args": {"rates": 2, "width": 4}}
    with pytest.raises(
        ValueError, match=r"x.ckpt does not fit Looking: there is no argument 'rate'. Did you mean 'rates'"
    ):
        load.described(Looking, {"rate": 2}, tmp_path / "x.ckpt")


# ---- by their path ---------------------------------------------------------------------------------------------------


def test_methods_and_stages_are_shown_by_their_path(capsys: pytest.CaptureFixture[str]):
    assert methods([f"{HERE}.Alone"]) == 0 and "Alone: a stage" in capsys.readouterr().out
    assert methods([f"{HERE}.Looking"]) == 0 and "Looking (2019)" in capsys.readouterr().out
    with pytest.raises(ValueError, match="blocks=99: only --memory takes arguments"):
        methods(["LaMa", "blocks=99"])
    assert methods(["zoo:DDPM_drawn_faces64", "--json"]) == 0
    assert '"method": "DDPM"' in capsys.readouterr().out


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A paper in a package of its own, with a converter that has an option, and one in a single file."""
    method = 'from lit_inpaint.methods import DeepFillV2\n\n\nclass Ours(DeepFillV2):\n    imports = ("theirs",)\n'
    converter = """
OPTIONS = {"their_width": {"type": int, "help": "Ours: width"}}


def detect(state):
    return "theirs" if "generator" in state else None


def convert(state, format, their_width=8):
    arguments = {"width": their_width, "discriminator_width": 8}
    return {"method": "Ours", "hyper_parameters": arguments, "state_dict": state["generator"]}
"""
    files = {"net": method, "weights": converter, "__init__": ""}
    (tmp_path / "paper").mkdir()
    for name, text in files.items():
        (tmp_path / "paper" / f"{name}.py").write_text(text)
    (tmp_path / "single.py").write_text(files["net"].replace("Ours", "Single"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("paper", "paper.net", "paper.weights", "single"):
        sys.modules.pop(name, None)


def test_published_weights_are_imported_into_a_class_by_its_path(lab: Path):
    torch.manual_seed(0)
    torch.save({"generator": DeepFillV2(width=8, discriminator_width=8).state_dict()}, lab / "released.pth")
    words = ["paper.net.Ours", "released.pth", "--out", "ours.ckpt"]
    assert import_weights([*words, "--their-width", "8"]) == 0
    content = torch.load(lab / "ours.ckpt", weights_only=True)
    assert (content["method"], content["module"]) == ("Ours", "paper.net")
    assert type(load_method(lab / "ours.ckpt")).__module__ == "paper.net"
    with pytest.raises(ValueError, match=r"paper.net.Ours takes no --palette; omit it"):
        import_weights([*words, "--overwrite", "--palette", "x.npy"])
    with pytest.raises(ValueError, match=r"Single reads no published weights: there is no weights.py beside it"):
        import_weights(["single.Single", "released.pth", "--out", "x.ckpt"])
    with pytest.raises(ValueError, match="there is no module 'nowhere'"):
        import_weights(["nowhere.Ours", "released.pth", "--out", "x.ckpt"])


def test_what_a_converter_imports_and_is_not_installed_is_named(lab: Path):
    (lab / "paper" / "weights.py").write_text("import not_installed_here\n")
    with pytest.raises(ValueError, match=r"paper.weights cannot be imported: No module named 'not_installed_here'"):
        weights_module(method_class("paper.net.Ours"))


def test_assemble_names_a_class_by_its_path(lab: Path):
    text = "from lit_inpaint.methods import ICT\n\n\nclass Whole(ICT):\n    pass\n"
    (lab / "single.py").write_text(text)
    with pytest.raises(ValueError, match="--transformer, --upsampler"):
        assemble(["single.Whole", "--out", "x.ckpt"])
    with pytest.raises(ValueError, match=r"'paper.net.Ours' is not a method with several stages"):
        assemble(["paper.net.Ours", "--out", "x.ckpt"])


# ---- plain networks --------------------------------------------------------------------------------------------------


def test_arguments_of_a_plain_network_stand_in_a_yaml_and_in_the_record(photos: Path, tmp_path: Path):
    path = tmp_path / "scaled.yaml"
    path.write_text(f"model: {{class_path: {HERE}.Scaled, init_args: {{scale: 0.5}}}}\n")
    assert load_method(path)(IMAGE, MASK).unique().tolist() == [0.5]
    protocol = write_protocol(tmp_path, metrics=["psnr"])
    assert run(protocol, "--images", photos, "--limit", 1, "--methods", path, "--out", tmp_path / "out") == 0
    (record,) = records(tmp_path / "out").values()
    assert record.method.name == "Scaled" and record.method.settings == {"scale": 0.5}
    with pytest.raises(ValueError, match=rf"{HERE}.Scaled needs the argument scale: give a YAML .*Scaled, init_args"):
        load_method(f"{HERE}.Scaled")
    for arguments, said in (("{}", "scale"), ("{scale: much}", "scale"), ("{scal: 1}", "Did you mean 'scale'")):
        path.write_text(f"model: {{class_path: {HERE}.Scaled, init_args: {arguments}}}\n")
        with pytest.raises(ValueError, match=said) as error:
            load_method(path)
        assert "\n" not in str(error.value) and "Given value" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("int", r"returned torch.int32, torch.strided; expected the whole image, \(1, 3, 8, 8\), floats"),
        ("sparse", "returned torch.float32, torch.sparse_coo; expected"),
        ("complex", "returned torch.complex64, torch.strided; expected"),
        ("list", "returned list; expected"),
    ],
)
def test_what_is_no_image_is_named(kind: str, said: str, tmp_path: Path):
    path = tmp_path / "x.yaml"
    path.write_text(f"model: {{class_path: {HERE}.Scaled, init_args: {{scale: 1, kind: {kind}}}}}\n")
    with pytest.raises(ValueError, match=said):
        load_method(path)(IMAGE, MASK)


def test_a_forward_without_a_mask_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match="forward of OneArgument must take an image and a mask: too many positional"):
        load_method(f"{HERE}.OneArgument")


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (torch.zeros(4, dtype=torch.int8), "weight is torch.int8, not torch.float32"),
        (torch.zeros(4, dtype=torch.complex64), "weight is torch.complex64, not torch.float32"),
        (torch.zeros(4).to_sparse(), "weight is torch.sparse_coo, not dense"),
        ([0.0] * 4, "weight is list, no tensor"),
    ],
)
def test_tensors_that_no_weight_can_take_are_named(weight: Any, said: str, tmp_path: Path):
    torch.save({"weight": weight}, tmp_path / "net.pth")
    with pytest.raises(ValueError, match=said):
        load_method(f"{HERE}.Sized:{tmp_path / 'net.pth'}")
    assert fits({"weight": torch.zeros(4, dtype=torch.float16)}, {"weight": torch.zeros(4)}) == []


def test_a_home_folder_that_no_shell_has_expanded_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save({"weight": torch.ones(4)}, tmp_path / "net.pth")
    method = load_method(f"{HERE}.Sized:~/net.pth")
    assert method.network.weight.sum() == 4
    assert plugins.with_file("own.Net:~/net.pth") == ("own.Net", tmp_path / "net.pth")
    with pytest.raises(ValueError, match=f"{tmp_path}/none.ckpt"):
        load_method("~/none.ckpt")
