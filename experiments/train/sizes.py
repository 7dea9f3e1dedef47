"""Report image sizes that a network does not support, instead of torch's traceback."""

import re
from inspect import signature
from types import TracebackType
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities import rank_zero_warn

from lit_inpaint.checkpoints import first_line
from lit_inpaint.module import InpaintingModule
from lit_inpaint.stage import Stage
from masks.size import by_name, sides

_ABOUT_SIZES = re.compile("size|shape|per channel|dimension|padding", re.IGNORECASE)


def check_size(model: LightningModule, data: object, world: int = 1) -> None:
    """Send a batch through the networks that complete images, on the meta device, which only computes shapes, and one
    as small as the last of an epoch on ``world`` processes.

    A network of another size than the data, which it would train on all the same, is told of in one line.

    Sampling methods need too many passes for that; for them and for discriminators, the first batch reveals errors.

    Raises:
        ValueError: The networks do not support images or batches of this size.
    """
    channels, own = getattr(data, "channels", 3), getattr(model, "channels", 3)
    if channels != own and getattr(model, "trainable", True):
        takes = "channels" in signature(type(model)).parameters and isinstance(model, InpaintingModule)
        advice = (
            "Give both the same" if takes else "It has no variant for grey images; `lit-inpaint methods` says which do"
        )
        raise ValueError(f"the data has channels {channels}, {type(model).__name__} {own}. {advice}.")
    given: Any = getattr(data, "image_size", None)
    batch: Any = getattr(data, "batch_size", None)
    whole = isinstance(given, int | tuple) and isinstance(batch, int)
    if not isinstance(model, InpaintingModule) or not whole:
        return
    size = sides(given)
    if model.fixed_size and sides(model.fixed_size) != size:
        rank_zero_warn(
            f"{type(model).__name__} completes images of {by_name(model.fixed_size)}, the data has {by_name(size)}: "
            "validation and test crop or resize them. Make the two sizes equal."
        )
    if model.diverse:
        return
    for images in (batch, _last_batch(data, batch, world)):
        try:
            with torch.device("meta"), torch.no_grad():
                probe = type(model)(**model.hparams).train()
                probe.predict(torch.zeros(images, own, *size), torch.zeros(images, 1, *size))
        except (RuntimeError, ValueError, IndexError) as error:
            if "meta" not in str(error) and _ABOUT_SIZES.search(str(error)):
                raise ValueError(_refusal(model, (images, 3, *size), error, batch)) from error
        except Exception:  # a method whose passes depend on values: its first batch says the same
            return


def _last_batch(data: Any, batch: int, world: int) -> int:
    """Images in a process's last batch of an epoch."""
    if getattr(data, "drop_last", True) or not hasattr(data, "training_set"):
        return batch
    return len(data.training_set()) // world % batch or batch


def refused_size(error: Exception) -> str | None:
    """Message for a torch size error in the first training batch; None for any other error."""
    place: TracebackType | None = error.__traceback__
    while place is not None:
        local = place.tb_frame.f_locals
        step, module = place.tb_frame.f_code.co_name, local.get("self")
        if step in ("training_step", "validation_step") and isinstance(module, Stage) and "batch" in local:
            shape, trainer = tuple(local["batch"].image.shape), module.trainer
            whole = getattr(getattr(trainer, "datamodule", None), "batch_size", 1)
            early = trainer.sanity_checking or trainer.global_step <= 1  # counted at the batch's start
            early = early or (step == "training_step" and shape[0] < whole)
            about = _ABOUT_SIZES.search(str(error)) and not isinstance(error, torch.OutOfMemoryError)
            return _refusal(module, shape, error, whole) if early and about else None
        place = place.tb_next
    return None


def _refusal(model: LightningModule, shape: tuple[int, ...], error: Exception, whole: int) -> str:
    """What to change; a batch smaller than ``whole`` is an epoch's last."""
    batch, _, height, width = shape
    last = "drop_last (to true), " if batch < whole else ""
    return (
        f"{type(model).__name__} with these arguments cannot train on images of {width}x{height} in batches of "
        f"{batch}: {first_line(error).rstrip('.')}. Change {last}image_size or batch_size of the data, or the method's "
        "depth and sizes."
    )
