"""Check for errors that Lightning would report with a traceback or in the middle of a run."""

import inspect
import re
from collections.abc import Iterable

from jsonargparse import Namespace
from lightning import Callback, LightningModule

from lit_inpaint.metrics import CHEAP
from lit_inpaint.module import InpaintingModule
from lit_inpaint.stage import Stage
from masks.nearest import nearest

_LOGGED = {"step", "epoch", "images_seen", "images_per_second", "data_wait", "generator_updates"}


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


def check_optimisers(model: LightningModule) -> None:
    """Make the optimisers and schedules of the configuration once, before a run begins.

    Raises:
        ValueError: Naming the setting.
    """
    if isinstance(model, Stage) and (model.replaced or model.schedules):
        model.configure_optimizers()


def check_monitors(callbacks: Iterable[Callback], model: LightningModule) -> None:
    """Reject callbacks that monitor a value the method never logs.

    Raises:
        ValueError: Naming what can be monitored.
    """
    if not isinstance(model, InpaintingModule):
        return
    known = {f"val/{name}" for name in CHEAP} | _LOGGED
    own = [cls for cls in type(model).__mro__ if issubclass(cls, Stage) and cls not in (Stage, InpaintingModule)]
    try:
        source = "".join(inspect.getsource(cls) for cls in own)
    except (OSError, TypeError):  # made in a notebook
        return
    if re.search(r"f[\"'](val|\{\w+\})/", source):
        return  # it makes its keys as it runs
    known |= set(re.findall(r"[\"'](val/\w+)[\"']", source))
    for callback in callbacks:
        key = getattr(callback, "monitor", None)
        if not isinstance(key, str) or key in known or key.startswith(("train/", "health/")):
            continue  # what a training step logs is known when it has run
        shown = sorted(name for name in known if name.startswith("val/"))
        raise ValueError(
            f"{type(callback).__name__} monitors {key!r}, which {type(model).__name__} never logs. "
            f"{nearest(key, shown)} For training: train/... as in metrics.csv."
        )


def explained(error: Exception) -> str | None:
    """One line for a settings error that Lightning reports as an exception; None for any other."""
    said = " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError):
        return f"a package is missing: {said}" + ("" if "pip install" in said else f". pip install {error.name}")
    if type(error).__name__ == "MisconfigurationException":
        device = re.search("can not run on your system|available on this machine|requested gpu", said)
        return f"{said} Set trainer.accelerator and trainer.devices to available ones, or to auto." if device else said
    return said if said.startswith("Early stopping conditioned on metric") else package_missing(said)


def package_missing(message: str) -> str | None:
    """Class and missing package from jsonargparse's instantiation error; None for any other error.

    >>> package_missing("- Problem with given class_path 'a.B': No module named 'b'. Try `pip install b`\\n- Expected")
    "B needs a package that is not installed: No module named 'b'. Try `pip install b`"
    """
    said = " ".join(message.split())
    *_, problem = ["", *re.findall(r"Problem with given class_path '([\w.]+'.*?)(?: - Expected| Given value|$)", said)]
    path, _, reason = problem.partition("': ")
    wanted = re.search(r"pip install|No module named", reason)
    return f"{path.rpartition('.')[2]} needs a package that is not installed: {reason}" if wanted else None
