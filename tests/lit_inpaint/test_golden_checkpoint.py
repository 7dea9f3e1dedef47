"""Checkpoints load without running code; one written by 0.1.0 loads, resumes and gives the same next loss.

tests/fixtures/golden_partial_conv.ckpt: ``killing.settings`` of PartialConv(levels=2, width=2) without VGG, two steps,
seed 0, Lightning 2.6.6, torch 2.15.0.
"""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.datamodule import TrainingLoader
from experiments import cli
from experiments.train.from_checkpoint import load_weights
from lit_inpaint.callbacks import EMA, Health, Restart, Throughput
from lit_inpaint.load import load_method, read_checkpoint
from lit_inpaint.methods import PartialConv
from tests.support.contract import batches, trainer

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden_partial_conv.ckpt"


def test_the_golden_checkpoint_completes_the_same_image():
    (batch,) = batches(1)
    with torch.no_grad():
        averaged, raw = (load_method(GOLDEN, weights=which)(batch.image, batch.mask) for which in ("ema", "raw"))
    hole = batch.mask.expand_as(raw) == 1
    assert averaged[hole].mean().item() == pytest.approx(-0.511614, abs=1e-5)
    assert raw[hole].mean().item() == pytest.approx(-0.514208, abs=1e-5)


def test_the_golden_checkpoint_goes_on_with_the_same_next_loss(tmp_path: Path):
    method = PartialConv(levels=2, width=2, perceptual_weight=0, style_weight=0)
    callbacks = [Throughput(), Health(), EMA(0.9), Restart()]
    run = trainer(tmp_path, max_steps=3, callbacks=callbacks, enable_checkpointing=True)
    run.fit(method, TrainingLoader(batches(4).dataset, batch_size=2), ckpt_path=GOLDEN)
    assert (run.global_step, method.generator_updates) == (3, 3)
    assert run.callback_metrics["images_seen"] == 6
    assert run.callback_metrics["train/loss"].item() == pytest.approx(2.03916, rel=1e-5)
    assert read_checkpoint(tmp_path / "checkpoints/last.ckpt")["global_step"] == 3


def test_init_from_names_every_misfit_and_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    wider = PartialConv(levels=3, width=2, perceptual_weight=0, style_weight=0)
    with pytest.raises(ValueError, match=r"init_args\.levels is 3, but the weights of .* were made with 2"):
        load_weights(wider, GOLDEN)
    with pytest.raises(SystemExit) as end:
        cli.main(["fit", "--model", "PartialConv", "--data", "SamplePhotos", "--init_from", str(tmp_path / "no.ckpt")])
    assert end.value.code == 2


def test_a_pickle_that_runs_code_is_refused_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    marker = tmp_path / "marker"

    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (marker,))

    torch.save({"method": "PartialConv", "state_dict": {}, "hyper_parameters": Bomb()}, "bomb.ckpt")
    Path("plain.ckpt").write_bytes(pickle.dumps(Bomb()))
    for name in ("bomb.ckpt", "plain.ckpt"):
        for option in ("--ckpt_path", "--init_from"):
            argv = [
                "fit",
                "--model",
                "PartialConv",
                "--data",
                "SamplePhotos",
                "--data.init_args.mask",
                "CenterRectangle",
            ]
            with pytest.raises(SystemExit) as end:
                cli.main([*argv, option, name])
            assert end.value.code == 2 and "none of its code was run" in capsys.readouterr().err
    run = trainer(tmp_path, max_steps=1)
    with pytest.raises(ValueError, match=r"bomb\.ckpt cannot be read .*none of its code was run"):
        run.fit(PartialConv(levels=2, width=2), batches(1), ckpt_path="bomb.ckpt")
    assert not marker.exists()
