"""Methods of the Hub, from a server of its API on loopback: loaded, verified, pinned; what is unsafe is refused."""

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save

from experiments import cli
from experiments.app.command import offered
from experiments.inpaint.command import main as inpaint
from experiments.weights import export, pull
from lit_inpaint import hub as module
from lit_inpaint import labels
from lit_inpaint.load import load_method
from lit_inpaint.module import InpaintingModule
from tests.support import processes
from tests.support.hub_server import TOKEN, Hub, Repository
from tests.support.outside import write_package
from tests.support.protocols import records, run, write_protocol
from tests.support.publishing import NAME, push, trained

AT = f"hf://{NAME}"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def repository(hub: Hub, checkpoint: Path) -> Repository:
    assert push(checkpoint) == 0
    hub.asked.clear()
    return hub.repositories[NAME]


def same(one: InpaintingModule, other: InpaintingModule) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def changed(repository: Repository, **changes: Any) -> None:
    """A commit whose config.json has other content, and the hash that belongs to it."""
    config = module._CONFIG.validate_json(repository.head[module.CONFIG])
    repository.commit({module.CONFIG: replace(config, **changes).text().encode()})


def test_averaged_and_raw_weights_arrive_to_the_last_bit(hub: Hub, repository: Repository, checkpoint: Path):
    averaged, raw = load_method(AT), load_method(AT, "raw")
    assert averaged.loaded_weights == "ema" and same(averaged, load_method(checkpoint))
    assert raw.loaded_weights == "raw" and same(raw, load_method(checkpoint, "raw")) and not same(raw, averaged)
    assert averaged.hparams == load_method(checkpoint).hparams
    names = {Path(path).name for _, path, _ in hub.asked if "/resolve/" in path}
    assert names == {"config.json", "model.safetensors", "raw.safetensors"}
    assert all("authorization" not in headers for _, path, headers in hub.asked if path.startswith("/cdn/"))


def test_only_what_the_weights_need_is_downloaded(hub: Hub, repository: Repository):
    load_method(AT)
    assert not [path for _, path, _ in hub.asked if path.endswith("raw.safetensors")]


def test_a_record_pins_the_commit_and_equals_that_of_the_checkpoint(
    hub: Hub, repository: Repository, checkpoint: Path, photos: Path, tmp_path: Path
):
    first = repository.refs["main"]
    protocol = [write_protocol(tmp_path, limit=2), "--images", photos, "--out", tmp_path / "out"]
    assert run(*protocol, "--methods", f"Published={AT}", f"Local={checkpoint}") == 0
    found = {Path(key).name: record for key, record in records(tmp_path / "out").items()}
    published, local = found["Published"], found["Local"]
    assert (published.method.repository, published.method.revision) == (NAME, first)
    assert published.metrics == local.metrics and published.method.weights == "ema"
    assert published.method.images_seen == local.method.images_seen == 4
    assert local.method.repository is None and "repository" not in json.loads(local.path.read_text())["method"]

    repository.commit({"notes.txt": b"later"})  # main has moved: the old commit is another job
    assert run(*protocol, "--methods", f"Published={AT}@{first}") == 0
    assert records(tmp_path / "out")[f"{published.path.parent.name}/Published"] == published
    with pytest.raises(ValueError, match=f"is the result of {NAME}@{first}, which {AT}@.* would replace"):
        run(*protocol, "--methods", f"Published={AT}")
    assert run(*protocol, "--overwrite", "--methods", f"Published={AT}") == 0
    assert records(tmp_path / "out")[f"{published.path.parent.name}/Published"].method.revision != first


def test_inpaint_app_and_export_take_a_repository_where_a_checkpoint_stands(
    hub: Hub, repository: Repository, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    hole = np.zeros((64, 64), np.uint8)
    hole[20:40, 20:40] = 255
    assert cv2.imwrite("photo.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    assert cv2.imwrite("hole.png", hole)
    for method, out in ((AT, "hub.png"), (str(checkpoint), "file.png")):
        assert inpaint(["--method", method, "--image", "photo.png", "--mask", "hole.png", "--out", out]) == 0
    assert (cv2.imread("hub.png") == cv2.imread("file.png")).all()
    commit = repository.refs["main"]
    assert offered([f"Mine={AT}"], "cpu") == ({"Mine": f"{AT}@{commit}"}, False)
    assert labels.label_methods([AT], "ema") == {f"{AT}@{commit}": "holes"}
    assert export.main([AT, "--format", "safetensors"]) == 0 and Path("holes.safetensors").is_file()


def test_pull_writes_a_checkpoint_with_both_weights_and_its_origin(
    hub: Hub, repository: Repository, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert pull.main([AT]) == 0
    for weights in ("ema", "raw"):
        assert same(load_method("holes.ckpt", weights), load_method(checkpoint, weights))
    content = torch.load("holes.ckpt", weights_only=True)
    assert content["source"] == {"repository": NAME, "revision": repository.refs["main"]}
    with pytest.raises(ValueError, match=r"holes.ckpt exists; give another --out"):
        pull.main([AT])


def test_branches_and_commits_are_resolved_and_unknown_ones_are_named(
    hub: Hub, repository: Repository, checkpoint: Path
):
    first = repository.refs["main"]
    repository.refs["v1"] = first
    repository.commit({module.MODEL: None})
    for revision in ("v1", first):
        assert same(load_method(f"{AT}@{revision}"), load_method(checkpoint))
    with pytest.raises(ValueError, match=rf"^{AT}@v2: the repository has no revision v2\.$"):
        load_method(f"{AT}@v2")
    with pytest.raises(ValueError, match=r"it holds no model\.safetensors"):
        load_method(AT)


# ---- the network -----------------------------------------------------------------------------------------------------


def test_a_torn_download_resumes_where_it_broke_off(
    hub: Hub, repository: Repository, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    hub.cuts = [20_000, 5_000]
    assert same(load_method(AT), load_method(checkpoint))
    ranges = [
        headers.get("range") for method, path, headers in hub.asked if path.startswith("/cdn/") and method == "GET"
    ]
    first, *later = ranges
    assert first is None and len(later) == 2 and all(int(asked[6:-1]) > 0 for asked in later if asked)


def test_a_download_that_never_ends_is_said_and_the_next_try_is_whole(
    hub: Hub, repository: Repository, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    hub.cuts = [3000, *[0] * 20]
    with pytest.raises(ValueError, match=rf"^{AT}@\w+: .*Error: .*\. Try again\.$"):
        load_method(AT)
    hub.cuts.clear()
    assert same(load_method(AT), load_method(checkpoint))


@pytest.mark.parametrize("lie", [lambda content: content[:-100], lambda content: content[:-1] + b"\x55"])
def test_a_short_or_altered_file_is_named_with_both_hashes(
    hub: Hub, repository: Repository, lie: Callable[[bytes], bytes]
):
    content = repository.head[module.MODEL]
    hub.lies = {digest: lie(content) for digest in [json.loads(repository.head[module.CONFIG])["files"][module.MODEL]]}
    with pytest.raises(
        ValueError, match=r"model\.safetensors has sha256 \w{12}\.\.\., config\.json states \w{12}\.\.\."
    ):
        load_method(AT)


def test_a_file_altered_in_the_cache_is_named_and_fetched_again_once_deleted(
    hub: Hub, repository: Repository, checkpoint: Path, tmp_path: Path
):
    load_method(AT)
    (file,) = (tmp_path / "cache").rglob("model.safetensors")
    blob = file.resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"\x55")
    with pytest.raises(ValueError, match=f"cut off or altered. Delete {blob} and try again"):
        load_method(AT)
    blob.unlink()
    assert same(load_method(AT), load_method(checkpoint))


def test_without_network_the_cached_commit_serves(
    hub: Hub, repository: Repository, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    commit = repository.refs["main"]
    load_method(AT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.asked.clear()
    assert same(load_method(f"{AT}@{commit}"), load_method(checkpoint))
    with pytest.warns(UserWarning, match=f"cannot be reached; using the commit of the last download, {commit}"):
        load_method(AT)
    with pytest.raises(ValueError, match=r"^hf://ann/other: it cannot be reached \(.*offline.*not in the cache"):
        load_method("hf://ann/other")
    with pytest.raises(ValueError, match=r"raw\.safetensors is not in the cache"):
        load_method(f"{AT}@{commit}", "raw")
    assert not hub.asked


def test_a_hub_that_is_down_is_one_line(hub: Hub, repository: Repository):
    hub.down = True
    with pytest.raises(ValueError, match=rf"^{AT}: the Hub answered 503: down for maintenance\.$"):
        load_method(AT)


def test_missing_private_and_gated_repositories_say_what_to_do(
    hub: Hub, repository: Repository, monkeypatch: pytest.MonkeyPatch
):
    missing = r"there is no such repository, or it is private: run `hf auth login` or set HF_TOKEN\.$"
    with pytest.raises(ValueError, match=missing):
        load_method("hf://ann/nowhere")
    repository.gated = True
    with pytest.raises(ValueError, match=rf"access is restricted; ask for it at {hub.url}/{NAME}"):
        load_method(AT)
    repository.gated, repository.private = False, True
    load_method(AT)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(ValueError, match=r"the Hub answered 401: Invalid credentials.* Check HF_TOKEN"):
        load_method(AT)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ValueError, match=missing):
        load_method(AT)


# ---- what a repository must not do -----------------------------------------------------------------------------------


def test_a_repository_of_pickles_is_refused_and_nothing_of_it_is_downloaded(hub: Hub):
    hub.create("eve/pickles", {"pytorch_model.bin": b"\x80\x04boom", "modeling.py": b"raise SystemExit"})
    with pytest.raises(ValueError, match=r"holds no config\.json, but pytorch_model\.bin: pickles can run code"):
        load_method("hf://eve/pickles")
    hub.create("eve/transformers", {"config.json": b'{"auto_map": {"AutoModel": "modeling.Evil"}}', "a.bin": b"\x80"})
    with pytest.raises(ValueError, match=r"its config\.json was not written by `lit-inpaint push`"):
        load_method("hf://eve/transformers")
    assert not [path for _, path, _ in hub.asked if path.endswith((".bin", ".py")) or path.startswith("/cdn/")]


def test_nothing_is_imported_because_a_repository_names_it(
    hub: Hub, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_package(tmp_path, "theirs")
    (tmp_path / "marker.py").write_text("raise SystemExit('the marker was imported')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    repository.commit({"marker.py": b"raise SystemExit", "theirs.py": b"raise SystemExit"})
    changed(repository, method="MyNet", module="theirs.methods")
    with pytest.raises(
        ValueError, match=r"holds a MyNet of the module theirs\.methods.*add --import theirs\.methods\.$"
    ):
        load_method(AT)
    changed(repository, module="marker", method="Evil")
    with pytest.raises(ValueError, match=r"add --import marker\."):
        pull.main([AT])
    changed(repository, module="lit_inpaint.methods", method="DDPM", hyper_parameters={"sampler": "marker.Evil"})
    with pytest.raises(ValueError, match=r"it names the module marker; if you trust it, add --import marker\."):
        load_method(AT)
    assert "marker" not in sys.modules and "theirs" not in sys.modules
    assert not [path for _, path, _ in hub.asked if path.endswith(".py")]


def test_a_config_that_was_altered_is_of_a_newer_format_or_no_json_is_refused(hub: Hub, repository: Repository):
    text = repository.head[module.CONFIG]
    for content, said in (
        (text.replace(b'"width": 8', b'"width": 9'), "has been altered"),
        (text.replace(b'"format": 1', b'"format": 2'), "has format 2, of a newer lit-inpaint"),
        (b"[" * 100_000, "was not written by `lit-inpaint push`"),
        (text.replace(b'"averaged"', b'"more": 1, "averaged"'), "was not written by `lit-inpaint push`"),
    ):
        repository.commit({module.CONFIG: content})
        with pytest.raises(ValueError, match=said):
            load_method(AT)


def test_formats_of_the_hub_are_not_those_of_checkpoints(
    hub: Hub, repository: Repository, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("lit_inpaint.checkpoints.FORMAT", 2)
    repository.commit({module.CONFIG: repository.head[module.CONFIG].replace(b'"format": 1', b'"format": 2')})
    with pytest.raises(ValueError, match="has format 2, of a newer lit-inpaint; this one reads 1"):
        load_method(AT)


def test_tensors_of_another_size_are_named(hub: Hub, repository: Repository):
    content = save({"generator.x": torch.zeros(1)})
    repository.commit({module.MODEL: content})
    config = json.loads(repository.head[module.CONFIG])
    changed(repository, files=config["files"] | {module.MODEL: hashlib.sha256(content).hexdigest()})
    with pytest.raises(
        ValueError, match=r"hf://ann/holes@\w{40} does not fit PartialConv: .* differences, first: missing"
    ):
        load_method(AT)


@pytest.mark.parametrize(
    "text", ["hf://", "hf://name", "hf://a/b/c", "hf://a/../b", "hf://a/b@", "hf://a--b/c", "hf:///etc/x"]
)
def test_an_address_that_names_no_repository_is_refused(text: str):
    with pytest.raises(ValueError, match="names no repository; expected hf://user/name"):
        load_method(text)


def test_without_the_extra_one_line_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    protocol = write_protocol(tmp_path, data={"class_path": "SamplePhotos"})
    for words in (["pull", AT], ["benchmark", str(protocol), "--methods", AT, "--out", "out"]):
        with pytest.raises(SystemExit):
            cli.main(words)
        said = capsys.readouterr().err
        assert said.startswith("lit-inpaint: hf:// needs huggingface_hub: pip install 'lit-inpaint[hub]'."), said
        assert len(said.splitlines()) == 1


@pytest.mark.parametrize("words", [["--ckpt_path", AT], ["--init_from", AT]])
def test_fit_says_that_a_repository_must_be_pulled_first(words: list[str], capsys: Any):
    with pytest.raises(SystemExit):
        cli.main(["fit", "--config", "quickstart", *words])
    assert "`lit-inpaint pull`" in capsys.readouterr().err


def typed(argv: list[str]) -> None:
    cli.main(argv)


def test_another_process_takes_endpoint_token_and_cache_from_the_environment(
    hub: Hub, repository: Repository, tmp_path: Path
):
    repository.private = True
    environment = {
        "HF_ENDPOINT": f"{hub.url}/",
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",  # the app sets it where it is imported, also in the server of forks
    }
    process = processes.start(typed, ["pull", AT, "--out", "x.ckpt"], folder=tmp_path, log="log.txt", env=environment)
    process.join(120)
    assert process.exitcode == 0, (tmp_path / "log.txt").read_text()
    assert (tmp_path / "x.ckpt").is_file()
