"""Changed code of one's own is measured again; ours and what stands beside it are not looked at."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.evaluate.job import Job
from experiments.evaluate.protocol import load_protocols
from experiments.run.journal import content_of
from lit_inpaint import plugins
from lit_inpaint.load import load_method
from lit_inpaint.metrics import InceptionMetrics
from tests.support.protocols import records, run, write_protocol

NET = """
from torch import nn
from own import layers


class Net(nn.Module):
    def forward(self, image, mask):
        from own.levels import LEVEL
        return layers.fill(image) * LEVEL
"""
METRIC = """
from lit_inpaint.metrics import defined


@defined("1: largest error", title="Largest error", higher_is_better=False)
def worst(prediction, target, mask=None):
    return (prediction - target).abs().flatten(1).amax(1)
"""
OF_SET = """
import torch
from lit_inpaint.metrics import Features, InceptionMetrics, defined

FOLDER, SCALE = "own", 1


def colours(image):
    return image.mean((2, 3)) * SCALE


@defined("1: distance of mean colours", title="Distance", higher_is_better=False,
         features=Features(FOLDER, colours, 3), score=lambda fake, real: {"dist": float(abs(fake - real).sum())})
def dist(prediction, target, mask=None):
    return torch.zeros(())
"""
STAGE = """
from lit_inpaint import plugins
from lit_inpaint.classical import ClassicalModule
from lit_inpaint.methods import DeepFillV2


class Trained(DeepFillV2):
    pass


class Named(ClassicalModule):
    year, paper = 2026, "A lab"

    def __init__(self, part: str = ""):
        super().__init__()
        self.part = plugins.find(part) if part else None  # listed by other tests of this process

    def fill(self, erased, mask, *, generators=None):
        return self.part(erased)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab's package, imported anew whenever one of its files was written."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    files = {
        "net": NET,
        "one": OF_SET,
        "layers": "def fill(x):\n    return x * 0 + 0.5\n",
        "levels": "LEVEL = 1\n",
        "met": METRIC,
    }
    for name, text in (files | {"stage": STAGE, "script": "raise SystemExit\n"}).items():
        write(tmp_path / "own" / f"{name}.py", text)
    return tmp_path / "own"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    for name in [name for name in sys.modules if name.partition(".")[0] == "own"]:
        del sys.modules[name]


@pytest.mark.parametrize("file", ["net", "layers", "levels", "met"])
def test_an_edited_file_that_a_number_comes_from_is_measured_again(file: str, own: Path, photos: Path, tmp_path: Path):
    path = write_protocol(tmp_path, metrics=["psnr", "own.met.worst"])
    edits = {
        "net": ("* LEVEL", "* LEVEL / 2"),
        "levels": ("1", "0.5"),
        "layers": ("0.5", "0.3"),
        "met": ("amax(1)", "mean(1)"),
    }

    def measured(out: str) -> tuple[list[Any], str]:
        arguments = ("--images", photos, "--limit", 2, "--methods", "own.net.Net", "--out", tmp_path / out)
        assert run(path, *arguments) == 0
        (record,) = records(tmp_path / out).values()
        assert record.method.sources and {"own.net", "own.layers", "own.levels"} <= record.method.sources.keys()
        return [metric.values for metric in record.metrics.values()], record.method_hash

    first = measured("out")
    assert measured("out") == first
    text = (own / f"{file}.py").read_text()
    write(own / f"{file}.py", text.replace(*edits[file]))
    assert measured("out") == measured("fresh") != first
    assert (measured("out")[1] == first[1]) == (file == "met")  # votes are about the pictures, which are the same


def test_own_code_of_checkpoints_and_yamls_counts_and_a_script_beside_it_does_not(own: Path, tmp_path: Path):
    named, trained = tmp_path / "named.yaml", tmp_path / "trained.ckpt"
    named.write_text("model: {class_path: own.stage.Named, init_args: {part: own.layers.fill}}\n")
    content = {"method": "Trained", "module": "own.stage", "state_dict": {}, "hyper_parameters": {}}
    torch.save(content, trained)

    def contents() -> list[str]:
        plugins.imported("own.stage")
        load_method(named)  # imports what it names
        return [content_of(str(path)) for path in ("own.net.Net", named, trained)]

    before = contents()
    write(own / "script.py", "edited = True\n")
    assert contents() == before
    write(own / "layers.py", "def fill(x):\n    return x * 0\n")
    assert [one != other for one, other in zip(before, contents(), strict=True)] == [True, True, False]
    write(own / "stage.py", f"{STAGE}\nedited = True\n")
    assert [one != other for one, other in zip(before, contents(), strict=True)] == [True, True, True]


def numbers(folder: Path, photos: Path, out: str, *names: str) -> list[float | None]:
    path = write_protocol(folder, metrics=list(names))
    assert run(path, "--images", photos, "--limit", 3, "--methods", "Harmonic", "--out", folder / out) == 0
    found = {record.hash: record for record in records(folder / out).values()}
    (protocol,) = load_protocols(path, photos, limit=3)
    return [metric.mean for metric in found[protocol.hash].metrics.values()]


def test_two_metrics_of_a_set_with_one_name_have_a_number_each(own: Path, photos: Path, tmp_path: Path):
    write(own / "two.py", OF_SET.replace("abs(", "100 + abs(").replace('"own"', '"two"'))
    alone = [*numbers(tmp_path, photos, "out", "own.one.dist"), *numbers(tmp_path, photos, "out", "own.two.dist")]
    assert alone[0] and alone[1] and alone[1] > 100 > alone[0]
    assert numbers(tmp_path, photos, "out", "own.one.dist", "own.two.dist") == alone
    live = InceptionMetrics(["own.one.dist", "own.two.dist"], features=lambda image: image.mean((2, 3)))
    live.update(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4))
    assert [value.item() for value in live.compute().values()] == [0, 100]


def test_different_features_in_one_folder_are_refused(own: Path, photos: Path, tmp_path: Path):
    write(own / "two.py", OF_SET.replace("* SCALE", "* 2"))
    with pytest.raises(ValueError, match="keep different features in one folder, 'own'"):
        numbers(tmp_path, photos, "out", "own.one.dist", "own.two.dist")


def test_kept_features_of_the_truth_are_not_those_of_edited_code(own: Path, photos: Path, tmp_path: Path):
    first = numbers(tmp_path, photos, "out", "own.one.dist")
    write(own / "one.py", OF_SET.replace("* SCALE", "* 2"))
    assert numbers(tmp_path, photos, "out", "own.one.dist") == numbers(tmp_path, photos, "fresh", "own.one.dist")
    assert numbers(tmp_path, photos, "out", "own.one.dist") == [pytest.approx(2 * first[0])]  # type: ignore[operator]


def test_nothing_is_added_to_the_identity_of_our_methods_and_metrics(photos: Path, tmp_path: Path):
    (protocol,) = load_protocols(write_protocol(tmp_path), photos)
    assert Job("Telea", "Telea", protocol, tmp_path).identity().keys() == {
        "protocol", "batch_size", "settings", "method", "weights", "left_out"
    }  # fmt: skip
    assert content_of("Telea") == "Telea"
