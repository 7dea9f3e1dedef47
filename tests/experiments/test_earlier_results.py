"""Results under a label are never lost to another method, sampler or weights that come by the same label."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments.evaluate.earlier import refuse_replacing
from experiments.evaluate.from_python import evaluate
from experiments.evaluate.job import Job
from experiments.evaluate.protocol import load_protocols
from experiments.run.journal import Journal
from lit_inpaint.methods import DeepFillV2
from tests.support.protocols import records, run, write_protocol

REFUSED = r"X in .*out is the result of {}, which {} would replace: give it another label, .*--overwrite replaces it"


def refused(before: str, asked: str, *arguments: object) -> None:
    with pytest.raises(ValueError, match=REFUSED.format(before, asked)):
        run(*arguments)


def test_a_label_keeps_its_results_until_overwrite_says_otherwise(photos: Path, tmp_path: Path):
    path, out = write_protocol(tmp_path, metrics=["psnr"]), tmp_path / "out"
    common = [path, "--images", photos, "--limit", 1, "--out", out, "--methods"]
    assert run(*common, "X=Telea") == 0 == run(*common, "X=Telea")
    refused("Telea", "Harmonic", *common, "X=Harmonic")
    assert [record.method.name for record in records(out).values()] == ["Telea"]
    yaml = tmp_path / "small.yaml"
    yaml.write_text("model: {class_path: PatchMatch, init_args: {radius: 1}}\n")
    refused("Telea", ".*small.yaml", *common, f"X={yaml}")
    assert run(*common, "X=Harmonic", "--overwrite") == 0
    assert [record.method.name for record in records(out).values()] == ["Harmonic"]
    assert run(*common, "Harmonic", "Y=Telea") == 0 and len(records(out)) == 3, "other labels, other records"
    with pytest.raises(ValueError, match="is the result of Harmonic, which Telea"):
        evaluate("X=Telea", path, out, images=photos, limit=1)
    assert evaluate("X=Telea", path, out, images=photos, limit=1, overwrite=True).method.name == "Telea"


def test_outputs_of_another_folder_are_other_results_and_changed_files_are_the_same_ones(photos: Path, tmp_path: Path):
    path, out = write_protocol(tmp_path, metrics=["psnr"]), tmp_path / "out"
    common = [path, "--images", photos, "--limit", 1, "--out", out, "--methods"]
    assert run(*common, "Telea", "Harmonic") == 0
    (pictures,) = (out / "images").iterdir()
    ours, theirs = shutil.copytree(pictures / "Telea", tmp_path / "ours"), pictures / "Harmonic"
    assert run(*common, f"X=outputs:{ours}") == 0
    refused(".*ours", ".*Harmonic", *common, f"X=outputs:{theirs}")
    refused(".*ours", "Telea", *common, "X=Telea")
    shutil.copytree(theirs, ours, dirs_exist_ok=True)
    assert run(*common, f"X=outputs:{ours}") == 0
    found = {key.rpartition("/")[2]: record.metrics["psnr"].mean for key, record in records(out).items()}
    assert found["X"] == found["Harmonic"] != found["Telea"]


def begun(job: Job) -> None:
    """One image is done; the sampler takes too long, and the process is killed."""
    journal = Journal(job)
    with journal.writing():
        journal.append([{"index": 0, "image": "photo0"}])


def test_hours_of_a_killed_sampler_are_not_given_up_for_another_one(photos: Path, tmp_path: Path):
    (protocol,) = load_protocols(write_protocol(tmp_path), photos, limit=2)
    job = Job("zoo:DDPM_drawn_faces64", "X", protocol, tmp_path / "out", sampler=("RePaint", "steps=50"))
    refuse_replacing([job])  # nothing is there
    begun(job)
    refuse_replacing([job])  # it resumes
    (path,) = job.journal_folder.glob("*.jsonl")
    path.write_bytes(b"{" + path.read_bytes())
    refuse_replacing([job])  # a damaged journal starts over, which is said
    path.write_bytes(path.read_bytes()[1:])
    for other, asked in (
        (replace(job, sampler=("DDNM", "steps=50")), "DDNM steps=50"),
        (replace(job, sampler=()), "its own sampler"),
        (replace(job, weights="raw"), "--weights raw"),
        (replace(job, method="Telea"), "Telea"),
    ):
        with pytest.raises(ValueError, match=f"which {asked} would replace"):
            refuse_replacing([other])


def test_a_checkpoint_that_was_trained_on_is_measured_anew_and_that_is_said(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path, out = write_protocol(tmp_path, metrics=["psnr"]), tmp_path / "out"
    one, other = (tmp_path / name / "run" / "checkpoints" / "last.ckpt" for name in "ab")
    for file in (one, other):
        module = DeepFillV2(width=8, discriminator_width=8)
        content = {"method": "DeepFillV2", "state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
        file.parent.mkdir(parents=True)
        torch.save(content, file)
    common = [path, "--images", photos, "--limit", 1, "--out", out, "--methods"]
    assert run(*common, one) == 0
    with pytest.raises(ValueError, match=r"is the result of .*/a/run/checkpoints/last.ckpt, which .*/b/run"):
        run(*common, other)
    shutil.copy(other, one)
    caplog.clear()
    with caplog.at_level("INFO"):
        assert run(*common, one) == 0
    assert "is measured anew: changed since are method" in caplog.text
    assert run(*common, other, "--batch-size", 2) == 0, "the same file, elsewhere"


def test_two_classes_of_one_name_are_two_methods(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    text = (
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def forward(self, image, mask):\n        return image\n"
    )
    for name in ("first_lab", "second_lab"):
        Path(f"{name}.py").write_text(text)
    path, out = write_protocol(tmp_path, metrics=["psnr"]), tmp_path / "out"
    common = [path, "--images", photos, "--limit", 1, "--out", out, "--methods"]
    assert run(*common, "X=first_lab.Net") == 0
    refused("first_lab.Net", "second_lab.Net", *common, "X=second_lab.Net")
