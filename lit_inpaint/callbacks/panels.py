"""Panels of a few fixed validation images: input, prediction, composite, truth and the error in the hole."""

import io
from itertools import count
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lit_inpaint.metrics import psnr_hole
from lit_inpaint.module import InpaintingModule
from masks.atomic import whole
from masks.convention import composite, erase, in_three, to_pixels

COLUMNS = ("input", "prediction", "composite", "truth", "hole error")
FULL_SCALE = 0.5  # error, of 1, that is painted brightest: the same in every panel, so that steps can be compared
_RAMP = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float32)


class Panels(L.Callback):
    """After each validation, complete the same images and show them: one PNG per step, and W&B's ``val/panels``.

    The images are spread evenly over the validation set and never change; W&B's own step is not ours, so the step
    stands in every caption. The network of the validation is used, averaged where :class:`EMA` averages. Errors
    are reported once and never stop training.

    >>> Panels(samples=4, every=2).state_dict()
    {'validations': 0}

    Args:
        samples: Images shown.
        every: Validations from one panel to the next.
    """

    def __init__(self, samples: int = 8, every: int = 1) -> None:
        if samples < 1 or every < 1:
            raise ValueError(f"samples is {samples} and every is {every}; expected at least 1 of each.")
        self.samples, self.every = samples, every
        self._validations = 0
        self._said: set[str] = set()

    def state_dict(self) -> dict[str, int]:
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._validations = state_dict["validations"]

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking or not isinstance(pl_module, InpaintingModule):
            return
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return  # it leaves no trace
        self._validations += 1
        if (self._validations - 1) % self.every or not trainer.is_global_zero:
            return
        try:
            rows, captions = self._rows(trainer, pl_module)
        except Exception as error:
            return self._warn("no panel could be made", error)
        try:
            folder = Path(trainer.default_root_dir) / "panels"
            _write_png(sheet(rows, captions), _free(folder / f"step-{trainer.global_step}.png"))
        except Exception as error:
            self._warn("the panel could not be written", error)
        for logger in trainer.loggers:
            try:
                show(logger, rows, captions, trainer.global_step)
            except Exception as error:
                self._warn(f"{type(logger).__name__} rejected the panel", error)

    def _rows(self, trainer: L.Trainer, module: InpaintingModule) -> tuple[list[NDArray[np.uint8]], list[str]]:
        """One strip of pictures and one caption per image."""
        loader: Any = trainer.val_dataloaders
        dataset = (loader[0] if isinstance(loader, list | tuple) else loader).dataset
        indices = np.unique(np.linspace(0, len(dataset) - 1, self.samples).round().astype(int)).tolist()
        seen = next((c.images_seen for c in trainer.callbacks if hasattr(c, "images_seen")), None)  # type: ignore[attr-defined]
        when = f"step {trainer.global_step}" + (f", {seen} images seen" if seen is not None else "")
        rows, captions = [], []
        for index in indices:
            sample = dataset[index]
            image, mask = sample.image[None].to(module.device), sample.mask[None].to(module.device)
            with torch.no_grad(), trainer.precision_plugin.forward_context():
                prediction, inpainted = complete(module, image, mask, str(sample.name))
            rows.append(strip(image, mask, prediction, inpainted))
            decibel = psnr_hole(inpainted.float(), image, mask).item()
            captions.append(f"{sample.name}, {when}, {decibel:.2f} dB in the hole")
        return rows, captions

    def _warn(self, what: str, error: Exception) -> None:
        if what not in self._said:
            self._said.add(what)
            rank_zero_warn(
                f"Panels: {what} ({type(error).__name__}: {' '.join(str(error).split())[:160]}); training continues."
            )


def show(logger: Any, rows: list[NDArray[np.uint8]], captions: list[str], step: int) -> None:
    """The panel as ``val/panels``, by what the logger or its own client offers: W&B, TensorBoard, MLflow."""
    client: Any = getattr(logger, "experiment", None)
    if hasattr(logger, "log_image"):
        logger.log_image("val/panels", [Image.fromarray(row) for row in rows], caption=captions)
    elif hasattr(client, "add_image"):
        client.add_image("val/panels", np.asarray(sheet(rows, captions)), step, dataformats="HWC")
    elif hasattr(client, "log_image") and hasattr(logger, "run_id"):  # Comet's takes other arguments
        client.log_image(logger.run_id, sheet(rows, captions), key="val/panels", step=step)


def complete(module: InpaintingModule, image: Tensor, mask: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """The raw prediction for the whole image, and the composite.

    Both are the composite if the network adapts the image's size and has no full prediction.
    """
    guides = module.draws(0, [name])
    if module.takes(*image.shape[-2:]):
        prediction = module.predict(image, mask, **guides).clamp(-1, 1)
        return prediction, composite(prediction, image, mask)
    inpainted = module.complete_unchecked(image, mask, **guides)
    return inpainted, inpainted


def strip(image: Tensor, mask: Tensor, prediction: Tensor, inpainted: Tensor) -> NDArray[np.uint8]:
    """The five pictures of one image, (1, C, H, W) each, side by side: (H, 5 W + gaps, 3)."""
    pictures = [to_pixels(in_three(x)[0]) for x in (erase(image, mask), prediction, inpainted, image)]
    pictures.append(hole_error(inpainted, image, mask))
    gap = np.full((image.shape[-2], 2, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)


def hole_error(inpainted: Tensor, image: Tensor, mask: Tensor) -> NDArray[np.uint8]:
    """Mean absolute error over the colours, black to yellow at ``FULL_SCALE``, in the hole; grey elsewhere."""
    error = (inpainted.float() - image).abs().mean(1)[0].div(2 * FULL_SCALE).clamp(0, 1).cpu().numpy()
    stops = np.linspace(0, 1, len(_RAMP))
    painted = np.stack([np.interp(error, stops, _RAMP[:, channel]) for channel in range(3)], axis=-1)
    return np.where(mask[0, 0].cpu().numpy()[..., None] == 1, painted.round(), 96).astype(np.uint8)


def sheet(rows: list[NDArray[np.uint8]], captions: list[str]) -> Image.Image:
    """All strips below each other, small ones enlarged, with the names of the columns and a caption above each row."""
    times = max(1, round(160 / rows[0].shape[0]))
    rows = [row.repeat(times, 0).repeat(times, 1) for row in rows]
    font, bar = ImageFont.load_default(13), 22
    page = Image.new("RGB", (rows[0].shape[1], bar + sum(bar + row.shape[0] for row in rows)), "white")
    draw = ImageDraw.Draw(page)
    for index, column in enumerate(COLUMNS):
        draw.text((4 + index * (page.width + 2 * times) // len(COLUMNS), 4), column, "black", font)
    top = bar
    for row, caption in zip(rows, captions, strict=True):
        draw.text((4, top + 4), caption, "dimgray", font)
        page.paste(Image.fromarray(row), (0, top + bar))
        top += bar + row.shape[0]
    return page


def _free(path: Path) -> Path:
    """``path``, or step-8-1.png, step-8-2.png, ...: a restart from before it overwrites no panel."""
    copies = (path.with_stem(f"{path.stem}-{n}") for n in count(1))
    return path if not path.exists() else next(copy for copy in copies if not copy.exists())


def _write_png(page: Image.Image, path: Path) -> None:
    content = io.BytesIO()
    page.save(content, "PNG")
    with whole(path) as part:
        part.write_bytes(content.getvalue())
