"""Image panels: the same samples at each validation, what their names say, and no run lost to them."""

import warnings
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import Logger
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from experiments.run.loggers import RunWandbLogger
from lit_inpaint.callbacks import Panels
from lit_inpaint.callbacks.panels import FULL_SCALE, hole_error, strip
from lit_inpaint.module import InpaintingModule
from masks.convention import InpaintingBatch


class Constant(InpaintingModule):
    """Fills with one number, which it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Linear(1, 1)

    def fill(self, erased: Tensor, mask: Tensor, **guides: Any) -> Tensor:
        return self.generator.bias.expand_as(erased).contiguous()

    def training_step(self, batch: InpaintingBatch, batch_idx: int) -> Tensor:
        loss = (self.predict(batch.image, batch.mask) - batch.image).abs().mean()
        with self.optimise(self.optimizers()) as minimise:  # type: ignore[arg-type]
            minimise(loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Recorder(Logger):
    """Remembers what it is given; ``broken`` raises instead."""

    name, version = "recorder", 0

    def __init__(self, broken: bool = False) -> None:
        super().__init__()
        self.broken, self.images = broken, []  # type: ignore[var-annotated]

    def log_metrics(self, *args: Any, **kwargs: Any) -> None: ...

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...

    def log_image(self, key: str, images: list[Any], caption: list[str]) -> None:
        if self.broken:
            raise OSError("no network")
        self.images.append((key, images, caption))


def fit(
    folder: Path,
    *loggers: Any,
    module: InpaintingModule | None = None,
    steps: int = 4,
    every: int = 1,
    checkpoint: Path | None = None,
) -> L.Trainer:
    items = []
    for i in range(9):
        image, mask = torch.full((3, 16, 16), i / 10), torch.zeros(1, 16, 16)
        mask[:, 4:8, 4:8] = 1
        items.append(InpaintingBatch(image, mask, f"image-{i}"))
    trainer = L.Trainer(
        default_root_dir=folder, logger=list(loggers), callbacks=[Panels(samples=3, every=every)], max_steps=steps,
        val_check_interval=2, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        accelerator="cpu", devices=1,
    )  # fmt: skip
    trainer.fit(
        module or Constant(), DataLoader(items, batch_size=2), DataLoader(items, batch_size=2), ckpt_path=checkpoint
    )
    return trainer


def test_every_validation_shows_the_same_images_with_the_step_in_the_caption(tmp_path: Path) -> None:
    recorder = Recorder()
    fit(tmp_path, recorder)
    assert [key for key, _, _ in recorder.images] == ["val/panels"] * 2
    names = [[line.split(",")[0] for line in captions] for _, _, captions in recorder.images]
    assert names == [["image-0", "image-4", "image-8"]] * 2  # spread over the nine images
    assert [captions[0].split(", ")[1] for _, _, captions in recorder.images] == ["step 2", "step 4"]
    assert sorted(path.name for path in (tmp_path / "panels").iterdir()) == ["step-2.png", "step-4.png"]


def test_every_counts_on_over_a_resume(tmp_path: Path) -> None:
    trainer = fit(tmp_path, every=2)  # validates at 2 and 4: a panel of the first
    trainer.save_checkpoint(tmp_path / "4.ckpt")
    fit(tmp_path, every=2, steps=7, checkpoint=tmp_path / "4.ckpt")  # the third validation, in the next epoch
    assert sorted(path.name for path in (tmp_path / "panels").iterdir()) == ["step-2.png", "step-7.png"]
    trainer = fit(tmp_path / "b", every=2, steps=2)
    trainer.save_checkpoint(tmp_path / "2.ckpt")
    fit(tmp_path / "b", every=2, steps=4, checkpoint=tmp_path / "2.ckpt")  # the second: none
    assert [path.name for path in (tmp_path / "b/panels").iterdir()] == ["step-2.png"]


def test_a_second_run_in_the_folder_overwrites_no_panel(tmp_path: Path) -> None:
    fit(tmp_path, steps=2)
    first = (tmp_path / "panels" / "step-2.png").read_bytes()
    fit(tmp_path, module=Constant(), steps=2)
    assert (tmp_path / "panels" / "step-2.png").read_bytes() == first
    assert (tmp_path / "panels" / "step-2-1.png").is_file()


def test_a_logger_that_fails_is_named_once_and_training_goes_on(tmp_path: Path) -> None:
    recorder = Recorder()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trainer = fit(tmp_path, Recorder(broken=True), recorder)
    assert trainer.global_step == 4
    assert len(recorder.images) == 2  # the logger after the broken one has its panels
    told = [str(w.message) for w in said if "Panels" in str(w.message)]
    assert told == ["Panels: Recorder rejected the panel (OSError: no network); training continues."]


def test_a_network_that_cannot_complete_the_samples_does_not_stop_training(tmp_path: Path) -> None:
    class Fails(Constant):
        def fill(self, erased: Tensor, mask: Tensor, **guides: Any) -> Tensor:
            if len(erased) == 1 and not self.training and self.trainer.state.fn == "fit" and erased[0, 0, 0, 0] == 0.8:
                raise RuntimeError("out of memory")
            return super().fill(erased, mask)

        def _evaluate(self, batch: InpaintingBatch) -> Tensor:
            return batch.image

    with pytest.warns(UserWarning, match="no panel could be made .RuntimeError: out of memory"):
        assert fit(tmp_path, module=Fails()).global_step == 4
    assert not (tmp_path / "panels").exists()


def test_a_folder_that_cannot_be_written_does_not_stop_training(tmp_path: Path) -> None:
    (tmp_path / "panels").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="the panel could not be written"):
        assert fit(tmp_path).global_step == 4


def test_the_five_pictures_are_input_prediction_composite_truth_and_error() -> None:
    image, prediction = torch.full((1, 3, 4, 4), 1.0), torch.full((1, 3, 4, 4), 0.0)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    inpainted = torch.where(mask == 1, prediction, image)
    pictures = strip(image, mask, prediction, inpainted)
    assert pictures.shape == (4, 5 * 4 + 4 * 2, 3)
    left, right = pictures[0, 0::6, 0], pictures[0, 3::6, 0]  # one pixel of the hole, one known, of each picture
    assert left[:4].tolist() == [128, 128, 128, 255]
    assert right[:4].tolist() == [255, 128, 255, 255]
    assert pictures[0, 24].tolist() == [252, 255, 164]  # an error of 1 of 2 is FULL_SCALE: the brightest
    assert pictures[0, 27].tolist() == [96, 96, 96]


def test_the_error_is_painted_on_a_fixed_scale() -> None:
    """A quarter of the scale is the second of five colours, whatever the other errors are."""
    image, mask = torch.zeros(1, 3, 1, 2), torch.ones(1, 1, 1, 2)
    inpainted = torch.tensor([2 * FULL_SCALE / 4, 0.0]).expand(1, 3, 1, 2)
    assert hole_error(inpainted, image, mask)[0].tolist() == [[87, 16, 110], [0, 0, 4]]


def test_wandb_offline_holds_the_panels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = RunWandbLogger(str(tmp_path))
    fit(tmp_path, logger, steps=2)
    logger.experiment.finish()
    pictures = list(tmp_path.glob("wandb/offline-run-*/files/media/images/val/panels_*.png"))
    assert len(pictures) == 3
    assert np.asarray(Image.open(pictures[0])).shape[:2] == (16, 5 * 16 + 4 * 2)
