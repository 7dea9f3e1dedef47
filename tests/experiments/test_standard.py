"""What every run keeps, whatever a user configures: checkpoints, curves, listing; and W&B's own variables."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
import yaml
from PIL import Image

from datamodules import SamplePhotos
from experiments import cli
from experiments.run import Run
from experiments.run.loggers import RunWandbLogger
from experiments.train.config import global_batch
from lit_inpaint.callbacks import Restart
from lit_inpaint.callbacks.panels import show
from lit_inpaint.load import read_checkpoint
from lit_inpaint.methods import DeepFillV2
from masks import CenterRectangle

SMALL = [
    "fit", "--model=DeepFillV2", "--model.width=4", "--model.discriminator_width=4",
    "--data=SamplePhotos", "--data.mask=CenterRectangle", "--data.image_size=32", "--data.batch_size=2",
    "--data.num_workers=0", "--data.eval_repeats=1", "--trainer.max_steps=6", "--trainer.accelerator=cpu",
    "--trainer.num_sanity_val_steps=0", "--trainer.log_every_n_steps=1", "--trainer.enable_model_summary=false",
    "--trainer.limit_val_batches=1",
]  # fmt: skip


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")


def fit(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main([*SMALL, *words])
    return int(end.value.code or 0)


class Crash(L.Callback):
    """As a kill would: nothing more is saved."""

    at: int | None = None

    def on_train_batch_start(self, trainer: L.Trainer, *arguments: Any) -> None:
        if trainer.global_step == self.at:
            raise RuntimeError("crashed on purpose")


def weights(folder: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = read_checkpoint(Path(folder, "checkpoints/last.ckpt"))["state_dict"]
    return state


def test_a_user_s_own_callbacks_and_logger_add_to_the_standard_ones():
    """Lightning replaces the list: no checkpoint, no status, no curves. The logger is one of the user's own class."""
    settings = {"callbacks": [{"class_path": f"{__name__}.Named"}], "logger": {"class_path": f"{__name__}.Quiet"}}
    Path("own.yaml").write_text(yaml.safe_dump({"trainer": settings}))
    assert fit("--config=own.yaml", "--trainer.default_root_dir=run") == 0
    assert read_checkpoint(Path("run/checkpoints/last.ckpt"))["global_step"] == 6
    assert json.loads(Path("run/status.json").read_text())["state"] == "finished"
    assert Run(Path("run")).history.curves["train/generator_loss"]
    saved = yaml.safe_load(Path("run/config.yaml").read_text())["trainer"]
    names = [entry["class_path"].rpartition(".")[2] for entry in saved["callbacks"]]
    assert names.count("Named") == names.count("Restart") == names.count("ModelCheckpoint") == 1
    assert [entry["class_path"].rpartition(".")[2] for entry in saved["logger"]] == ["SegmentedCSVLogger", "Quiet"]
    assert "run" not in str(saved["callbacks"])  # the folder may be renamed
    bar = "--trainer.callbacks=lightning.pytorch.callbacks.TQDMProgressBar"  # a run has one
    assert fit(bar, "--trainer.default_root_dir=bar", "--trainer.max_steps=1") == 0
    flags = "--trainer.enable_progress_bar=false", "--trainer.enable_checkpointing=false"
    assert fit("--config=own.yaml", *flags, "--trainer.default_root_dir=off", "--trainer.max_steps=1") == 0
    assert not Path("off/checkpoints").exists()
    assert fit("--trainer.default_root_dir=none", "--trainer.callbacks=[]", "--trainer.logger=false") == 0
    assert not Path("none/metrics.csv").exists() and not Path("none/status.json").exists()


class Named(L.Callback):
    pass


class Quiet(L.pytorch.loggers.CSVLogger):
    def __init__(self) -> None:
        super().__init__("quiet")


def test_a_run_is_saved_by_the_clock_and_resumes_bit_for_bit(monkeypatch: pytest.MonkeyPatch):
    """ModelCheckpoint's interval of 5000 batches never comes."""
    clock = {"class_path": "lit_inpaint.callbacks.Restart", "init_args": {"minutes": 1e-9}}
    crash = {"class_path": f"{__name__}.Crash"}
    Path("clock.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [clock, crash]}}))
    monkeypatch.setattr(Crash, "at", 4)
    with pytest.raises(RuntimeError, match="crashed on purpose"):
        cli.main([*SMALL, "--config=clock.yaml", "--trainer.default_root_dir=run"])
    assert read_checkpoint(Path("run/checkpoints/last.ckpt"))["global_step"] == 4
    monkeypatch.setattr(Crash, "at", None)
    assert fit("--config=clock.yaml", "--trainer.default_root_dir=run", "--ckpt_path=auto") == 0
    assert fit("--trainer.default_root_dir=whole") == 0
    found, expected = weights("run"), weights("whole")
    assert found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in found)


def test_the_clock_writes_one_file_without_a_model_checkpoint_too(tmp_path: Path):
    data = SamplePhotos(CenterRectangle(), image_size=32, batch_size=2, num_workers=0)
    trainer = L.Trainer(
        default_root_dir=tmp_path, accelerator="cpu", max_steps=4, callbacks=[Restart(minutes=1e-9)], logger=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(DeepFillV2(width=4, discriminator_width=4), datamodule=data)
    assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]


def test_val_check_interval_alone_counts_the_batches_of_the_run():
    """An epoch has 4 batches: Lightning wants check_val_every_n_epoch: null beside an interval above that."""
    assert fit("--trainer.default_root_dir=run", "--trainer.val_check_interval=5") == 0
    points = Run(Path("run")).history.curves["val/psnr_hole"]
    assert [seen for seen, _ in points] == [10]


def test_the_variables_of_wandb_are_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    before = RunWandbLogger(str(tmp_path / "run"))
    assert (before._wandb_init["project"], before._wandb_init["name"]) == ("lit-inpaint", "run")
    for name, value in {"PROJECT": "lab", "NAME": "a night", "DIR": str(tmp_path / "elsewhere")}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    logger = RunWandbLogger(str(tmp_path / "run"))
    (tmp_path / "elsewhere").mkdir()
    run = logger.experiment
    try:
        assert (run.project, run.name) == ("lab", "a night")
        assert Path(run.dir).is_relative_to(tmp_path / "elsewhere")
        assert (tmp_path / "run/wandb_id.txt").read_text().strip() == run.id  # stays with the run
    finally:
        run.finish()
    assert RunWandbLogger(str(tmp_path / "run"), project="given")._wandb_init["project"] == "given"


class Own(L.LightningDataModule):
    """Without ``batch_size``: its loader knows it."""

    def __init__(self, rows: int = 3) -> None:
        super().__init__()
        self.rows = rows
        self.photos = SamplePhotos(CenterRectangle(), image_size=32, batch_size=rows, num_workers=0)

    def setup(self, stage: str) -> None:
        self.photos.setup(stage)

    def train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(self.photos.train_dataloader().dataset, self.rows)


class Mixed(Own):
    """Two loaders, whose batches are trained on together."""

    def train_dataloader(self) -> Any:
        return {"photographs": super().train_dataloader(), "drawings": super().train_dataloader()}


class Unknown(Own):
    """Batches that come ready out of the data set: no loader knows their size."""

    def train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(self.photos.train_dataloader().dataset, batch_size=None)


def test_the_global_batch_of_a_data_module_of_one_s_own_is_that_of_its_loader():
    words = ["--data", f"{__name__}.Own", "--trainer.max_steps=1", "--trainer.default_root_dir=run"]
    small = [word for word in SMALL if not word.startswith("--data")]
    with pytest.raises(SystemExit) as end:
        cli.main([*small, "--model.accumulate=2", *words])
    assert end.value.code == 0
    assert json.loads(Path("run/run.json").read_text())["global_batch"] == 3 * 2


@pytest.mark.parametrize(("data", "expected"), [(Own, 3), (Mixed, 6), (Unknown, None)])
def test_the_global_batch_counts_all_loaders_and_is_unknown_where_none_says_it(data: Any, expected: int | None):
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.datamodule = data()  # type: ignore[attr-defined]
    trainer.datamodule.setup("fit")  # type: ignore[attr-defined]
    assert global_batch(trainer, DeepFillV2(width=4, discriminator_width=4)) == expected


def test_panels_reach_tensorboard(tmp_path: Path):
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = L.pytorch.loggers.TensorBoardLogger(str(tmp_path), name="tensorboard", version="")
    row = torch.randint(0, 256, (32, 168, 3), dtype=torch.uint8).numpy()
    show(logger, [row], ["photo, step 7"], 7)
    logger.finalize("success")
    events = EventAccumulator(logger.log_dir, size_guidance={"images": 0})
    events.Reload()
    (event,) = events.Images("val/panels")
    assert event.step == 7 and event.width == 168 * 5


def test_panels_reach_mlflow(tmp_path: Path):
    mlflow = pytest.importorskip("mlflow", reason="pip install mlflow")
    logger = L.pytorch.loggers.MLFlowLogger(
        tracking_uri=f"sqlite:///{tmp_path}/runs.db", artifact_location=str(tmp_path)
    )
    show(logger, [torch.zeros(32, 168, 3, dtype=torch.uint8).numpy()], ["photo, step 7"], 7)
    assert mlflow and any(Image.open(path).size[0] == 168 * 5 for path in tmp_path.rglob("*.png"))


def test_a_client_whose_log_image_is_not_that_of_mlflow_is_left_alone():
    """Comet's is log_image(image_data, name=...), its logger has no run_id; the panel is a file of the run folder."""
    calls: list[Any] = []
    comet = SimpleNamespace(experiment=SimpleNamespace(log_image=lambda *args, **kwargs: calls.append(args)))
    show(comet, [torch.zeros(32, 168, 3, dtype=torch.uint8).numpy()], ["photo, step 7"], 7)
    assert not calls
    comet.run_id = "r0"
    show(comet, [torch.zeros(32, 168, 3, dtype=torch.uint8).numpy()], ["photo, step 7"], 7)
    assert calls[0][0] == "r0"


def test_a_logger_whose_package_is_missing_is_one_line(capsys: pytest.CaptureFixture[str]):
    assert fit("--trainer.logger=CometLogger", "--trainer.default_root_dir=run") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lit-inpaint:")]
    assert "CometLogger needs a package" in line and "pip install" in line and "comet-ml" in line
    assert not os.path.exists("run")
