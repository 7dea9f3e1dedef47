"""Start from a checkpoint: its weights only (``init_from``), or resume with the same class and arguments."""

import inspect
import json
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from experiments.files.read import Plain
from experiments.run.identity import may_change
from lit_inpaint.checkpoints import refuse_unfit
from lit_inpaint.load import class_of, hyper_parameters, read_checkpoint, read_weights, wanted
from lit_inpaint.stage import Stage


def load_weights(model: Stage, path: Path) -> None:
    """``init_from``: weights only, strictly; optimisers, schedules and counters start fresh, and with ``zoo:NAME`` the
    networks that only training needs.

    Raises:
        ValueError: They belong to another class or network (e.g. another ``variant``), or do not fit.
    """
    checkpoint = read_weights(path)
    cls = class_of(checkpoint, path)
    if not (isinstance(model, cls) or issubclass(cls, type(model))):
        raise ValueError(f"{path} holds a {checkpoint['method']}, but the configuration has {type(model).__name__}.")
    defaults = {name: p.default for name, p in inspect.signature(type(model).__init__).parameters.items()}
    made_with = type(model).function_arguments(defaults | hyper_parameters(checkpoint))
    for key, saved in made_with.items():
        if key in type(model).extends:
            continue
        if key in model.hparams and json.dumps(model.hparams[key], default=str) != json.dumps(saved, default=str):
            raise ValueError(
                f"model.init_args.{key} is {model.hparams[key]!r}, but the weights of {path} were made with {saved!r}: "
                "a different network. Omit it to use the checkpoint's value."
            )
    needed = wanted(checkpoint, model)
    state = model.extended(checkpoint["state_dict"])
    refuse_unfit(state, needed, path, type(model).__name__)
    model.load_state_dict(state, strict=False)
    if fresh := sorted({name.partition(".")[0] for name in model.state_dict() if name not in needed}):
        rank_zero_info(f"{path} has no {', '.join(fresh)}, which start fresh.")


def refuse_differences(model: Plain, path: Path, allowed: bool = False) -> None:
    """A resumed run keeps its class and arguments: name the first difference and the way to change one.

    ``allowed``: by ``--allow-changes``, see :func:`experiments.run.identity.may_change`.
    """
    checkpoint = read_checkpoint(path)
    name = model["class_path"].split(".")[-1]
    if name != checkpoint["method"]:
        raise ValueError(f"{path} holds a {checkpoint['method']}, but the configuration has {name}.")
    saved, given = hyper_parameters(checkpoint), model.get("init_args", {})
    for key in saved:
        if may_change(f"model.init_args.{key}", allowed):
            continue
        if key in given and json.dumps(given[key], default=str) != json.dumps(saved[key], default=str):
            raise ValueError(
                f"model.init_args.{key} is {given[key]!r}, but {path} was trained with {saved[key]!r}. Leave it out to "
                "resume, or start a new run with these weights: --init_from instead of --ckpt_path."
            )
