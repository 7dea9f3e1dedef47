"""Images that a network cannot take: one line instead of torch's traceback."""

import re
from types import TracebackType

import torch
from lightning import LightningModule

from lit_inpaint.checkpoints import first_line
from lit_inpaint.module import InpaintingModule
from lit_inpaint.stage import Stage

_ABOUT_SIZES = re.compile("size|shape|per channel|dimension|padding", re.IGNORECASE)


def check_size(model: LightningModule, data: object) -> None:
    """Send one batch through the networks that complete images, on the meta device, which computes shapes alone.

    Sampling methods have too many passes for that; what they and the discriminators cannot take, the first batch says.

    Raises:
        ValueError: The networks cannot take images, or batches, of the data's size.
    """
    size, batch = getattr(data, "image_size", None), getattr(data, "batch_size", None)
    if (
        not isinstance(model, InpaintingModule)
        or model.diverse
        or not (isinstance(size, int) and isinstance(batch, int))
    ):
        return
    try:
        with torch.device("meta"), torch.no_grad():
            probe = type(model)(**model.hparams).train()
            probe.predict(torch.zeros(batch, 3, size, size), torch.zeros(batch, 1, size, size))
    except (RuntimeError, ValueError, IndexError) as error:
        if "meta" not in str(error) and _ABOUT_SIZES.search(str(error)):
            raise ValueError(_refusal(model, (batch, 3, size, size), error)) from error
    except Exception:  # a method whose passes depend on values: its first batch says the same
        return


def refused_size(error: Exception) -> str | None:
    """What the first batch of a training says by an error of torch about sizes; None of any other error."""
    place: TracebackType | None = error.__traceback__
    while place is not None:
        local = place.tb_frame.f_locals
        step = place.tb_frame.f_code.co_name in ("training_step", "validation_step")
        if step and isinstance(module := local.get("self"), Stage) and "batch" in local:
            early = module.trainer.sanity_checking or module.trainer.global_step <= 1  # counted at the batch's start
            about = _ABOUT_SIZES.search(str(error)) and not isinstance(error, torch.OutOfMemoryError)
            return _refusal(module, tuple(local["batch"].image.shape), error) if early and about else None
        place = place.tb_next
    return None


def _refusal(model: LightningModule, shape: tuple[int, ...], error: Exception) -> str:
    batch, _, height, width = shape
    return (
        f"{type(model).__name__} with these arguments cannot train on images of {width}x{height} in batches of "
        f"{batch}: {first_line(error)}. Change image_size or batch_size of the data, or the method's depth and sizes."
    )
