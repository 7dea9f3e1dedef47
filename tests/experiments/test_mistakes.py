"""A mistake is one line that names the file; a fault of the program is a traceback and not called anybody's mistake."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from experiments import cli
from experiments.cli import is_mistake, with_file
from experiments.evaluate.protocol import load_protocols
from experiments.files.read import read_json, read_yaml
from experiments.run import listing as runs
from lit_inpaint.load import load_method
from lit_inpaint.methods import DeepFillV2
from lit_inpaint.options import key_value


def caught(function: Callable[[], Any]) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def plugin(folder: Path) -> Callable[[], Any]:
    """A method of a lab's own, which refuses its arguments as ours do."""
    code = compile("def refuse():\n    raise ValueError('width is 3; ours takes 4')", str(folder / "own.py"), "exec")
    exec(code, names := {})
    return names["refuse"]


@pytest.mark.parametrize(
    ("function", "mistake"),
    [
        (lambda: DeepFillV2(width=3), True),  # a sentence of ours
        (lambda: key_value("no equals sign"), True),
        (lambda: Path("/nowhere/file").read_text(), True),  # OSError names its file
        (lambda: OmegaConf.create({"a": "${b}"}).a, True),
        (lambda: OmegaConf.create({"a": "${"}).a, True),
        (lambda: {}["a"], False),
        (lambda: np.zeros(3).reshape(2), False),
        (lambda: np.stack([]), False),
        (lambda: torch.nn.Conv2d(3, 4, 1, groups=2), False),
        (lambda: torch.optim.SGD([]), False),
    ],
)
def test_only_a_sentence_of_ours_is_said_as_a_mistake(function: Callable[[], Any], mistake: bool):
    assert is_mistake(caught(function)) is mistake


def test_a_plugins_sentence_is_said_too_and_an_expression_that_fails_in_it_is_not(tmp_path: Path):
    assert is_mistake(caught(plugin(tmp_path)))
    code = compile("def fails():\n    return int('')", str(tmp_path / "own.py"), "exec")
    exec(code, names := {})
    assert not is_mistake(caught(names["fails"]))


@pytest.mark.parametrize(("fault", "mistake"), [(lambda: DeepFillV2(width=3), True), (lambda: np.stack([]), False)])
def test_what_a_worker_of_a_loader_raises_is_told_apart_as_well(fault: Callable[[], Any], mistake: bool):
    try:
        fault()
    except ValueError:
        wrapped = torch._utils.ExceptionWrapper(where="in DataLoader worker process 0")
    assert is_mistake(caught(wrapped.reraise)) is mistake


def test_a_fault_of_the_program_is_a_traceback_on_the_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(runs, "find_runs", lambda folder: np.zeros(3).reshape(2))
    with pytest.raises(ValueError, match="cannot reshape"):
        cli.main(["runs", str(tmp_path)])


def test_the_yaml_in_which_a_mistake_stands_is_named(tmp_path: Path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("trainer: {max_stepz: 3}")
    second.write_text("model: {class_path: DDPM}")
    given = ["--config", str(first), f"--config={second}", "--trainer.max_epochs", "3"]
    said = "there is no setting 'trainer.max_stepz'."
    assert with_file(said, given) == f"{said} (read from {first})"
    assert with_file(said, [*given, "--trainer.max_stepz", "3"]) == said  # the command line's own
    assert with_file(f"{first.name} is not YAML", given) == f"{first.name} is not YAML"
    assert with_file(said, ["--config", "quickstart"]) == said
    assert with_file("there is no class 'DDPN' for 'class_path'.", given).endswith(f"(read from {second})")


def test_a_yaml_that_does_not_set_what_is_wrong_is_not_named(tmp_path: Path):
    path = tmp_path / "x.yaml"
    path.write_text("# no folder: there is a mask\ntrainer: {max_steps: 3}\nmodel: {init_args: {width: 8, lr: 1}}")
    given = ["--config", str(path)]
    for said in ("there is no folder photos.", "mask is required.", "there is no setting 'trainer.max_stepz'."):
        assert with_file(said, given) == said
    said = "there is no setting 'lr'. Did you mean 'learning_rate'? Allowed: seed, width."
    for more in ([], ["--model.init_args.width", "3"], ["--seed=3"]):  # allowed, not wrong
        assert with_file(said, [*given, *more]) == f"{said} (read from {path})"
    other = tmp_path / "other.yaml"
    other.write_text("seed: 3")
    assert with_file(said, [*given, str(other)]) == f"{said} (read from {path})"


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_a_folder_of_the_command_line_is_no_mistake_of_the_protocol(what: str, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=rf"/{what}\b") as told:
        load_protocols("center_hole", tmp_path / what)
    assert "yaml" not in str(told.value)
    (path := tmp_path / "own.yaml").write_text("name: own\nsize: 64\nmetrics: [psnr]\nmask: {class_path: Halff}")
    with pytest.raises(ValueError, match=r"own\.yaml"):
        load_protocols(path, tmp_path / "empty")


@pytest.mark.parametrize(
    "content",
    [b"a: [", b"\xff\xfe\x00", bytes(9), b"a: !!timestamp x", b"a: !!int x", b"a: !!bool x", b"? [a]\n: 1", b"[" * 9000,
     b"- 1", b"7", b"", b"1: 2", b"a: 2000-99-99", b"%YAML 9", b"a: *b", b"a: !!python/name:os.system"],
)  # fmt: skip
def test_what_is_no_yaml_or_no_mapping_is_named(content: bytes, tmp_path: Path):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    for read in (read_yaml, read_json):
        error = caught(lambda read=read: read(path))
        assert isinstance(error, ValueError) and str(path) in str(error) and is_mistake(error)
        assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("device", ["gpu", "cuda:77", "cpu:x", ""])
def test_a_device_that_is_not_there_is_one_line(device: str):
    with pytest.raises(ValueError, match=rf"device '{device}' cannot be used \(.*There are: cpu") as told:
        load_method("Telea", device=device)
    assert len(str(told.value).splitlines()) == 1
