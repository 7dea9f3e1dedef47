"""A LightningModule that is none of ours trains, resumes and validates like one that is."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from experiments.cli import main
from lit_inpaint import plugins
from masks.convention import InpaintingBatch
from tests.support.small_fits import SMALL_FIT

LAST = Path("run/checkpoints/last.ckpt")


class Tint(L.LightningModule):
    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr, self.colour = lr, torch.nn.Parameter(torch.zeros(3, 1, 1))

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> Tensor:
        return (batch.image - self.colour).square().mean()

    def validation_step(self, batch: InpaintingBatch, batch_idx: int) -> None:
        self.log("val/loss", (batch.image - self.colour).square().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), self.lr)


class Other(Tint):
    pass


def fit(*argv: str, command: str = "fit", root: str = "run", model: str = "Tint", steps: int = 4) -> int:
    length = ["--trainer.max_steps", str(steps)] if command == "fit" else []
    place = ["--trainer.default_root_dir", root]
    epoch = ["--data.init_args.samples_per_epoch", "6"]
    words = [command, "--model", f"{__name__}.{model}", *SMALL_FIT, *epoch, *place, *length, *argv]
    with pytest.raises(SystemExit) as end:
        main(words)
    return int(end.value.code or 0)


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv(plugins.VARIABLE, "")  # --model adds this module, for this test only


def trained(root: str) -> Any:
    content = torch.load(Path(root, "checkpoints/last.ckpt"), weights_only=True)
    return content["global_step"], content["state_dict"]["colour"].flatten().tolist()


def test_it_resumes_where_it_stopped_by_auto_and_by_name(capsys: pytest.CaptureFixture[str]):
    assert fit(root="whole") == fit(steps=1) == 0
    assert fit("--ckpt_path", "auto", steps=2) == fit("--ckpt_path", str(LAST)) == 0
    assert trained("run") == trained("whole") and trained("run")[0] == 4
    assert "Resumes at step 1 of 2" in capsys.readouterr().err
    assert fit("--ckpt_path", str(LAST), command="validate") == 0 and "val/loss" in capsys.readouterr().out


def test_it_resumes_only_as_what_it_was(capsys: pytest.CaptureFixture[str]):
    assert fit(steps=1) == 0
    assert fit("--ckpt_path", "auto", model="Other") == 2
    assert "last.ckpt holds a Tint, but the configuration has Other." in capsys.readouterr().err
    assert fit("--ckpt_path", "auto", "--model.init_args.lr", "0.2") == 2
    assert "lr is 0.2, but" in capsys.readouterr().err and trained("run")[0] == 1
    assert fit("--ckpt_path", "auto", "--model.init_args.lr", "0.2", "--allow-changes", steps=2) == 0
    with pytest.raises(SystemExit):
        main(["validate", "--model", "DeepFillV2", *SMALL_FIT, "--ckpt_path", str(LAST)])
    assert "is not a checkpoint written by lit-inpaint" in capsys.readouterr().err


def test_settings_that_do_not_suit_the_length_of_an_epoch_are_one_line(capsys: pytest.CaptureFixture[str]):
    at_odds = ["--trainer.val_check_interval", "1000", "--trainer.check_val_every_n_epoch", "2"]
    assert fit(*at_odds) == 2
    assert "val_check_interval` (1000) must be less than or equal" in capsys.readouterr().err.splitlines()[-1]
