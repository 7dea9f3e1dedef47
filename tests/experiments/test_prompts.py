"""A protocol with prompts: its hash, its kit, what is told to metrics and pipelines, and what is refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from experiments.evaluate import protocols
from experiments.evaluate.protocol import Protocol, load_protocols
from lit_inpaint import metrics
from tests.support import tiny_pipelines
from tests.support.protocols import records, run, write_protocol

SAID = {f"photo{i}": "x" * (i + 1) + ", a photograph" for i in range(8)}
METRICS = ["psnr", "words"]


@pytest.fixture(autouse=True)
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric of prompts that needs no weights: how long each is."""

    @metrics.defined("1: letters of the prompt", title="Letters", higher_is_better=True, of_prompts=True)
    def words(prediction: Tensor, target: Tensor, mask: Tensor | None = None, prompts: Sequence[str] = ()) -> Tensor:
        return torch.tensor([float(len(prompt)) for prompt in prompts])

    monkeypatch.setattr(metrics, "words", words, raising=False)
    monkeypatch.setattr(metrics, "__all__", [*metrics.__all__, "words"])


def write_table(folder: Path, said: dict[str, str]) -> Path:
    path = folder / "prompts.csv"
    path.write_text("image,prompt\n" + "".join(f'{image},"{prompt}"\n' for image, prompt in said.items()))
    return path


def one(folder: Path, photos: Path, **changes: Any) -> Protocol:
    (found,) = load_protocols(write_protocol(folder, **changes), photos)
    return found


def test_prompts_are_part_of_the_hash_where_there_are_any_and_only_there(photos: Path, tmp_path: Path):
    plain = one(tmp_path, photos)
    table = write_table(tmp_path, SAID)
    told = one(tmp_path, photos, prompts="prompts.csv")
    assert "prompts" not in plain.definition and told.definition["prompts"] == {f"{k}.png": v for k, v in SAID.items()}
    assert {k: v for k, v in told.definition.items() if k != "prompts"} == plain.definition
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again = one(elsewhere, photos, prompts=str(table.rename(elsewhere / "said.tsv")))
    assert again.hash == told.hash != plain.hash, "where the table lies is no part of it"
    write_table(tmp_path, SAID | {"photo3": "a dog"})
    assert one(tmp_path, photos, prompts="prompts.csv").hash != told.hash


def test_each_image_is_measured_with_its_own_prompt_in_any_batch_and_from_the_kit(photos: Path, tmp_path: Path):
    write_table(tmp_path, dict(reversed(SAID.items())))
    path = write_protocol(tmp_path, metrics=METRICS, prompts="prompts.csv")
    for size in (1, 3):
        out = tmp_path / str(size)
        assert run(path, "--images", photos, "--methods", "Telea", "--batch-size", size, "--out", out) == 0
        (record,) = records(out).values()
        assert record.metrics["words"].values == {image: len(prompt) for image, prompt in SAID.items()}
    kit = tmp_path / "kit"
    assert protocols.main(["export", str(path), "--images", str(photos), "--out", str(kit)]) == 0
    made = next((tmp_path / "1" / "images").glob("*/Telea"))
    (tmp_path / "prompts.csv").unlink()
    score = ["score", str(kit), "--outputs", f"Telea={made}", "--out", str(tmp_path / "scores")]
    assert protocols.main(score) == 0
    (scored,) = records(tmp_path / "scores").values()
    assert scored.hash == record.hash and scored.metrics["words"] == record.metrics["words"]
    exported = (kit / "prompts.csv").read_text()
    assert 'photo0.png,"x, a photograph"\n' in exported
    for spoilt in (exported.replace("xx", "xy"), "image,prompt\n", None):
        (kit / "prompts.csv").unlink() if spoilt is None else (kit / "prompts.csv").write_text(spoilt)
        with pytest.raises(ValueError, match=r"prompts\.csv is not the one that was exported"):
            protocols.main(score)


@pytest.mark.parametrize(
    ("said", "changes", "expected"),
    [
        (SAID, {"prompts": None}, r"try\.yaml: words compares with prompts: name their table"),
        (SAID, {"metrics": ["clip_score"], "prompts": None}, r"try\.yaml: clip_score compares with prompts"),
        (SAID, {"prompts": "none.csv"}, r"none\.csv: no such file"),
        (SAID, {"prompts": ["a"]}, r"try\.yaml: prompts is \['a'\]; expected the path of a table"),
        ({k: v for k, v in SAID.items() if k != "photo5"}, {}, r"csv: has no row for the image photo5\.png\. Add one"),
        (SAID | {"photo5": " "}, {}, r"csv: the prompt of photo5\.png is empty\. Say what"),
        (dict.fromkeys(SAID, ""), {}, r"csv: the prompt of photo0\.png and of 7 more is empty"),
    ],
)
def test_what_is_wrong_with_prompts_is_one_line_before_anything_runs(
    said: dict[str, str], changes: dict[str, Any], expected: str, photos: Path, tmp_path: Path
):
    write_table(tmp_path, said)
    path = write_protocol(tmp_path, **({"metrics": METRICS, "prompts": "prompts.csv"} | changes))
    with pytest.raises(ValueError, match=expected) as error:
        run(path, "--images", photos, "--methods", "Telea", "--out", tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_without_its_weights_clip_score_is_left_out_with_the_reason(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LIT_INPAINT_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    write_table(tmp_path, SAID)
    path = write_protocol(tmp_path, metrics=["psnr", "clip_score"], prompts="prompts.csv", limit=1)
    assert run(path, "--images", photos, "--methods", "Telea", "--out", tmp_path / "out") == 0
    (record,) = records(tmp_path / "out").values()
    assert record.metrics["psnr"].mean is not None and record.metrics["clip_score"].mean is None
    assert record.metrics["clip_score"].reason == "backbone clip_vit_large_patch14 is not on this machine"


@pytest.mark.xdist_group("diffusers")
def test_a_pipeline_without_prompts_of_its_own_is_told_those_of_the_protocol(photos: Path, tmp_path: Path):
    pytest.importorskip("diffusers", reason="needs the extra `diffusers`")
    source = str(tiny_pipelines.shared())
    write_table(tmp_path, SAID | {"photo1": "a dog"})
    protocol = write_protocol(tmp_path, metrics=METRICS, prompts="prompts.csv", limit=2)
    own = {"none": {}, "same": {"prompts": str(tmp_path / "prompts.csv")}, "one": {"prompt": "a cat"}}
    recipes = []
    for name, arguments in own.items():
        recipes.append(tmp_path / f"{name}.yaml")
        given = {"source": source, "steps": 2, "guidance_scale": 3.0} | arguments
        recipes[-1].write_text(yaml.safe_dump({"model": {"class_path": "DiffusersInpaint", "init_args": given}}))
    assert run(protocol, "--images", photos, "--methods", *recipes, "--out", tmp_path / "out") == 0
    found = {Path(key).name: record for key, record in records(tmp_path / "out").items()}
    none, same, single = (found[name].metrics["psnr"].values for name in own)
    assert none == same and none["photo0"] != single["photo0"] and none["photo1"] != single["photo1"]
    settings: Any = {name: record.method.settings for name, record in found.items()}
    assert settings["none"]["call"]["prompts"] == "those of the protocol" and "prompt" not in settings["none"]["call"]
    assert settings["one"]["call"]["prompt"] == "a cat"
