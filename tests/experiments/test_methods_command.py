"""`lit-inpaint methods`: the list, one method in full, and what a training step takes."""

import json
import logging
from typing import Any

import pytest
import torch

from experiments.catalogue.docstring import reflow
from experiments.catalogue.memory import measure, report
from experiments.catalogue.methods import describe, list_all, published
from experiments.cli import main
from lit_inpaint import methods
from lit_inpaint.methods import AOTGAN, DDPM, GLCIC, PartialConv
from lit_inpaint.stage import Stage
from tests.support.contract import ROWS

PLAIN: dict[str, Any] = {"width": 8, "blocks": 2, "discriminator_width": 4, "style_weight": 0, "perceptual_weight": 0}


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["methods", *argv])
    assert end.value.code == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["methods", *argv])
    assert end.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("width", [80, 140])
def test_the_list_holds_every_method_with_its_paper_and_weights_and_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
):
    monkeypatch.setenv("COLUMNS", str(width))
    text = printed(capsys)
    assert max(map(len, text.splitlines())) <= width
    heads = [line.split()[:2] for line in text.splitlines() if line[:1].isdigit()]
    assert sorted(name for _, name in heads) == sorted(methods.__all__)
    assert [int(year) for year, _ in heads] == sorted(getattr(methods, name).year for _, name in heads)
    flat = " ".join(text.split())
    assert all(" ".join(getattr(methods, name).paper.split()) in flat for name in methods.__all__)
    assert "generator 15,200,835, discriminator 2,763,777 needs vgg19; reads official" in flat


def test_the_list_for_programs_says_what_each_needs_reads_and_writes(capsys: pytest.CaptureFixture[str]):
    rows = {row["name"]: row for row in json.loads(printed(capsys, "--json"))}
    assert list(rows) == [row["name"] for row in sorted(rows.values(), key=lambda row: (row["year"], row["name"]))]
    assert rows["AOTGAN"]["needs"] == ["vgg19"] and rows["PartialConv"]["needs"] == ["vgg16"]
    assert rows["AOTGAN"]["exports"] == ["official"] and rows["Telea"]["imports"] == []


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("name", [name for name, _ in ROWS])
def test_one_method_in_full_names_every_argument_and_fits_the_terminal(name: str, width: int):
    lines = list(reflow(getattr(methods, name), width))
    assert ">>>" not in "\n".join(lines)
    assert max(map(len, lines)) <= width
    for argument in [n for n in getattr(methods, name).__init__.__annotations__ if n not in ("return", "optimisation")]:
        assert any(f"{argument} = " in line or f"{argument}:" in line for line in lines), argument


def test_one_method_in_full_has_defaults_counts_weights_and_its_published_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
):
    monkeypatch.delenv("LIT_INPAINT_WEIGHTS", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    text = " ".join(printed(capsys, "AOTGAN").split())
    assert "rates = (1, 2, 4, 8): Dilations" in text and "style_weight = 250.0, perceptual_weight = 0.1:" in text
    assert "discriminator 2,763,777" in text and "put vgg19-dcbb9e9d.pth into the folder" in text
    assert "aotgan/places2_512: AOT-GAN on Places2 at 512" in text and "aotgan/faces64" in text
    assert {config for config, _, _ in published({"PartialConv"})} == {
        "partial_conv/faces64", "partial_conv/places2_256", "partial_conv/places2_stage1", "partial_conv/places2_stage2"
    }  # fmt: skip
    assert "Did you mean 'AOTGAN'?" in refused(capsys, "AOTGaN")


def test_stages_of_a_method_are_listed_with_it_with_what_they_need_and_can_be_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    class PriorStage(Stage):
        """One half of a method."""

        needs = ("vgg16",)

        def __init__(self, width: int = 4, **optimisation: Any) -> None:
            super().__init__(**optimisation)
            self.transformer = torch.nn.Linear(width, 2)

    monkeypatch.setattr(GLCIC, "stages", {"prior": PriorStage})
    (row,) = [row for row in describe() if row["name"] == "GLCIC"]
    assert row["needs"] == ["vgg16"]
    head, *_ = list_all([row], 80)
    assert head == "2017  GLCIC           assembled from PriorStage"
    text = printed(capsys, "PriorStage")
    assert "width = 4" in text and "transformer                       10" in text and "needs    vgg16" in text


@pytest.fixture
def loud_again():
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    yield
    logger.setLevel(level)


def test_optimiser_bytes_are_those_of_the_state_after_a_step_and_idle_networks_are_named(loud_again):
    torch.manual_seed(0)
    found = measure(AOTGAN, PLAIN, 64, 1)
    for name in ("generator", "discriminator"):
        parameters = list(getattr(AOTGAN(**PLAIN), name).parameters())
        moments_and_step = 4 * (2 * sum(p.numel() for p in parameters) + len(parameters))
        assert found["optimisers"][f"Adam of {name}"] == moments_and_step
    assert found["idle"] == [] and found["device"]
    glcic = {"width": 4, "features": 8, "size": 64, "local_size": 32}
    assert measure(GLCIC, glcic, 64, 2)["idle"] == ["discriminator"]  # its phase is some 90,000 batches away


@pytest.mark.slow
def test_the_measured_peak_grows_with_the_images_and_holds_the_state_whatever_the_batch():
    arguments = [f"{key}={value}" for key, value in {**PLAIN, "width": 16, "discriminator_width": 16}.items()]
    text = "\n".join(report(AOTGAN, arguments, 256, 2))
    image, fixed = (
        float(number.replace(",", "")) for number in text.split("per image")[1].split() if number[0].isdigit()
    )
    # Sixteen channels of the first layer at full size, kept for backward, are 4 MiB per image; nothing keeps a hundred.
    assert 4 < image < 400 and 0 <= fixed < 400
    assert ("AOTGAN(width=16" in text and "resident memory" in text) or "max_memory_allocated" in text


def test_memory_refuses_what_has_no_training_step_and_arguments_that_do_not_exist():
    with pytest.raises(ValueError, match="Telea has no training step"):
        list(report(methods.Telea, [], 64, 1))
    with pytest.raises(ValueError, match="unexpected keyword argument 'widht'"):
        list(report(AOTGAN, ["widht=8"], 64, 1))
    with pytest.raises(ValueError, match="write KEY=VALUE"):
        list(report(PartialConv, ["levels"], 64, 1))
    with pytest.raises(ValueError, match="--batch-size is 0; it must be at least 1"):
        list(report(DDPM, [], 64, 0))
