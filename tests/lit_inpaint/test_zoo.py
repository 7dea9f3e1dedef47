"""The zoo: small networks of the package, where a method is named; what is damaged or missing is one line."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from benchmarks import zoo as maker
from experiments.app.command import offered
from experiments.catalogue.methods import main as methods
from experiments.inpaint.command import main as inpaint
from experiments.train import quickstart
from experiments.train.from_checkpoint import load_weights
from experiments.weights import export
from lit_inpaint import zoo
from lit_inpaint.diffusion.samplers import DDNM
from lit_inpaint.labels import label_methods
from lit_inpaint.load import load_method
from lit_inpaint.methods import GLCIC
from tests.support.fitting import random_input, small
from tests.support.pictures import hole, photo
from tests.support.protocols import records, run
from tests.support.zoo import DIFFUSION, GAN, diffusion, gan, protocol


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each kind, the protocol, and the zoo that is made of them."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        (folder / "zoo").mkdir()
        patch.setattr(zoo, "FOLDER", folder / "zoo")
        asked = str(protocol(folder)), folder / "out"
        assert maker.add(gan(folder / "gan"), *asked, []) == GAN
        sampler = [["DDNM", "steps=2"]]
        assert maker.add(diffusion(folder / "ddpm"), *asked, sampler, ["--masks", "wide"]) == DIFFUSION
    return folder


@pytest.fixture
def own(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of that zoo, in place of the package's."""
    monkeypatch.setattr(zoo, "FOLDER", shutil.copytree(made / "zoo", tmp_path / "zoo"))
    yield tmp_path / "zoo"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    return tmp_path


def test_an_entry_is_the_averaged_completing_networks_in_float16(own: Path, made: Path):
    checkpoint = made / "gan" / "checkpoints" / "last.ckpt"
    averaged, raw = load_method(checkpoint), load_method(checkpoint, "raw")
    tensors = load_file(own / f"{GAN}.safetensors")
    assert {name.partition(".")[0] for name in tensors} == {"generator"}
    assert all(torch.equal(value, averaged.state_dict()[name].half()) for name, value in tensors.items())
    assert any(not torch.equal(value, raw.state_dict()[name].half()) for name, value in tensors.items())
    image, mask = random_input(64, 64)
    found, expected = load_method(f"zoo:{GAN}"), averaged
    assert found.loaded_weights == "ema" and next(found.parameters()).dtype == torch.float32
    torch.testing.assert_close(found(image, mask), expected(image, mask), atol=0.02, rtol=0)


def test_a_card_states_what_was_trained_its_rows_and_what_float16_costs(own: Path, made: Path):
    card = zoo.card_of(GAN)
    assert card.title == "GLCIC trained at 64 px on drawn faces by this project"
    assert card.parameters == sum(p.numel() for p in load_method(f"zoo:{GAN}").get_submodule("generator").parameters())
    assert (card.seed, card.images_seen, card.weights) == (3, 4, "ema") and card.hyper_parameters["width"] == 4
    assert "root" not in str(card.config) and str(made) not in (own / f"{GAN}.json").read_text().replace(
        card.rows[0].protocol, ""
    )
    assert [row.mask for row in card.rows] == ["half", "wide"]
    found = {
        key.partition("/")[2]: record for key, record in records(made / "out").items() if key.startswith("try-half")
    }
    number = card.rows[0].metrics["psnr_hole"]
    assert card.rows[0].hash == found[GAN].hash and number.n == 20 and number.interval is not None
    assert number.float32 == found[GAN].metrics["psnr_hole"].mean
    assert number.float16 == found[f"{GAN}-float16"].metrics["psnr_hole"].mean != number.float32
    assert abs(number.float16 - number.float32) < 0.05 and len(number.first) == 20
    assert zoo.card_of(DIFFUSION).rows[0].sampler == ["DDNM", "steps=2"]


def test_every_command_that_takes_a_method_takes_an_entry(
    own: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    photo(size=(64, 64)).save("photo.png")
    Image.fromarray(hole((64, 64)) * 255).save("hole.png")
    words = ["--method", f"zoo:{GAN}", "--image", "photo.png", "--mask", "hole.png", "--out", "filled.png"]
    assert inpaint(words) == 0 and Path("filled.png").is_file()
    assert run(made / "try.yaml", "--masks", "wide", "--limit", 2, "--out", "out", "--methods", f"A=zoo:{GAN}") == 0
    (record,) = records(Path("out")).values()
    method = record.method
    assert (method.name, method.checkpoint, method.seed, method.images_seen) == ("GLCIC", f"zoo:{GAN}", 3, 4)
    assert method.checkpoint_sha256 == zoo.card_of(GAN).file_sha256 and method.weights == "ema"
    assert label_methods([f"zoo:{GAN}"], "ema") == {f"zoo:{GAN}": GAN}
    assert export.main([f"zoo:{GAN}", "--format", "safetensors"]) == 0 and Path(f"{GAN}.safetensors").is_file()
    assert offered(None, "cpu")[0][GAN] == f"zoo:{GAN}" and "Telea" in offered(None, "cpu")[0]
    for words, said in (([], f"zoo:{GAN}: GLCIC trained at 64 px"), ([f"zoo:{GAN}"], "psnr_hole")):
        assert methods(words) == 0 and said in capsys.readouterr().out


def test_an_entry_that_samples_completes_as_its_first_row_and_inpaint_takes_another_sampler(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert load_method(f"zoo:{DIFFUSION}").sampler == DDNM(steps=2)
    photo(size=(64, 64)).save("photo.png")
    Image.fromarray(hole((64, 64)) * 255).save("hole.png")
    words = ["--method", f"zoo:{DIFFUSION}", "--image", "photo.png", "--mask", "hole.png", "--out"]
    assert inpaint([*words, "a.png"]) == inpaint([*words, "b.png", "--sampler", "DDNM", "steps=2"]) == 0
    assert inpaint([*words, "c.png", "--sampler", "RePaint", "steps=2", "jump_length=1", "resamples=2"]) == 0
    a, b, c = (Path(f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c
    for method, sampler, said in (
        (f"zoo:{DIFFUSION}", "Repaint", "there is no sampler 'Repaint'. Did you mean 'RePaint'"),
        (f"zoo:{GAN}", "DDNM", "GLCIC does not sample"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            inpaint(["--method", method, *words[2:], "d.png", "--sampler", sampler])


def test_training_starts_from_an_entry_with_fresh_discriminators(own: Path):
    model = small(GLCIC)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_weights(model, Path(f"zoo:{GAN}"))
    tensors = load_file(own / f"{GAN}.safetensors")
    for name, value in model.state_dict().items():
        assert torch.equal(value, tensors[name].float() if name in tensors else before[name]), name
    with pytest.raises(ValueError, match="width is 8, but the weights of zoo:GLCIC_drawn_faces64 were made with 4"):
        load_weights(small(GLCIC, width=8), Path(f"zoo:{GAN}"))


def test_an_unknown_name_suggests_the_nearest_and_an_empty_zoo_says_so(own: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=f"there is no 'GLCIC_faces' in the zoo. Did you mean '{GAN}'"):
        load_method("zoo:GLCIC_faces")
    with pytest.raises(ValueError, match="has averaged weights only"):
        load_method(f"zoo:{GAN}", "raw")
    with pytest.raises(ValueError, match=r"there is no '\.\./x' in the zoo"):
        load_method("zoo:../x")


def test_an_empty_zoo_offers_nothing(empty: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(ValueError, match=r"there is no 'GLCIC' in the zoo\. It is empty"):
        label_methods(["A=zoo:GLCIC"], "ema")
    assert list(zoo.cards()) == [] and methods([]) == 0 and "zoo" not in capsys.readouterr().out
    assert maker.main(["table"]) == 0 and "The zoo is empty" in capsys.readouterr().out


def damage(folder: Path, kind: str) -> None:
    card, tensors = folder / f"{GAN}.json", folder / f"{GAN}.safetensors"
    content = bytearray(tensors.read_bytes())
    if kind == "a flipped bit":
        content[-5] ^= 1
        tensors.write_bytes(content)
    elif kind == "cut off":
        tensors.write_bytes(content[:-100])
    elif kind == "no tensors":
        tensors.unlink()
    elif kind == "no card":
        card.unlink()
    elif kind == "an edited card":
        card.write_text(card.read_text().replace("this project", "the authors"))
    elif kind == "half a card":
        card.write_text(card.read_text()[:300])
    elif kind == "a newer card":
        card.write_text(json.dumps({**json.loads(card.read_text()), "format": 2}))
    elif kind == "other arguments":
        known = zoo.card_of(GAN)
        card.write_text(replace(known, hyper_parameters={**known.hyper_parameters, "width": 8}).text())


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("a flipped bit", f"{GAN}.safetensors has been cut off or altered"),
        ("cut off", f"{GAN}.safetensors has been cut off or altered"),
        ("no tensors", f"{GAN}.json has no {GAN}.safetensors beside it"),
        ("no card", f"{GAN}.safetensors has no {GAN}.json beside it"),
        ("an edited card", f"{GAN}.json has been cut off or altered"),
        ("half a card", f"{GAN}.json is not a card of the zoo"),
        ("a newer card", "has format 2, of a newer lit-inpaint"),
        ("other arguments", f"zoo:{GAN} does not fit GLCIC"),
    ],
)
def test_what_is_damaged_is_one_line_and_the_rest_serves(
    own: Path, kind: str, said: str, capsys: pytest.CaptureFixture[str]
):
    damage(own, kind)
    with pytest.raises(ValueError) as error:
        load_method(f"zoo:{GAN}")
    assert said in str(error.value) and "\n" not in str(error.value)
    if kind == "no card":
        assert DIFFUSION in offered(None, "cpu")[0] and said in capsys.readouterr().err
    if kind != "other arguments":  # what only building shows
        assert methods([]) == 0 and said[-20:] in " ".join(capsys.readouterr().out.split())


def test_formats_of_cards_are_not_those_of_checkpoints(own: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lit_inpaint.checkpoints.FORMAT", 2)
    damage(own, "a newer card")
    with pytest.raises(ValueError, match="has format 2, of a newer lit-inpaint; this one reads 1"):
        zoo.card_of(GAN)


def test_what_is_too_large_or_there_is_refused(own: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: Any = made / "gan" / "checkpoints" / "last.ckpt", str(made / "try.yaml"), tmp_path / "out", []
    with pytest.raises(ValueError, match=rf"{GAN} is there already; delete its two files"):
        maker.add(*asked)
    for path in own.glob("*"):
        path.unlink()
    monkeypatch.setattr(maker, "MOST", 10_000)
    with pytest.raises(
        ValueError, match=r"parameters, 0\.\d\d MB in float16; an entry of the zoo has at most 0 MB. Train a"
    ):
        maker.add(*asked)
    monkeypatch.setattr(maker, "MOST", 3_000_000)
    monkeypatch.setattr(maker, "IN_ALL", 10_000)
    with pytest.raises(ValueError, match=r"all of it may have 0 MB\. Delete an entry first"):
        maker.add(*asked)
    assert not list(own.iterdir())


def test_the_table_is_reproduced_and_a_wrong_card_is_named(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert maker.main(["table", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert said.count("psnr_hole") == 3 and "Every number is that of its card." in said
    card = zoo.card_of(GAN)
    row = card.rows[1]
    number = row.metrics["l1_hole"]
    moved = replace(number, first={image: value + 0.002 for image, value in number.first.items()})
    altered = replace(card, rows=[card.rows[0], replace(row, metrics={**row.metrics, "l1_hole": moved})])
    (own / f"{GAN}.json").write_text(altered.text())
    assert maker.main(["table", "--out", str(tmp_path / "out")]) == 1
    assert f"zoo:{GAN} under {row.protocol}, wide: l1_hole" in capsys.readouterr().out
    (own / f"{GAN}.json").write_text(replace(card, rows=[replace(row, hash="0" * 64)]).text())
    assert maker.main(["table", "--out", str(tmp_path / "out")]) == 1
    assert "the card is of the protocol 00000000" in capsys.readouterr().out


def test_the_quickstart_shows_a_diffusion_model_of_the_zoo_marked_as_not_trained_there(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    typed: list[tuple[str, ...]] = []
    monkeypatch.setattr(quickstart, "_CALLS", 1)
    monkeypatch.setattr(quickstart, "run", lambda *words: typed.append(words))
    (note,) = quickstart.from_zoo("quickstart")
    assert note.startswith(
        "DDPM not trained here: DDPM trained at 64 px on drawn faces by this project, from the package"
    )
    ((command, *words),) = typed
    assert command == "benchmark" and f"DDPM not trained here=zoo:{DIFFUSION}" in words
    assert words[-2:] == ["DDNM", "steps=1"]  # its own sampler makes two calls
    assert run(*words, "--limit", 2, "--out", tmp_path / "out") == 0
    (record,) = records(tmp_path / "out").values()
    assert record.label == "DDPM not trained here"
    (own / f"{DIFFUSION}.json").unlink()
    assert quickstart.from_zoo("quickstart") == []
