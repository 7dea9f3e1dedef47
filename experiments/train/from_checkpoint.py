"""Start from a checkpoint: its weights only (``init_from``), or resume with the same class and arguments."""

import inspect
import json
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from experiments.files.read import Plain
from experiments.run.identity import flat, may_change
from lit_inpaint import plugins
from lit_inpaint.checkpoints import refuse_unfit
from lit_inpaint.classes import class_of
from lit_inpaint.load import hyper_parameters, read_checkpoint, read_training, read_weights, wanted
from lit_inpaint.stage import Stage


def load_weights(model: Stage, path: Path, strict: bool = True) -> list[str]:
    """``init_from``: weights only; optimisers, schedules and counters start fresh, and with ``zoo:NAME`` the networks
    that only training needs.

    Args:
        strict: Refuse whatever differs. Without it, every tensor of the same name and shape is taken; the lines
            returned say which were not, and why.

    Raises:
        ValueError: They belong to another class or network (e.g. another ``variant``), or do not fit; or, not
            ``strict``, none of them does.
    """
    checkpoint = read_weights(path)
    if not strict:
        return _load_what_fits(model, checkpoint, path)
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
    return []


def _load_what_fits(model: Stage, checkpoint: Plain, path: Path) -> list[str]:
    saved, mine, name = checkpoint["state_dict"], model.state_dict(), type(model).__name__
    saved = model.extended(saved) if checkpoint["method"] == name else saved
    taken = {key: value for key, value in saved.items() if key in mine and value.shape == mine[key].shape}
    shapes = [
        f"{key} is {tuple(saved[key].shape)} there and {tuple(mine[key].shape)} here"
        for key in mine.keys() & saved.keys() - taken.keys()
    ]
    if not taken:
        raise ValueError(
            f"{path} holds a {checkpoint['method']}, and none of its {len(saved)} tensors fits the {len(mine)} of "
            f"{name} by name and shape ({min(shapes, default='no name is the same')}). Leave out --init_from."
        )
    model.load_state_dict(taken, strict=False)
    numbers = (sum(mine[key].numel() for key in keys) for keys in (taken, mine))
    part, whole = (f"{number:,}" for number in numbers)
    lines = [f"{path}: {len(taken)} of {len(mine)} tensors of {name} were taken ({part} of {whole} values)."]
    for why, keys in (
        ("of another shape", shapes),
        ("missing in the file, which start as they are initialised", mine.keys() - saved.keys()),
        (f"in the file that {name} does not have", saved.keys() - mine.keys()),
    ):
        if keys:
            lines.append(f"Not taken: {len(keys)} tensors {why}: {_some(sorted(keys))}.")
    return lines


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")


def refuse_differences(model: Plain, path: Path, allowed: bool = False) -> None:
    """A resumed run keeps its class and arguments: name the first difference and the way to change one.

    ``allowed``: by ``--allow-changes``, see :func:`experiments.run.identity.may_change`.
    """
    ours = issubclass(plugins.find(model["class_path"]), Stage)
    checkpoint = read_checkpoint(path) if ours else read_training(path)
    name = model["class_path"].split(".")[-1]
    identity = checkpoint.get("run", {}).get("identity") or {}
    if (saved_name := checkpoint.get("method") or identity.get("model", name)) != name:
        raise ValueError(f"{path} holds a {saved_name}, but the configuration has {name}.")
    saved, given = hyper_parameters(checkpoint), model.get("init_args", {})
    for key in saved.keys() & given.keys():
        now, then = (dict(flat(f"model.init_args.{key}", _plain(value[key]))) for value in (given, saved))
        different = [name for name in now | then if (name in now, now.get(name)) != (name in then, then.get(name))]
        if all(may_change(name, allowed) for name in different):
            continue
        hint = ", resume with --allow-changes" if all(may_change(name, True) for name in different) else ""
        raise ValueError(
            f"model.init_args.{key} is {given[key]!r}, but {path} was trained with {saved[key]!r}. Leave it out to "
            f"resume{hint}, or start a new run with these weights: --init_from instead of --ckpt_path."
        )


def _plain(value: object) -> object:
    return json.loads(json.dumps(value, default=str))
