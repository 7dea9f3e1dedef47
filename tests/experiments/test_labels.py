"""What rows are called: a label is the one that was asked for, or it is refused."""

from pathlib import Path

import pytest
import torch

from experiments.evaluate.outputs import label_sources
from lit_inpaint.labels import label_methods
from lit_inpaint.methods import DeepFillV2
from tests.support.protocols import records, run, write_protocol


def checkpoint(path: Path) -> Path:
    module = DeepFillV2(width=8, discriminator_width=8)
    content = {"method": "DeepFillV2", "state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def test_names_of_files_may_hold_an_equals_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = checkpoint(tmp_path / "run" / "checkpoints" / "epoch=3-step=99.ckpt")
    assert label_methods([str(path)], "ema") == {str(path): "DeepFillV2-run-epoch=3-step=99"}
    assert label_methods([f"Mine={path}"], "ema") == {str(path): "Mine"}
    with pytest.raises(ValueError, match=f"{tmp_path}/run/checkpoints/epoch=4-step=99.ckpt"):
        label_methods([str(path.with_name("epoch=4-step=99.ckpt"))], "ema")
    monkeypatch.chdir(path.parent)
    assert list(label_methods([path.name], "ema")) == [path.name]
    for missing in ("epoch=3.ckpt", "net-step=7.ckpt", "epoch=3-val_loss=0.12.ckpt"):
        with pytest.raises(ValueError, match=f"There is no checkpoint {missing}"):
            label_methods([missing], "ema")


def test_a_label_is_kept_as_it_is_or_refused(photos: Path, tmp_path: Path):
    common = [write_protocol(tmp_path, metrics=["psnr"]), "--images", photos, "--limit", 1, "--out", tmp_path / "out"]
    assert run(*common, "--methods", "Ours (v2)=Telea", "a@1+b, c=Harmonic", "--baseline", "Ours (v2)") == 0
    assert sorted(record.label for record in records(tmp_path / "out").values()) == ["Ours (v2)", "a@1+b, c"]
    for label in ("Ours/v2", "Ours:v2", "Ours*"):
        with pytest.raises(ValueError, match=r"expected letters, digits|is neither a file nor a method"):
            label_methods([f"{label}=Telea"], "ema")
    (tmp_path / "made [v2]").mkdir()
    assert list(label_sources([f"outputs:{tmp_path / 'made [v2]'}"], "ema").values()) == ["made _v2_"]
    with pytest.raises(ValueError, match="the label 'X:1' has a ':' in it"):
        label_sources([f"X:1=outputs:{tmp_path / 'made [v2]'}"], "ema")


def test_the_home_folder_behind_a_label_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = checkpoint(tmp_path / "net.ckpt")
    assert label_methods(["X=~/net.ckpt"], "ema") == {str(path): "X"}
    (tmp_path / "made").mkdir()
    assert label_sources(["X=outputs:~/made"], "ema") == {f"outputs:{tmp_path / 'made'}": "X"}
