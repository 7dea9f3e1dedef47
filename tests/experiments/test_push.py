"""`push`: what is published, what stays here, and what is never overwritten."""

import glob
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open

from experiments import cli
from experiments.records.files import read_record, write_record
from experiments.records.intervals import mean_interval
from experiments.weights.push import main
from lit_inpaint.diffusion.samplers import DDNM
from lit_inpaint.hub import CARD, CONFIG, MODEL, RAW
from lit_inpaint.load import load_method
from tests.support.house import ROOT
from tests.support.hub_server import Hub, Repository
from tests.support.protocols import records, run, write_protocol
from tests.support.publishing import NAME, push, trained
from tests.support.zoo import diffusion

AT = f"hf://{NAME}"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def record(checkpoint: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    protocol = write_protocol(folder, about="Eight crops.")
    assert run(protocol, "--images", photos, "--out", folder, "--methods", f"Mine={checkpoint}") == 0
    (found,) = records(folder).values()
    assert found.path is not None
    return found.path


def altered(checkpoint: Path, path: Path, **changes: Any) -> Path:
    torch.save(torch.load(checkpoint, weights_only=True) | changes, path)
    return path


def arguments(checkpoint: Path, **more: Any) -> dict[str, Any]:
    return torch.load(checkpoint, weights_only=True)["hyper_parameters"] | more


def test_what_is_published_is_tensors_a_config_and_a_card_and_nothing_of_the_machine(
    hub: Hub, checkpoint: Path, record: Path, capsys: Any
):
    content = torch.load(checkpoint, weights_only=True)
    assert content["optimizer_states"] and content["callbacks"] and content["ema"]
    assert push(checkpoint, "--record", record, "--data", "four random images") == 0
    head = hub.repositories[NAME].head
    assert f"{AT}@{hub.repositories[NAME].refs['main']}: a new repository, 4 files" in capsys.readouterr().out
    assert set(head) == {".gitattributes", CARD, CONFIG, MODEL, RAW}
    everything = b"".join(head.values())
    for private in (str(checkpoint.parent), str(Path.home()), hub.asked[0][2]["authorization"].split()[1], "Adam"):
        assert private.encode() not in everything
    config = json.loads(head[CONFIG])
    assert set(config) == {
        "library", "format", "method", "module", "hyper_parameters", "averaged", "images_seen", "checkpoint_sha256",
        "files", "sha256",
    }  # fmt: skip
    assert config["hyper_parameters"]["width"] == 8 and config["images_seen"] == 4


def test_the_tensors_are_those_that_evaluation_uses(hub: Hub, checkpoint: Path, tmp_path: Path):
    assert push(checkpoint) == 0
    (tmp_path / MODEL).write_bytes(hub.repositories[NAME].head[MODEL])
    expected = load_method(checkpoint).state_dict()
    with safe_open(tmp_path / MODEL, "pt") as file:
        assert set(file.keys()) == set(expected)
        assert all(torch.equal(file.get_tensor(name), value) for name, value in expected.items())


def test_the_card_states_protocol_hash_values_intervals_data_and_licence(hub: Hub, checkpoint: Path, record: Path):
    assert push(checkpoint, "--record", record, "--data", "four random images") == 0
    text = hub.repositories[NAME].head[CARD].decode()
    head = yaml.safe_load(text.split("---")[1])
    assert head["license"] == "apache-2.0" and head["library_name"] == "lit-inpaint"
    found = read_record(record)
    psnr = found.metrics["psnr_hole"]
    assert psnr.interval is None and f"| psnr_hole, dB | {psnr.mean:.2f} |  | 8 |" in text
    for said in (found.hash, "## Protocol try", "Eight crops.", "8 images at 64 px", "Wide", "four random images"):
        assert said in text
    assert f"lit-inpaint inpaint --method {AT} " in text


def test_an_interval_stands_on_the_card(hub: Hub, checkpoint: Path, record: Path, tmp_path: Path):
    many = read_record(record)
    names = [f"image{number}" for number in range(24)]
    metric = many.metrics["psnr_hole"]
    values = {name: 20 + number / 4 for number, name in enumerate(names)}
    many.hole_share, many.metrics = dict.fromkeys(names, 0.3), {"psnr_hole": metric}
    metric.values, metric.n, metric.mean, metric.buckets = values, 24, sum(values.values()) / 24, {}
    metric.interval = low, high = mean_interval(list(values.values())) or (0, 0)
    write_record(many, tmp_path / "many.json")
    assert push(checkpoint, "--record", tmp_path / "many.json") == 0
    assert f"| 22.88 | {low:.2f} to {high:.2f} | 24 |" in hub.repositories[NAME].head[CARD].decode()


def test_a_record_of_another_checkpoint_or_other_weights_is_refused(
    hub: Hub, checkpoint: Path, record: Path, tmp_path: Path
):
    other = altered(checkpoint, tmp_path / "other.ckpt", global_step=7)
    with pytest.raises(ValueError, match=r"is not a record of this checkpoint: it states the sha256"):
        push(other, "--record", record)
    found = read_record(record)
    found.method.weights = "raw"
    write_record(found, tmp_path / "raw.json")
    with pytest.raises(ValueError, match=r"it is of the raw weights, and ema ones are published"):
        push(checkpoint, "--record", tmp_path / "raw.json")
    assert not hub.asked


def test_a_checkpoint_without_averages_is_published_as_raw(hub: Hub, checkpoint: Path, tmp_path: Path):
    content = torch.load(checkpoint, weights_only=True)
    del content["ema"]
    torch.save(content, tmp_path / "raw.ckpt")
    assert push(tmp_path / "raw.ckpt") == 0
    assert RAW not in hub.repositories[NAME].head and load_method(AT).loaded_weights == "raw"


@pytest.mark.parametrize("given", [[], ["--license", "My Licence"]])
def test_a_licence_is_asked_for_and_common_ones_are_named(given: list[str], checkpoint: Path):
    with pytest.raises(
        ValueError, match=r"--license is .*: say under which licence .* apache-2\.0, mit, .*cc-by-nc-4\.0"
    ):
        main([str(checkpoint), AT, *given])


def test_a_licence_that_the_hub_does_not_know_is_one_line(hub: Hub, checkpoint: Path):
    with pytest.raises(
        ValueError, match=r'Invalid metadata in README.md.*"license" must be one of.*Nothing was published'
    ):
        main([str(checkpoint), AT, "--license", "apache-9"])


@pytest.mark.parametrize("path", ["/data/me/kmeans.npy", "~/kmeans.npy", "C:\\kmeans.npy", "../kmeans.npy", "/here"])
def test_a_path_of_this_machine_among_the_arguments_is_refused_and_can_be_dropped(
    hub: Hub, checkpoint: Path, tmp_path: Path, path: str
):
    found = tmp_path / "kmeans.npy"
    found.touch()
    path = str(found) if path == "/here" else path
    spoilt = altered(checkpoint, tmp_path / "x.ckpt", hyper_parameters=arguments(checkpoint, perceptual_weight=[path]))
    with pytest.raises(ValueError, match=r"the argument perceptual_weight of .* --drop perceptual_weight\.") as refused:
        push(spoilt)
    assert repr(path) in str(refused.value)
    with pytest.raises(ValueError, match=r"--drop size: .* has the arguments .*width"):
        push(spoilt, "--drop", "size")
    assert not hub.asked


def test_the_sampler_that_a_run_was_given_is_published_and_a_damaged_one_refused(hub: Hub, tmp_path: Path):
    said = {"class_path": "DDNM", "init_args": {"steps": 2, "eta": 0.5}}
    (tmp_path / "checkpoints").mkdir()
    written = diffusion(tmp_path)
    assert push(altered(written, tmp_path / "sampled.ckpt", sampler=said)) == 0
    assert load_method(AT).sampler == DDNM(steps=2, eta=0.5)
    wrong = altered(written, tmp_path / "wrong.ckpt", sampler={"class_path": "DDNM", "init_args": {"step": 2}})
    with pytest.raises(ValueError, match=r"the checkpoint's sampler .* cannot be made: .*'step'"):
        push(wrong)


def test_a_dropped_argument_takes_its_default_and_the_weights_stay(hub: Hub, checkpoint: Path):
    assert push(checkpoint, "--drop", "tv_weight") == 0
    assert "tv_weight" not in json.loads(hub.repositories[NAME].head[CONFIG])["hyper_parameters"]
    with pytest.raises(ValueError, match=r"does not fit PartialConv"):
        push(checkpoint, "--drop", "width")


def test_a_secret_that_would_be_published_is_refused(hub: Hub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    for text, name in (
        ("0123456789abcdef", "WANDB_API_KEY"),
        (f"{Path.home()}/photos", "the path of your home folder"),
    ):
        with pytest.raises(ValueError, match=f"would publish {name}; nothing was uploaded"):
            push(checkpoint, "--data", f"images of {text}")
    assert not hub.asked


def test_without_a_token_one_line_says_how_to_log_in(
    hub: Hub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(SystemExit):
        cli.main(["push", str(checkpoint), AT, "--license", "mit"])
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "lit-inpaint: there is no token for the Hub: set HF_TOKEN, or run `hf auth login`."
    assert not hub.asked
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(ValueError, match=r"the Hub answered 401: Invalid credentials.*Check HF_TOKEN"):
        push(checkpoint)


def test_a_second_push_is_a_new_commit_and_an_equal_one_is_none(
    hub: Hub, checkpoint: Path, record: Path, tmp_path: Path, capsys: Any
):
    assert push(checkpoint) == 0
    repository = hub.repositories[NAME]
    first = repository.refs["main"]
    assert push(checkpoint) == 0 and repository.refs["main"] == first
    assert f"{AT}@{first}: nothing has changed since the last push" in capsys.readouterr().out
    content = torch.load(checkpoint, weights_only=True)
    del content["ema"]
    torch.save(content, tmp_path / "raw.ckpt")
    assert push(tmp_path / "raw.ckpt") == 0
    assert f": a new commit on {first[:7]}, 3 files" in capsys.readouterr().out
    assert RAW in repository.commits[first] and RAW not in repository.head  # what an earlier push wrote goes


def test_what_somebody_else_wrote_or_changed_is_not_overwritten(hub: Hub, checkpoint: Path):
    hub.create("eve/mine", {CARD: b"mine", "notes.txt": b"mine", MODEL: b"mine"})
    with pytest.raises(
        ValueError, match=r"^hf://eve/mine holds README\.md, model\.safetensors, which lit-inpaint did not"
    ):
        push(checkpoint, name="eve/mine")
    assert len(hub.repositories["eve/mine"].commits) == 1
    assert push(checkpoint, "--overwrite", name="eve/mine") == 0
    assert hub.repositories["eve/mine"].head["notes.txt"] == b"mine"

    assert push(checkpoint) == 0
    repository = hub.repositories[NAME]
    repository.commit({CARD: repository.head[CARD] + b"More about it.\n"})
    with pytest.raises(
        ValueError, match=r"holds README\.md, which lit-inpaint did not write or which was changed since"
    ):
        push(checkpoint, "--data", "faces")
    repository.commit({CONFIG: b'{"architectures": ["Other"]}'})
    with pytest.raises(ValueError, match=r"holds README\.md, config\.json, model\.safetensors"):
        push(checkpoint)


def test_a_commit_that_somebody_makes_meanwhile_is_not_overwritten(
    hub: Hub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    assert push(checkpoint) == 0
    from huggingface_hub import HfApi

    repository = hub.repositories[NAME]
    committed = HfApi.create_commit

    def meanwhile(api: HfApi, *arguments: Any, **options: Any) -> Any:
        repository.commit({CARD: b"by another"})
        return committed(api, *arguments, **options)

    monkeypatch.setattr(HfApi, "create_commit", meanwhile)
    with pytest.raises(ValueError, match=r"the Hub answered 412: A commit has happened since.* Nothing was published"):
        push(checkpoint, "--data", "faces")
    assert repository.head[CARD] == b"by another"


@pytest.mark.parametrize("target", ["ann/holes", f"{AT}@main", "hf://holes"])
def test_a_target_is_a_repository_without_revision(target: str, checkpoint: Path):
    with pytest.raises(ValueError, match=r"expected hf://user/name"):
        main([str(checkpoint), target, "--license", "mit"])


def test_a_private_repository_is_created_private(hub: Hub, checkpoint: Path):
    assert push(checkpoint, "--private") == 0
    repository: Repository = hub.repositories[NAME]
    assert repository.private
    assert push(checkpoint, "--private") == 0  # it still is


def test_private_is_not_ignored_where_a_public_repository_exists(hub: Hub, checkpoint: Path):
    assert push(checkpoint) == 0
    with pytest.raises(ValueError, match="exists and is public"):
        push(checkpoint, "--private")


def test_the_page_is_typed_from_publishing_to_using(
    hub: Hub, checkpoint: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photos, "photos")
    shutil.copy(checkpoint, "last.ckpt")
    write_protocol(tmp_path, limit=2)
    hole = np.zeros((128, 128), np.uint8)
    hole[40:80, 40:80] = 255
    assert cv2.imwrite("hole.png", hole)
    page = (ROOT / "docs/hub.md").read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    assert len(lines) == 5
    for line in lines:
        program, *words = [name for word in shlex.split(line) for name in glob.glob(word) or [word]]
        assert program == "lit-inpaint"
        with pytest.raises(SystemExit) as end:
            cli.main(words)
        assert end.value.code == 0, line
    found = {Path(key).name: record for key, record in records(tmp_path / "results").items()}
    assert set(found) == {"Holes", "Published", "Telea"} and found["Holes"].metrics == found["Published"].metrics
    assert found["Holes"].hash in hub.repositories[NAME].head[CARD].decode()
    assert Path("filled.png").is_file() and load_method("holes.ckpt").loaded_weights == "ema"
