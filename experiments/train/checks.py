"""Check for errors that Lightning would report with a traceback or in the middle of a run."""

import os
import re
import traceback
from collections.abc import Iterable

from jsonargparse import Namespace
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from experiments.cli import is_mistake
from experiments.run.place import moved
from experiments.train.config import validated
from lit_inpaint.callbacks import ValMetrics
from lit_inpaint.causes import problem
from lit_inpaint.logged import never_logged, worse_end
from lit_inpaint.stage import Stage


def check_flags(trainer: Namespace, model: LightningModule) -> None:
    """Reject Trainer flags for automatic optimisation, and name the corresponding argument of the method.

    Raises:
        ValueError: ``trainer`` is the configuration's part of that name.
    """
    if model.automatic_optimization:
        return
    why = f"but {type(model).__name__} steps its optimisers itself (manual optimisation)"
    if trainer.get("accumulate_grad_batches", 1) != 1:
        number = trainer["accumulate_grad_batches"]
        raise ValueError(
            f"trainer.accumulate_grad_batches is {number}, {why}: set model.init_args.accumulate to {number} instead."
        )
    if trainer.get("gradient_clip_val") is not None or trainer.get("gradient_clip_algorithm") is not None:
        value, algorithm = trainer.get("gradient_clip_val"), trainer.get("gradient_clip_algorithm")
        given = f"trainer.gradient_clip_val is {value}" + (f" ({algorithm})" if algorithm else "")
        raise ValueError(f"{given}, {why}: set model.init_args.clip_norm, the largest norm of a gradient, instead.")


def check_root(trainer: Namespace) -> None:
    """``~`` in what the shell leaves as it is (--trainer.default_root_dir=~/runs/x) is the home folder.

    Raises:
        ValueError: It is a URL.
    """
    given = str(trainer.default_root_dir or "")
    if "://" in given:
        raise ValueError(f"trainer.default_root_dir is {given}: a run folder is a local path.")
    moved(trainer, given, os.path.expanduser(given))


def check_optimisers(model: LightningModule) -> None:
    """Make the optimisers and schedules of the configuration once, before a run begins.

    Raises:
        ValueError: Naming the setting.
    """
    if isinstance(model, Stage) and (model.replaced or model.schedules):
        model.configure_optimizers()


def check_monitors(callbacks: Iterable[Callback], model: LightningModule) -> None:
    """Reject callbacks that monitor a value the method never logs, or prefer the worse end of a metric.

    Raises:
        ValueError: Naming what can be monitored, or the mode.
    """
    callbacks = list(callbacks)
    asked = [name for callback in callbacks if isinstance(callback, ValMetrics) for name in callback.names]
    for callback in callbacks:
        key, mode = getattr(callback, "monitor", None), getattr(callback, "mode", None)
        if not isinstance(key, str):
            continue
        if said := never_logged(key, type(model), asked):
            raise ValueError(f"{type(callback).__name__} monitors {key!r}, which {said}")
        if mode in ("min", "max") and worse_end(key, mode == "max"):
            end, better = ("lower", "min") if mode == "max" else ("higher", "max")
            given = f"{type(callback).__name__} monitors {key} with mode {mode}"
            raise ValueError(f"{given}, but {end} is better: set its mode to {better}.")


def check_val_metrics(trainer: Trainer, model: LightningModule, data: LightningDataModule) -> None:
    """Reject metrics that the validation images cannot give, as far as the data module is one of ours.

    Raises:
        ValueError: Naming the metric.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, ValMetrics):
            data.trainer = trainer  # which says how many processes share the images
            try:
                parts = validated(data, trainer)
            except (ValueError, AttributeError, TypeError, MisconfigurationException):  # not ours, or no images
                continue
            images = sum(map(len, parts))
            callback.check(model, images, parts[0][0] if images else None)


def explained(error: Exception) -> str | None:
    """One line for a settings error that Lightning reports as an exception; None for any other."""
    said = " ".join(str(error).split())
    cause = error.__cause__  # of the model's constructor, after which jsonargparse tries None
    if said.startswith("Does not validate against any") and isinstance(cause, ValueError) and is_mistake(cause):
        return str(cause)
    if isinstance(error, ModuleNotFoundError):
        return f"a package is missing: {said}" + ("" if "pip install" in said else f". pip install {error.name}")
    if isinstance(error, ValueError) and _of_loaders(error):
        return said
    if type(error).__name__ == "MisconfigurationException":
        device = re.search("can not run on your system|available on this machine|requested gpu", said)
        return f"{said} Set trainer.accelerator and trainer.devices to available ones, or to auto." if device else said
    return said if said.startswith("Early stopping conditioned on metric") else package_missing(str(error))


def _of_loaders(error: ValueError) -> bool:
    """Whether Lightning has raised it where it makes the loaders of a run: settings that do not suit their length."""
    code = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    return f"{os.sep}lightning{os.sep}" in code[-1].co_filename and any(c.co_name == "setup_data" for c in code)


def package_missing(message: str) -> str | None:
    """Class and missing package from jsonargparse's instantiation error; None for any other error.

    >>> package_missing("- Problem with given class_path 'a.B': No module named 'b'. Try `pip install b`\\n- Expected")
    "B needs a package that is not installed: No module named 'b'. Try `pip install b`"
    """
    path, reason = problem(message)
    wanted = path and re.search(r"pip install|No module named", reason)
    return f"{path.rpartition('.')[2]} needs a package that is not installed: {reason}" if wanted else None
