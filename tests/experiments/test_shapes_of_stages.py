"""Methods in stages and in latents at 48x80: from the first stage to a record, or one line that says which sizes.

huggingface/diffusers #5595 (427x640: sides that are not divisible by 8), runwayml/stable-diffusion #13 (512x320).
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import cli
from experiments.records.record import Record
from experiments.weights.assemble import main as assemble
from lit_inpaint.methods.dsi import DSIVQVAE
from tests.support import killing
from tests.support.contract import ROWS, STAGES, make
from tests.support.dsi import stage, trained_vqvae
from tests.support.killing import Kill
from tests.support.protocols import records, run, write_protocol

SHAPE = [48, 80]


def settings(name: str, size: list[int] = SHAPE, **more: Any) -> dict[str, Any]:
    arguments = (dict(ROWS) | dict(STAGES))[name] | more
    config = killing.settings(json.loads(json.dumps({"class_path": name, "init_args": arguments})), steps=5)
    config["data"]["init_args"] |= {"image_size": size, "limit_eval": 2, "eval_batch_size": 2}
    return config


def trained(folder: Path, name: str, **more: Any) -> Path:
    code = killing.run(folder, settings(name, **more))
    assert code == [0], (folder / "log-0-0.txt").read_text()[-1500:]
    assert json.loads((folder / "run/run.json").read_text())["image_size"] == SHAPE
    return folder / "run/checkpoints/last.ckpt"


def measured(folder: Path, method: object) -> Record:
    folder.mkdir(exist_ok=True)
    protocol = write_protocol(folder, size=SHAPE, data={"class_path": "SamplePhotos"}, limit=2, metrics=["psnr"])
    assert run(protocol, "--methods", f"M={method}", "--out", folder / "out", "--device", "cpu") == 0
    (record,) = records(folder / "out").values()
    assert record.protocol.definition["size"] == SHAPE and record.metrics["psnr"].mean is not None
    return record


@pytest.mark.slow
def test_the_stages_of_dsi_become_a_method_that_is_measured_at_48x80(tmp_path: Path):
    first = trained(tmp_path / "vqvae", "DSIVQVAE")
    given = [f"--vqvae={first}"]
    for flag, name in (("structure", "DSIStructure"), ("texture", "DSITexture")):
        given.append(f"--{flag}={trained(tmp_path / flag, name, vqvae=str(first))}")
    assert assemble(["DSI", *given, f"--out={tmp_path / 'dsi.ckpt'}"]) == 0
    assert measured(tmp_path, tmp_path / "dsi.ckpt").adaptation is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["DSIVQVAE", "LatentInpainting", "LatentAutoencoder"])
def test_a_run_at_48x80_is_killed_and_resumed_to_the_bit(name: str, tmp_path: Path):
    pytest.importorskip("diffusers", reason="latent diffusion needs the extra `diffusers`")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    trained(whole, name)
    assert killing.killed_and_resumed(cut, settings(name), Kill("between steps", 5)) == 3
    assert killing.differences(cut, whole) == []
    if name == "LatentInpainting":
        assert measured(tmp_path, cut / "run/checkpoints/last.ckpt").adaptation is None


@pytest.mark.parametrize(
    ("name", "multiple"),
    [("DSIVQVAE", 8), ("DSIStructure", 8), ("DSITexture", 8), ("LatentInpainting", 2), ("LatentAutoencoder", 2)],
)
def test_sides_that_it_does_not_halve_are_one_line(
    name: str, multiple: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """diffusers' autoencoder drops the columns that are left over: latent inpainting trained without them."""
    monkeypatch.chdir(tmp_path)
    if name.startswith("Latent"):
        pytest.importorskip("diffusers", reason="latent diffusion needs the extra `diffusers`")
    config = settings(name, [46, 81])
    if name in ("DSIStructure", "DSITexture"):
        first = stage(DSIVQVAE)
        first.vqvae.load_state_dict(trained_vqvae())
        arguments = {k: v for k, v in first.hparams.items() if not k.startswith("_")}
        torch.save({"method": "DSIVQVAE", "state_dict": first.state_dict(), "hyper_parameters": arguments}, "v.ckpt")
        config["model"]["init_args"]["vqvae"] = "v.ckpt"
    config["trainer"] |= {"callbacks": [], "logger": False}
    Path("fit.yaml").write_text(json.dumps(config))  # JSON is YAML
    with pytest.raises(SystemExit) as end:
        cli.main(["fit", "--config", "fit.yaml"])
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("lit-inpaint:")]
    assert end.value.code == 2 and f"multiples of {multiple}" in line and "81x46" in line and "image_size" in line


def test_a_pipeline_completes_48x80_and_names_the_sizes_that_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("diffusers", reason="pipelines need the extra `diffusers`")
    arguments = dict(ROWS)["DiffusersInpaint"]
    make("DiffusersInpaint", arguments)  # writes the pipeline
    for more, adaptation in (({}, None), ({"size": SHAPE}, None), ({"size": [32, 48]}, "crop")):
        made = {"class_path": "DiffusersInpaint", "init_args": arguments | more}
        (tmp_path / "tiny.yaml").write_text(json.dumps({"model": made}))
        found = measured(tmp_path / str(more.get("size")), tmp_path / "tiny.yaml").adaptation
        assert (found is None) == (adaptation is None) and (adaptation or "") in str(found)
    with pytest.raises(ValueError, match=r"size is .46, 80.; .* takes multiples of 8\.$"):
        make("DiffusersInpaint", arguments | {"size": [46, 80]})
    monkeypatch.chdir(tmp_path)
    config = settings("DiffusersInpaint")
    Path("fit.yaml").write_text(json.dumps(config))
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.main(["fit", "--config", "fit.yaml"])
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("lit-inpaint:")]
    assert end.value.code == 2 and "DiffusersInpaint has no parameters to fit; use `lit-inpaint benchmark`" in line
